//! Threads that talk. OS threads use `crossbeam_channel`, green threads `gthread::channel`; the
//! workloads use the latter on both sides only where they say so.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gthread_benches::{Threads, Workload, compare, time};

/// The channel that belongs to a kind of threads is chosen by a macro, because the two crates' ends
/// are different types with the same methods.
macro_rules! channel_workloads {
    ($module:ident, $channel:path) => {
        mod $module {
            use super::*;
            use $channel as channel;

            /// Two threads, two unbuffered channels: the time is for one round trip.
            pub(super) fn ping_pong<S: Threads>(threads: S, times: u64) -> Duration {
                let (ping, pinged) = channel::bounded(0);
                let (pong, ponged) = channel::bounded(0);
                let echo = threads.spawn(move || {
                    for n in pinged {
                        pong.send(n).unwrap();
                    }
                });
                let taken = time(|| {
                    for n in 0..times {
                        ping.send(n).unwrap();
                        assert_eq!(ponged.recv(), Ok(n));
                    }
                });
                drop(ping);
                S::join(echo);
                taken
            }

            /// A ring of 503 threads passes one token over unbuffered channels: the time is for one
            /// hop.
            pub(super) fn ring<S: Threads>(threads: S, times: u64) -> Duration {
                const THREADS: usize = 503;
                let (first, mut inlet) = channel::bounded::<u64>(0);
                let mut links = Vec::new();
                for _ in 1..THREADS {
                    let (outlet, next) = channel::bounded(0);
                    let from = std::mem::replace(&mut inlet, next);
                    links.push(threads.spawn(move || {
                        for token in from {
                            if outlet.send(token.saturating_sub(1)).is_err() {
                                return;
                            }
                        }
                    }));
                }
                let taken = time(|| {
                    let mut token = times;
                    while token > 0 {
                        first.send(token - 1).unwrap();
                        token = inlet.recv().unwrap();
                    }
                });
                drop(first);
                links.into_iter().for_each(S::join);
                taken
            }

            /// Four producers, one consumer, a buffer of 1,024: the time is for one value.
            pub(super) fn fan_in<S: Threads>(threads: S, times: u64) -> Duration {
                const PRODUCERS: u64 = 4;
                let (sender, receiver) = channel::bounded(1024);
                time(|| {
                    let producers: Vec<_> = (0..PRODUCERS)
                        .map(|id| {
                            let sender = sender.clone();
                            let share = times / PRODUCERS + u64::from(id < times % PRODUCERS);
                            threads.spawn(move || (0..share).for_each(|n| sender.send(n).unwrap()))
                        })
                        .collect();
                    drop(sender);
                    assert_eq!(receiver.iter().count() as u64, times);
                    producers.into_iter().for_each(S::join);
                })
            }
        }
    };
}

channel_workloads!(green, gthread::channel);
channel_workloads!(os, crossbeam_channel);

/// Gives each kind of threads its own channels.
macro_rules! workload {
    ($name:ident, $function:ident) => {
        #[derive(Clone, Copy)]
        struct $name;

        impl Workload for $name {
            fn run<S: Threads>(self, threads: S, times: u64) -> Duration {
                if S::GREEN {
                    green::$function(threads, times)
                } else {
                    os::$function(threads, times)
                }
            }
        }
    };
}

workload!(PingPong, ping_pong);
workload!(Ring, ring);
workload!(FanIn, fan_in);

fn benches(criterion: &mut Criterion) {
    compare(criterion, "unbuffered ping-pong, a round trip", PingPong);
    compare(criterion, "503-thread ring, a hop", Ring);
    compare(criterion, "bounded fan-in, a value", FanIn);
}

criterion_group! {
    name = channel;
    config = Criterion::default().sample_size(20);
    targets = benches
}
criterion_main!(channel);
