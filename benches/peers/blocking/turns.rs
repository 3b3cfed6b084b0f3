//! How long runnable threads wait for their turn: the same code for all that block.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use peers_kit::{Job, Report, Waits, kernel};

use crate::channel::bounded;
use crate::thread::{self, JoinHandle};
use crate::{Runtime, join};

/// Tells threads to end.
type Stop = Arc<AtomicBool>;

/// How long threads that only yield wait for their turn, beside what `others` starts, for so many
/// milliseconds.
fn turns(job: &Job, others: impl Fn(&Runtime, &Stop)) -> Report {
    const PROBES: u64 = 4;
    let (runtime, stop) = (Runtime::new(job), Stop::default());
    others(&runtime, &stop);
    let probe = |_| {
        let (stop, mut runnable) = (Arc::clone(&stop), Instant::now());
        runtime.spawn(move || {
            let mut waits = Waits::default();
            loop {
                waits.add(runnable.elapsed());
                if stop.load(Ordering::Relaxed) {
                    return waits;
                }
                runnable = Instant::now();
                thread::yield_now();
            }
        })
    };
    let probes: Vec<JoinHandle<Waits>> = (0..PROBES).map(probe).collect();
    std::thread::sleep(Duration::from_millis(job.size as u64));
    stop.store(true, Ordering::Relaxed);
    let mut all = Waits::default();
    probes.into_iter().for_each(|probe| all.merge(&probe.join().unwrap()));
    Report::new(1, PROBES).with_waits(&all)
}

/// Beside a hundred others that yield.
pub(crate) fn beside_yield(job: &Job) -> Report {
    turns(job, |runtime, stop| {
        for _ in 0..100 {
            let stop = Arc::clone(stop);
            runtime.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
            });
        }
    })
}

/// Beside eight pairs that send each other messages over unbuffered channels.
pub(crate) fn beside_talk(job: &Job) -> Report {
    turns(job, |runtime, stop| {
        for _ in 0..8 {
            let (ping, pinged) = bounded::<()>(0);
            let (pong, ponged) = bounded::<()>(0);
            let stop = Arc::clone(stop);
            runtime.spawn(move || {
                while !stop.load(Ordering::Relaxed) && ping.send(()).is_ok() {
                    ponged.recv().unwrap();
                }
            });
            runtime.spawn(move || pinged.iter().for_each(|()| pong.send(()).unwrap()));
        }
    })
}

/// Beside four producers and four consumers of one channel.
pub(crate) fn beside_crowd(job: &Job) -> Report {
    turns(job, |runtime, stop| {
        let (sender, receiver) = bounded::<()>(1024);
        for _ in 0..4 {
            let (sender, receiver, stop) = (sender.clone(), receiver.clone(), Arc::clone(stop));
            runtime.spawn(
                move || {
                    while !stop.load(Ordering::Relaxed) && sender.send(()).is_ok() {}
                },
            );
            runtime.spawn(move || receiver.iter().for_each(drop));
        }
    })
}

/// Beside two that fork and join all the time.
pub(crate) fn beside_fork(job: &Job) -> Report {
    fn fork(depth: u32) {
        if depth > 0 {
            join(|| fork(depth - 1), || fork(depth - 1));
        }
    }
    turns(job, |runtime, stop| {
        for _ in 0..2 {
            let stop = Arc::clone(stop);
            runtime.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    fork(15);
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
            runtime.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    kernel::burn(Duration::from_millis(20));
                    thread::yield_now();
                }
            });
        }
    })
}
