//! Coroutines that talk. may's channels are all unbounded, so that senders never wait; and there is no
//! select that does not start a coroutine for each channel anew.

use may::go;
use may::sync::{mpmc, spsc};
use peers_kit::kernel::stage;
use peers_kit::{Job, Report, time};

use crate::Runtime;

pub(crate) fn ping_pong(job: &Job) -> Report {
    let runtime = Runtime::new(job);
    job.repeat(|n| {
        runtime.run(|| {
            time(|| {
                let (ping, pinged) = spsc::channel();
                let (pong, ponged) = spsc::channel();
                go!(move || pinged.iter().for_each(|i| pong.send(i).unwrap()));
                let round = |i: u64| {
                    ping.send(i).unwrap();
                    ponged.recv().unwrap()
                };
                (0..n).map(round).sum()
            })
        })
    })
}

pub(crate) fn ring(job: &Job) -> Report {
    let (runtime, size) = (Runtime::new(job), job.size);
    job.repeat(|laps| {
        runtime.run(|| {
            let (first, mut last) = spsc::channel::<u64>();
            for _ in 1..size {
                let (next, outlet) = spsc::channel();
                let inlet = std::mem::replace(&mut last, outlet);
                go!(move || inlet.iter().for_each(|token| next.send(token + 1).unwrap()));
            }
            time(|| {
                let lap = |token: u64| {
                    first.send(token + 1).unwrap();
                    last.recv().unwrap()
                };
                (0..laps).fold(0, |token, _| lap(token))
            })
        })
    })
}

pub(crate) fn spsc(job: &Job) -> Report {
    one_to_one(job, |value| value)
}

/// Both compute.
pub(crate) fn pipeline(job: &Job) -> Report {
    one_to_one(job, stage)
}

fn one_to_one(job: &Job, work: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static) -> Report {
    let runtime = Runtime::new(job);
    job.repeat(|n| {
        runtime.run(|| {
            time(|| {
                let (sender, receiver) = spsc::channel();
                go!(move || (0..n).for_each(|i| sender.send(work(i)).unwrap()));
                go!(move || receiver.iter().map(work).sum::<u64>()).join().unwrap()
            })
        })
    })
}

pub(crate) fn mpmc(job: &Job) -> Report {
    const EACH: u64 = 4;
    let runtime = Runtime::new(job);
    job.repeat(|n| {
        runtime.run(|| {
            time(|| {
                let (sender, receiver) = mpmc::channel();
                for id in 0..EACH {
                    let sender = sender.clone();
                    go!(move || {
                        (id..n).step_by(EACH as usize).for_each(|i| sender.send(i).unwrap());
                    });
                }
                drop(sender);
                let consumers: Vec<_> = (0..EACH)
                    .map(|_| {
                        let receiver = receiver.clone();
                        go!(move || receiver.iter().sum::<u64>())
                    })
                    .collect();
                consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum()
            })
        })
    })
}
