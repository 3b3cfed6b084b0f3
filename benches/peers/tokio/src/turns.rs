//! How long runnable tasks wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use peers_kit::{Job, Report, Waits, kernel};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::{self, JoinHandle};

use crate::{forks::Recursive, runtime};

/// Tells tasks to end.
type Stop = Arc<AtomicBool>;

/// How long tasks that only yield wait for their turn, beside what `others` starts, for so many
/// milliseconds.
fn turns(job: &Job, others: impl Fn(&Runtime, &Stop)) -> Report {
    const PROBES: u64 = 4;
    let (runtime, stop) = (runtime(job), Stop::default());
    others(&runtime, &stop);
    let probe = |_| {
        let (stop, mut runnable) = (Arc::clone(&stop), Instant::now());
        runtime.spawn(async move {
            let mut waits = Waits::default();
            loop {
                waits.add(runnable.elapsed());
                if stop.load(Ordering::Relaxed) {
                    return waits;
                }
                runnable = Instant::now();
                task::yield_now().await;
            }
        })
    };
    let probes: Vec<JoinHandle<Waits>> = (0..PROBES).map(probe).collect();
    std::thread::sleep(Duration::from_millis(job.size as u64));
    stop.store(true, Ordering::Relaxed);
    let mut all = Waits::default();
    for probe in probes {
        all.merge(&runtime.block_on(probe).unwrap());
    }
    Report::new(1, PROBES).with_waits(&all)
}

/// Beside a hundred others that yield.
pub(crate) fn beside_yield(job: &Job) -> Report {
    turns(job, |runtime, stop| {
        for _ in 0..100 {
            let stop = Arc::clone(stop);
            runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    task::yield_now().await;
                }
            });
        }
    })
}

/// Beside eight pairs that send each other messages.
pub(crate) fn beside_talk(job: &Job) -> Report {
    turns(job, |runtime, stop| {
        for _ in 0..8 {
            let (ping, mut pinged) = mpsc::channel(1);
            let (pong, mut ponged) = mpsc::channel(1);
            let stop = Arc::clone(stop);
            runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) && ping.send(()).await.is_ok() {
                    ponged.recv().await.unwrap();
                }
            });
            runtime.spawn(async move {
                while pinged.recv().await.is_some() {
                    pong.send(()).await.unwrap();
                }
            });
        }
    })
}

/// Beside four producers and four consumers of one channel.
pub(crate) fn beside_crowd(job: &Job) -> Report {
    turns(job, |runtime, stop| {
        let (sender, receiver) = async_channel::bounded(1024);
        for _ in 0..4 {
            let (sender, receiver, stop) = (sender.clone(), receiver.clone(), Arc::clone(stop));
            runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) && sender.send(()).await.is_ok() {}
            });
            runtime.spawn(async move { while receiver.recv().await.is_ok() {} });
        }
    })
}

/// Beside two that fork and join all the time.
pub(crate) fn beside_fork(job: &Job) -> Report {
    fn fork(depth: u32) -> Recursive<()> {
        Box::pin(async move {
            if depth > 0 {
                let other = tokio::spawn(fork(depth - 1));
                fork(depth - 1).await;
                other.await.unwrap();
            }
        })
    }
    turns(job, |runtime, stop| {
        for _ in 0..2 {
            let stop = Arc::clone(stop);
            runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    fork(15).await;
                }
            });
        }
    })
}

/// Beside two that compute for 20 ms at a time.
pub(crate) fn beside_hogs(job: &Job) -> Report {
    turns(job, |runtime, stop| {
        for _ in 0..2 {
            let stop = Arc::clone(stop);
            runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    kernel::burn(Duration::from_millis(20));
                    task::yield_now().await;
                }
            });
        }
    })
}
