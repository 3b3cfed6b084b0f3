//! Threads that talk over channels: the same code for gthread and for `std::thread` with crossbeam-channel.

use peers_kit::kernel::stage;
use peers_kit::{Job, Report, time};

use crate::channel::{self, Receiver, Sender, bounded};
use crate::{Runtime, thread};

pub(crate) fn ping_pong(job: &Job) -> Report {
    let runtime = Runtime::new(job);
    job.repeat(|n| {
        runtime.run(|| {
            time(|| {
                let (ping, pinged) = bounded(0);
                let (pong, ponged) = bounded(0);
                thread::spawn(move || pinged.iter().for_each(|i| pong.send(i).unwrap()));
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
            let (first, mut last) = bounded::<u64>(0);
            for _ in 1..size {
                let (next, outlet) = bounded(0);
                let inlet = std::mem::replace(&mut last, outlet);
                thread::spawn(move || inlet.iter().for_each(|token| next.send(token + 1).unwrap()));
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
    crowd(job, 1, |value| value)
}

/// Both compute.
pub(crate) fn pipeline(job: &Job) -> Report {
    crowd(job, 1, stage)
}

pub(crate) fn mpmc(job: &Job) -> Report {
    crowd(job, 4, |value| value)
}

/// So many producers and as many consumers, each of which does something for each value.
fn crowd(job: &Job, each: u64, work: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static) -> Report {
    let (runtime, size) = (Runtime::new(job), job.size);
    job.repeat(|n| {
        runtime.run(|| {
            time(|| {
                let (sender, receiver) = bounded(size);
                for id in 0..each {
                    let sender = sender.clone();
                    thread::spawn(move || {
                        (id..n).step_by(each as usize).for_each(|i| sender.send(work(i)).unwrap());
                    });
                }
                drop(sender);
                let consumers: Vec<_> = (0..each)
                    .map(|_| {
                        let receiver = receiver.clone();
                        thread::spawn(move || receiver.iter().map(work).sum::<u64>())
                    })
                    .collect();
                consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum()
            })
        })
    })
}

pub(crate) fn select(job: &Job) -> Report {
    let (runtime, size) = (Runtime::new(job), job.size);
    assert_eq!(size, 4, "the select is written for four channels");
    job.repeat(|n| {
        runtime.run(|| {
            time(|| {
                let (senders, receivers): (Vec<Sender<u64>>, Vec<Receiver<u64>>) =
                    (0..size).map(|_| bounded(0)).unzip();
                let producer = thread::spawn(move || {
                    (0..n).for_each(|i| senders[i as usize % 4].send(i).unwrap());
                    // Disconnected channels are ready: they stay until the last value is taken.
                    senders
                });
                let sum = (0..n)
                    .map(|_| {
                        channel::select! {
                            recv(receivers[0]) -> value => value,
                            recv(receivers[1]) -> value => value,
                            recv(receivers[2]) -> value => value,
                            recv(receivers[3]) -> value => value,
                        }
                    })
                    .map(Result::unwrap)
                    .sum();
                drop(producer.join());
                sum
            })
        })
    })
}

pub(crate) fn sieve(job: &Job) -> Report {
    /// The sum of the first so many primes.
    fn primes(count: usize) -> u64 {
        let (sender, mut numbers) = bounded(0);
        thread::spawn(move || (2..).take_while(|&n| sender.send(n).is_ok()).for_each(drop));
        let mut sum = 0;
        for _ in 0..count {
            let prime: u64 = numbers.recv().unwrap();
            sum += prime;
            let (sender, filtered) = bounded(0);
            let unfiltered = std::mem::replace(&mut numbers, filtered);
            thread::spawn(move || {
                for n in unfiltered {
                    if n % prime != 0 && sender.send(n).is_err() {
                        return;
                    }
                }
            });
        }
        sum
    }
    let (runtime, size) = (Runtime::new(job), job.size);
    job.repeat(|n| runtime.run(|| time(|| (0..n).map(|_| primes(size)).sum())))
}
