//! The workloads on may's coroutines, with its default stacks (32 KiB, which nothing guards: their users
//! must know that it is enough).

mod channels;
mod forks;
mod threads;

use std::process::ExitCode;

use may::{config, go};
use peers_kit::{Job, Report, Timed};

fn main() -> ExitCode {
    peers_kit::main(&[
        ("spawn-one", threads::spawn_one),
        ("spawn-many", threads::spawn_many),
        ("yield", threads::yields),
        ("mutex", threads::mutex),
        ("fib", forks::fib),
        ("skynet", forks::skynet),
        ("ping-pong", channels::ping_pong),
        ("ring", channels::ring),
        ("spsc", channels::spsc),
        ("mpmc", channels::mpmc),
    ])
}

/// Repeats what is timed in a coroutine of its own.
fn repeat(job: &Job, repetitions: impl Fn(u64) -> Timed + Copy + Send + 'static) -> Report {
    config().set_workers(job.workers);
    job.repeat(|n| go!(move || repetitions(n)).join().expect("the workload does not panic"))
}
