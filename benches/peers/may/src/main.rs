//! The workloads on may's coroutines, with its default stacks: 32 KiB, which their users must know to be
//! enough.

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
#[expect(dead_code, reason = "producers that never wait fill the memory")]
mod turns;
#[path = "../../blocking/waits.rs"]
mod waits;

use std::cell::RefCell;
use std::process::ExitCode;

use may::coroutine::{self, JoinHandle};
use may::sync::{Condvar, Mutex, RwLock};
use may::{config, go};
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
        ("parked", parked::parked),
        ("wake", waits::wake),
        ("timers", waits::timers),
        ("mix", mix::mix),
        ("mix-hogs", mix::mix_hogs),
        ("turns-yield", turns::beside_yield),
        ("turns-talk", turns::beside_talk),
        ("turns-fork", turns::beside_fork),
        ("turns-hogs", turns::beside_hogs),
    ])
}

/// Where a workload runs.
struct Runtime;

impl Runtime {
    fn new(job: &Job) -> Self {
        config().set_workers(job.workers);
        Self
    }

    fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        coroutine::scope(|scope| go!(scope, f).join())
    }

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        go!(f)
    }
}

/// may's words for threads.
mod thread {
    pub(crate) use may::coroutine::{JoinHandle, sleep, yield_now};
    use may::go;

    pub(crate) fn spawn<T: Send + 'static>(
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        go!(f)
    }
}

/// may's channels, which are all unbounded: senders never wait.
mod channel {
    pub(crate) use may::sync::mpmc::{Receiver, Sender, channel as unbounded};

    pub(crate) fn bounded<T>(_capacity: usize) -> (Sender<T>, Receiver<T>) {
        unbounded()
    }
}

/// Threads that are waited for together.
struct WaitGroup(RefCell<Vec<JoinHandle<()>>>);

impl WaitGroup {
    fn new() -> Self {
        Self(RefCell::default())
    }

    fn go(&self, f: impl FnOnce() + Send + 'static) {
        self.0.borrow_mut().push(thread::spawn(f));
    }

    fn wait(&self) {
        self.0.take().into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Runs both at once.
fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    coroutine::scope(|scope| {
        let a = go!(scope, a);
        let b = b();
        (a.join(), b)
    })
}
