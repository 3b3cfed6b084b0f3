//! The workloads on OS threads, with crossbeam-channel. The number of workers means nothing here: as many
//! threads run at once as there are processors.

#[path = "../../blocking/channels.rs"]
mod channels;
#[path = "../../blocking/threads.rs"]
mod threads;

use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use crossbeam_channel as channel;
use peers_kit::Job;

fn main() -> ExitCode {
    peers_kit::main(&[
        ("spawn-one", threads::spawn_one),
        ("spawn-many", threads::spawn_many),
        ("yield", threads::yields),
        ("mutex", threads::mutex),
        ("ping-pong", channels::ping_pong),
        ("ring", channels::ring),
        ("spsc", channels::spsc),
        ("mpmc", channels::mpmc),
        ("select", channels::select),
        ("sieve", channels::sieve),
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
}
