//! The workloads on gthread. Public API only.

#[path = "../../blocking/channels.rs"]
mod channels;
mod forks;
#[path = "../../blocking/threads.rs"]
mod threads;

use std::process::ExitCode;
// To become gthread::sync::Mutex.
use std::sync::Mutex;

use gthread as thread;
use gthread::channel;
use peers_kit::Job;

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
        ("select", channels::select),
        ("sieve", channels::sieve),
    ])
}

/// Where a workload runs.
struct Runtime(gthread::Runtime);

impl Runtime {
    fn new(job: &Job) -> Self {
        let runtime = gthread::Runtime::builder().workers(job.workers).build();
        Self(runtime.expect("a runtime starts"))
    }

    fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.0.run(f)
    }
}
