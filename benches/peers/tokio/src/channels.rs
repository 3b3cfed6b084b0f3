//! Tasks that talk. tokio has no unbuffered channel: a buffer of one takes its place. It has no channel
//! with several consumers either: that is async-channel's.

use std::time::Instant;

use peers_kit::kernel::stage;
use peers_kit::{Job, Report, Timed};
use tokio::sync::mpsc::{self, Receiver, Sender, channel};

use crate::repeat;

pub(crate) fn ping_pong(job: &Job) -> Report {
    repeat(job, |n| async move {
        let start = Instant::now();
        let (ping, mut pinged) = channel(1);
        let (pong, mut ponged) = channel::<u64>(1);
        tokio::spawn(async move {
            while let Some(i) = pinged.recv().await {
                pong.send(i).await.unwrap();
            }
        });
        let mut sum = 0;
        for i in 0..n {
            ping.send(i).await.unwrap();
            sum += ponged.recv().await.unwrap();
        }
        Timed::since(start, sum)
    })
}

pub(crate) fn ring(job: &Job) -> Report {
    let size = job.size;
    repeat(job, move |laps| async move {
        let (first, mut last) = channel::<u64>(1);
        for _ in 1..size {
            let (next, outlet) = channel(1);
            let mut inlet = std::mem::replace(&mut last, outlet);
            tokio::spawn(async move {
                while let Some(token) = inlet.recv().await {
                    next.send(token + 1).await.unwrap();
                }
            });
        }
        let (start, mut token) = (Instant::now(), 0);
        for _ in 0..laps {
            first.send(token + 1).await.unwrap();
            token = last.recv().await.unwrap();
        }
        Timed::since(start, token)
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
    let size = job.size;
    repeat(job, move |n| async move {
        let start = Instant::now();
        let (sender, mut receiver) = channel(size);
        tokio::spawn(async move {
            for i in 0..n {
                sender.send(work(i)).await.unwrap();
            }
        });
        let consumer = tokio::spawn(async move {
            let mut sum = 0;
            while let Some(value) = receiver.recv().await {
                sum += work(value);
            }
            sum
        });
        Timed::since(start, consumer.await.unwrap())
    })
}

pub(crate) fn mpmc(job: &Job) -> Report {
    const EACH: u64 = 4;
    async fn produce(sender: async_channel::Sender<u64>, first: u64, n: u64) {
        for i in (first..n).step_by(EACH as usize) {
            sender.send(i).await.unwrap();
        }
    }
    async fn consume(receiver: async_channel::Receiver<u64>) -> u64 {
        let mut sum = 0;
        while let Ok(value) = receiver.recv().await {
            sum += value;
        }
        sum
    }
    let size = job.size;
    repeat(job, move |n| async move {
        let start = Instant::now();
        let (sender, receiver) = async_channel::bounded(size);
        for id in 0..EACH {
            tokio::spawn(produce(sender.clone(), id, n));
        }
        drop(sender);
        let consumers: Vec<_> =
            (0..EACH).map(|_| tokio::spawn(consume(receiver.clone()))).collect();
        let mut sum = 0;
        for consumer in consumers {
            sum += consumer.await.unwrap();
        }
        Timed::since(start, sum)
    })
}

pub(crate) fn select(job: &Job) -> Report {
    assert_eq!(job.size, 4, "the select is written for four channels");
    repeat(job, |n| async move {
        let start = Instant::now();
        let (senders, receivers): (Vec<Sender<u64>>, Vec<Receiver<u64>>) =
            (0..4).map(|_| channel(1)).unzip();
        let [mut a, mut b, mut c, mut d] = <[_; 4]>::try_from(receivers).unwrap();
        let producer = tokio::spawn(async move {
            for i in 0..n {
                senders[i as usize % 4].send(i).await.unwrap();
            }
            // Closed channels are ready: they stay open until the last value is taken.
            senders
        });
        let mut sum = 0;
        for _ in 0..n {
            let value = tokio::select! {
                value = a.recv() => value,
                value = b.recv() => value,
                value = c.recv() => value,
                value = d.recv() => value,
            };
            sum += value.unwrap();
        }
        drop(producer.await);
        Timed::since(start, sum)
    })
}

pub(crate) fn sieve(job: &Job) -> Report {
    /// The sum of the first so many primes.
    async fn primes(count: usize) -> u64 {
        let (sender, mut numbers) = mpsc::channel::<u64>(1);
        tokio::spawn(async move {
            for n in 2.. {
                if sender.send(n).await.is_err() {
                    return;
                }
            }
        });
        let mut sum = 0;
        for _ in 0..count {
            let prime = numbers.recv().await.unwrap();
            sum += prime;
            let (sender, filtered) = mpsc::channel(1);
            let mut unfiltered = std::mem::replace(&mut numbers, filtered);
            tokio::spawn(async move {
                while let Some(n) = unfiltered.recv().await {
                    if n % prime != 0 && sender.send(n).await.is_err() {
                        return;
                    }
                }
            });
        }
        sum
    }
    let size = job.size;
    repeat(job, move |n| async move {
        let (start, mut sum) = (Instant::now(), 0);
        for _ in 0..n {
            sum += primes(size).await;
        }
        Timed::since(start, sum)
    })
}
