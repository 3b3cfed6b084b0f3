//! Starting, joining, yielding, locking.

use std::sync::Arc;

use may::coroutine::{self, JoinHandle};
use may::go;
use may::sync::Mutex;
use peers_kit::{Job, Report, time};

use crate::repeat;

pub(crate) fn spawn_one(job: &Job) -> Report {
    repeat(job, |n| time(|| (0..n).map(|i| go!(move || i).join().unwrap()).sum()))
}

pub(crate) fn spawn_many(job: &Job) -> Report {
    let size = job.size as u64;
    let once = move || {
        let threads: Vec<JoinHandle<u64>> = (0..size).map(|i| go!(move || i)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
    };
    repeat(job, move |n| time(|| (0..n).map(|_| once()).sum()))
}

pub(crate) fn yields(job: &Job) -> Report {
    fn half(n: u64) -> u64 {
        (0..n).map(|_| coroutine::yield_now()).count() as u64
    }
    repeat(job, |n| {
        time(|| {
            let other = go!(move || half(n / 2));
            half(n.div_ceil(2)) + other.join().unwrap()
        })
    })
}

pub(crate) fn mutex(job: &Job) -> Report {
    let threads = job.size as u64;
    repeat(job, move |n| {
        time(|| {
            let count = Arc::new(Mutex::new(0));
            let threads: Vec<_> = (0..threads)
                .map(|id| {
                    let (count, share) = (Arc::clone(&count), peers_kit::share(n, threads, id));
                    go!(move || (0..share).for_each(|_| *count.lock().unwrap() += 1))
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            *count.lock().unwrap()
        })
    })
}
