//! The workloads on OS threads, with crossbeam-channel. The number of workers means nothing here: as many
//! threads run at once as there are processors.

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
#[expect(dead_code, reason = "there is no outside")]
mod threads;
#[path = "../../blocking/turns.rs"]
mod turns;
#[path = "../../blocking/waits.rs"]
#[expect(dead_code, reason = "a million OS threads cannot sleep at once")]
mod waits;

use std::cell::RefCell;
use std::process::ExitCode;
use std::sync::{Condvar, Mutex, RwLock};
use std::thread::{self, JoinHandle};

use crossbeam_channel as channel;
use peers_kit::Job;

fn main() -> ExitCode {
    peers_kit::main(&[
        ("spawn-one", threads::spawn_one),
        ("spawn-many", threads::spawn_many),
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
        ("ping-pong", channels::ping_pong),
        ("ring", channels::ring),
        ("spsc", channels::spsc),
        ("mpmc", channels::mpmc),
        ("pipeline", channels::pipeline),
        ("select", channels::select),
        ("sieve", channels::sieve),
        ("parked", parked::parked),
        ("wake", waits::wake),
        ("mix", mix::mix),
        ("mix-hogs", mix::mix_hogs),
        ("turns-yield", turns::beside_yield),
        ("turns-talk", turns::beside_talk),
        ("turns-crowd", turns::beside_crowd),
        ("turns-fork", turns::beside_fork),
        ("turns-hogs", turns::beside_hogs),
    ])
}

/// Where a workload runs: here.
struct Runtime;

impl Runtime {
    fn new(_: &Job) -> Self {
        Self
    }

    fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        f()
    }

    fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        thread::spawn(f)
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
    thread::scope(|scope| {
        let a = scope.spawn(a);
        let b = b();
        (a.join().unwrap(), b)
    })
}
