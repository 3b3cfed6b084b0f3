//! Starting, joining, yielding, locking.

use std::sync::Arc;
use std::time::Instant;

use peers_kit::kernel::{LOCKED, UNLOCKED, steps};
use peers_kit::{Job, Report, Timed, time};
use tokio::sync::Mutex;
use tokio::task::{self, JoinHandle};

use crate::{repeat, runtime};

pub(crate) fn spawn_one(job: &Job) -> Report {
    repeat(job, |n| async move {
        let (start, mut sum) = (Instant::now(), 0);
        for i in 0..n {
            sum += tokio::spawn(async move { i }).await.unwrap();
        }
        Timed::since(start, sum)
    })
}

pub(crate) fn spawn_many(job: &Job) -> Report {
    let size = job.size as u64;
    repeat(job, move |n| async move {
        let (start, mut sum) = (Instant::now(), 0);
        for _ in 0..n {
            let tasks: Vec<JoinHandle<u64>> =
                (0..size).map(|i| tokio::spawn(async move { i })).collect();
            for task in tasks {
                sum += task.await.unwrap();
            }
        }
        Timed::since(start, sum)
    })
}

pub(crate) fn yields(job: &Job) -> Report {
    async fn half(n: u64) -> u64 {
        let mut count = 0;
        for _ in 0..n {
            task::yield_now().await;
            count += 1;
        }
        count
    }
    repeat(job, |n| async move {
        let start = Instant::now();
        let other = tokio::spawn(half(n / 2));
        let count = half(n.div_ceil(2)).await + other.await.unwrap();
        Timed::since(start, count)
    })
}

pub(crate) fn mutex(job: &Job) -> Report {
    together(job, |count: Arc<Mutex<u64>>, share| async move {
        for _ in 0..share {
            *count.lock().await += 1;
        }
    })
}

/// They compute, for a little while with the lock and for a longer one without.
pub(crate) fn mutex_work(job: &Job) -> Report {
    together(job, |count: Arc<Mutex<u64>>, share| async move {
        for _ in 0..share {
            let mut count = count.lock().await;
            steps(LOCKED);
            *count += 1;
            drop(count);
            steps(UNLOCKED);
        }
    })
}

fn together<F>(job: &Job, add: fn(Arc<Mutex<u64>>, u64) -> F) -> Report
where
    F: Future<Output = ()> + Send + 'static,
{
    let tasks = job.size as u64;
    repeat(job, move |n| async move {
        let start = Instant::now();
        let count = Arc::new(Mutex::new(0));
        let tasks: Vec<_> = (0..tasks)
            .map(|id| tokio::spawn(add(Arc::clone(&count), peers_kit::share(n, tasks, id))))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let count = *count.lock().await;
        Timed::since(start, count)
    })
}

/// From an OS thread outside, so many at a time.
pub(crate) fn burst(job: &Job) -> Report {
    let (runtime, size) = (runtime(job), job.size as u64);
    let once = || {
        let tasks: Vec<JoinHandle<u64>> =
            (0..size).map(|i| runtime.spawn(async move { i })).collect();
        runtime.block_on(async {
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        })
    };
    job.repeat(|n| time(|| (0..n).map(|_| once()).sum()))
}
