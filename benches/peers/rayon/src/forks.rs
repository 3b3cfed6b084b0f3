//! Fork and join.

use peers_kit::{Job, Report, time};
use rayon::prelude::*;

use crate::pool;

pub(crate) fn spawn_many(job: &Job) -> Report {
    let (pool, size) = (pool(job), job.size);
    let once = || {
        let mut results = vec![0; size];
        rayon::scope(|scope| {
            for (i, result) in results.iter_mut().enumerate() {
                scope.spawn(move |_| *result = i as u64);
            }
        });
        results.into_iter().sum::<u64>()
    };
    job.repeat(|n| pool.install(|| time(|| (0..n).map(|_| once()).sum())))
}

pub(crate) fn fib(job: &Job) -> Report {
    fn fib(n: usize) -> u64 {
        if n < 2 {
            return n as u64;
        }
        let (a, b) = rayon::join(|| fib(n - 1), || fib(n - 2));
        a + b
    }
    let (pool, size) = (pool(job), job.size);
    job.repeat(|n| pool.install(|| time(|| (0..n).map(|_| fib(size)).sum())))
}

pub(crate) fn skynet(job: &Job) -> Report {
    const CHILDREN: u64 = 10;
    fn node(first: u64, leaves: u64) -> u64 {
        if leaves == 1 {
            return first;
        }
        let share = leaves / CHILDREN;
        (0..CHILDREN).into_par_iter().map(|child| node(first + child * share, share)).sum()
    }
    let (pool, leaves) = (pool(job), job.size as u64);
    job.repeat(|n| pool.install(|| time(|| (0..n).map(|_| node(0, leaves)).sum())))
}
