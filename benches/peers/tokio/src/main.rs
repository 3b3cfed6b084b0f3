//! The workloads on tokio's multi-threaded runtime. Everything that is timed runs in spawned tasks, as
//! `block_on` itself would run on a thread that is no worker.

mod channels;
mod forks;
mod mix;
mod parked;
mod tasks;
mod turns;
mod waits;

use std::process::ExitCode;

use peers_kit::{Job, Report, Timed};
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    peers_kit::main(&[
        ("spawn-one", tasks::spawn_one),
        ("spawn-many", tasks::spawn_many),
        ("burst", tasks::burst),
        ("yield", tasks::yields),
        ("mutex-2", tasks::mutex),
        ("mutex", tasks::mutex),
        ("mutex-64", tasks::mutex),
        ("mutex-work", tasks::mutex_work),
        ("fib", forks::fib),
        ("quicksort", forks::quicksort),
        ("matmul", forks::matmul),
        ("skynet", forks::skynet),
        ("queens", forks::queens),
        ("ping-pong", channels::ping_pong),
        ("ring", channels::ring),
        ("spsc", channels::spsc),
        ("mpmc", channels::mpmc),
        ("pipeline", channels::pipeline),
        ("select", channels::select),
        ("sieve", channels::sieve),
        ("parked", parked::parked),
        ("wake", waits::wake),
        ("timers", waits::timers),
        ("mix", mix::mix),
        ("mix-hogs", mix::mix_hogs),
        ("turns-yield", turns::beside_yield),
        ("turns-talk", turns::beside_talk),
        ("turns-crowd", turns::beside_crowd),
        ("turns-fork", turns::beside_fork),
        ("turns-hogs", turns::beside_hogs),
    ])
}

fn runtime(job: &Job) -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(job.workers).enable_time().build();
    runtime.expect("a runtime starts")
}

/// Repeats what is timed in a task of its own.
fn repeat<F>(job: &Job, repetitions: impl Fn(u64) -> F) -> Report
where
    F: Future<Output = Timed> + Send + 'static,
{
    let runtime = runtime(job);
    job.repeat(|n| {
        let task = runtime.spawn(repetitions(n));
        runtime.block_on(task).expect("the workload does not panic")
    })
}

/// Runs what is reported once, in a task of its own.
fn run(job: &Job, report: impl Future<Output = Report> + Send + 'static) -> Report {
    let runtime = runtime(job);
    let task = runtime.spawn(report);
    runtime.block_on(task).expect("the workload does not panic")
}
