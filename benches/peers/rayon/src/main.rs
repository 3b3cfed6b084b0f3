//! The fork-join workloads on rayon, which has no others: its threads must not block.

mod forks;

use std::process::ExitCode;

use peers_kit::Job;
use rayon::{ThreadPool, ThreadPoolBuilder};

fn main() -> ExitCode {
    peers_kit::main(&[
        ("spawn-many", forks::spawn_many),
        ("fib", forks::fib),
        ("skynet", forks::skynet),
    ])
}

fn pool(job: &Job) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(job.workers).build().expect("a pool starts")
}
