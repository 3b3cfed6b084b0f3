//! Starting, joining, yielding: the same code for gthread and for std.

use peers_kit::{Job, Report, time};

use crate::Runtime;
use crate::thread::{self, JoinHandle};

pub(crate) fn spawn_one(job: &Job) -> Report {
    let runtime = Runtime::new(job);
    job.repeat(|n| {
        runtime.run(|| time(|| (0..n).map(|i| thread::spawn(move || i).join().unwrap()).sum()))
    })
}

pub(crate) fn spawn_many(job: &Job) -> Report {
    let (runtime, size) = (Runtime::new(job), job.size as u64);
    let once = || {
        let threads: Vec<JoinHandle<u64>> = (0..size).map(|i| thread::spawn(move || i)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
    };
    job.repeat(|n| runtime.run(|| time(|| (0..n).map(|_| once()).sum())))
}

pub(crate) fn yields(job: &Job) -> Report {
    let runtime = Runtime::new(job);
    let half = |n| {
        let mut count = 0;
        while count < n {
            thread::yield_now();
            count += 1;
        }
        count
    };
    job.repeat(|n| {
        runtime.run(|| {
            time(|| {
                let other = thread::spawn(move || half(n / 2));
                half(n.div_ceil(2)) + other.join().unwrap()
            })
        })
    })
}

/// From an OS thread outside, so many at a time.
pub(crate) fn burst(job: &Job) -> Report {
    let (runtime, size) = (Runtime::new(job), job.size as u64);
    let once = || {
        let threads: Vec<JoinHandle<u64>> = (0..size).map(|i| runtime.spawn(move || i)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
    };
    job.repeat(|n| time(|| (0..n).map(|_| once()).sum()))
}
