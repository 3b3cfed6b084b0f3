//! The fork-join workloads on rayon, which has no others: its threads must not block.

#[path = "../../blocking/forks.rs"]
mod forks;
mod trees;

use std::process::ExitCode;

use peers_kit::Job;
use rayon::{ThreadPool, ThreadPoolBuilder, join};

fn main() -> ExitCode {
    peers_kit::main(&[
        ("spawn-many", trees::spawn_many),
        ("fib", forks::fib),
        ("quicksort", forks::quicksort),
        ("matmul", forks::matmul),
        ("skynet", trees::skynet),
        ("queens", trees::queens),
    ])
}

/// Where a workload runs.
struct Runtime(ThreadPool);

impl Runtime {
    fn new(job: &Job) -> Self {
        let pool = ThreadPoolBuilder::new().num_threads(job.workers).build();
        Self(pool.expect("a pool starts"))
    }

    fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.0.install(f)
    }
}
