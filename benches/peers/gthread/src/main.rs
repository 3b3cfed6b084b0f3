//! The workloads on gthread. Public API only.

#[path = "../../blocking/channels.rs"]
mod channels;
#[path = "../../blocking/forks.rs"]
mod forks;
#[path = "../../blocking/locks.rs"]
mod locks;
#[path = "../../blocking/mix.rs"]
mod mix;
#[path = "../../blocking/parked.rs"]
mod parked;
#[path = "../../blocking/threads.rs"]
mod threads;
#[path = "../../blocking/trees.rs"]
mod trees;
#[path = "../../blocking/turns.rs"]
mod turns;
#[path = "../../blocking/waits.rs"]
mod waits;

use std::process::ExitCode;

use gthread as thread;
use gthread::sync::{Condvar, Mutex, RwLock, WaitGroup};
use gthread::{JoinHandle, channel, join};
use peers_kit::Job;

fn main() -> ExitCode {
    peers_kit::main(&[
        ("spawn-one", threads::spawn_one),
        ("spawn-many", threads::spawn_many),
        ("burst", threads::burst),
        ("yield", threads::yields),
        ("mutex-alone", locks::mutex_alone),
        ("mutex-2", locks::mutex),
        ("mutex", locks::mutex),
        ("mutex-64", locks::mutex),
        ("mutex-work", locks::mutex_work),
        ("mutex-held", locks::mutex_held),
        ("read-alone", locks::read_alone),
        ("write-alone", locks::write_alone),
        ("rwlock", locks::rwlock),
        ("condvar", locks::condvar),
        ("fib", forks::fib),
        ("quicksort", forks::quicksort),
        ("matmul", forks::matmul),
        ("skynet", trees::skynet),
        ("queens", trees::queens),
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

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.0.spawn(f)
    }
}
