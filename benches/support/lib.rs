//! What the benches share: the same code measured on green threads and on OS threads.
//!
//! A workload is written once against [`Threads`], and run by [`compare`] on `std::thread` and on
//! gthread runtimes of one and two workers. Times are per operation; a workload reports how many
//! operations one run of it is.

use std::env;
use std::time::{Duration, Instant};

use criterion::Criterion;
use gthread::{JoinHandle, Runtime};

/// How a workload starts its threads and yields: what differs between the contestants.
pub trait Threads: Copy + Send + Sync + 'static {
    /// Whether these are green threads, which use gthread's channels.
    const GREEN: bool;
    /// A handle to join with.
    type Handle<T: Send + 'static>: Send;
    /// Starts a thread.
    fn spawn<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T>;
    /// Waits for its result.
    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T;
    /// Lets others run.
    fn yield_now(self);
}

/// Green threads.
#[derive(Clone, Copy)]
pub struct Green;

impl Threads for Green {
    const GREEN: bool = true;
    type Handle<T: Send + 'static> = JoinHandle<T>;

    fn spawn<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        gthread::spawn(f)
    }

    fn join<T: Send + 'static>(handle: JoinHandle<T>) -> T {
        handle.join().expect("the workload does not panic")
    }

    fn yield_now(self) {
        gthread::yield_now();
    }
}

/// OS threads.
#[derive(Clone, Copy)]
pub struct Os;

impl Threads for Os {
    const GREEN: bool = false;
    type Handle<T: Send + 'static> = std::thread::JoinHandle<T>;

    fn spawn<T: Send + 'static>(
        self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        std::thread::spawn(f)
    }

    fn join<T: Send + 'static>(handle: std::thread::JoinHandle<T>) -> T {
        handle.join().expect("the workload does not panic")
    }

    fn yield_now(self) {
        std::thread::yield_now();
    }
}

/// A workload: runs `times` operations, and gives the time they took.
pub trait Workload: Copy + Send + Sync {
    /// Runs it on the given kind of threads.
    fn run<S: Threads>(self, threads: S, times: u64) -> Duration;
}

/// Measures a workload on OS threads and on green threads, one worker and two.
pub fn compare(criterion: &mut Criterion, name: &str, workload: impl Workload) {
    let mut group = criterion.benchmark_group(name);
    group.bench_function("std::thread", |b| b.iter_custom(|times| workload.run(Os, times)));
    for workers in [1, 2] {
        let runtime = Runtime::builder().workers(workers).build().expect("a runtime starts");
        group.bench_function(format!("gthread-{workers}"), |b| {
            b.iter_custom(|times| runtime.run(|| workload.run(Green, times)));
        });
    }
    group.finish();
}

/// Times `f`.
pub fn time(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

/// The options after `--`, or nothing if cargo does not ask for a measurement but for a test or a list.
pub fn options() -> Option<Vec<String>> {
    let (flags, args): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|arg| arg == "--bench");
    let measuring = !flags.is_empty() && !args.iter().any(|arg| arg == "--test" || arg == "--list");
    measuring.then_some(args)
}
