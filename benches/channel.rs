//! Threads that talk. OS threads use `crossbeam_channel`, green threads `gthread::channel`; the
//! workloads use the latter on both sides only where they say so.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gthread_benches::{Os, Threads, Workload, compare, time};

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

            /// So many producers and consumers at one channel: the time is for one value.
            pub(super) fn crowd<S: Threads>(
                threads: S,
                times: u64,
                capacity: Option<usize>,
                producers: u64,
                consumers: u64,
            ) -> Duration {
                let (sender, receiver) = capacity.map_or_else(channel::unbounded, channel::bounded);
                time(|| {
                    let producers: Vec<_> = (0..producers)
                        .map(|id| {
                            let sender = sender.clone();
                            let share = times / producers + u64::from(id < times % producers);
                            threads.spawn(move || (0..share).for_each(|n| sender.send(n).unwrap()))
                        })
                        .collect();
                    drop(sender);
                    let consumers: Vec<_> = (1..consumers)
                        .map(|_| {
                            let receiver = receiver.clone();
                            threads.spawn(move || receiver.iter().count() as u64)
                        })
                        .collect();
                    let mine = receiver.iter().count() as u64;
                    assert_eq!(mine + consumers.into_iter().map(S::join).sum::<u64>(), times);
                    producers.into_iter().for_each(S::join);
                })
            }

            pub(super) fn spsc<S: Threads>(threads: S, times: u64) -> Duration {
                crowd(threads, times, Some(1024), 1, 1)
            }

            pub(super) fn mpmc<S: Threads>(threads: S, times: u64) -> Duration {
                crowd(threads, times, Some(1024), 4, 4)
            }

            pub(super) fn fan_in<S: Threads>(threads: S, times: u64) -> Duration {
                crowd(threads, times, Some(1024), 4, 1)
            }

            pub(super) fn one_place<S: Threads>(threads: S, times: u64) -> Duration {
                crowd(threads, times, Some(1), 1, 1)
            }

            pub(super) fn unbounded_spsc<S: Threads>(threads: S, times: u64) -> Duration {
                crowd(threads, times, None, 1, 1)
            }

            pub(super) fn unbounded_mpmc<S: Threads>(threads: S, times: u64) -> Duration {
                crowd(threads, times, None, 4, 4)
            }

            /// One producer sends to four unbuffered channels in turn, one consumer selects between
            /// them: the time is for one value.
            pub(super) fn select<S: Threads>(threads: S, times: u64) -> Duration {
                let (senders, receivers): (Vec<_>, Vec<_>) =
                    (0..4).map(|_| channel::bounded::<u64>(0)).unzip();
                time(|| {
                    let producer = threads.spawn(move || {
                        (0..times).for_each(|n| senders[n as usize % 4].send(n).unwrap());
                        senders
                    });
                    for n in 0..times {
                        let got = channel::select! {
                            recv(receivers[0]) -> got => got,
                            recv(receivers[1]) -> got => got,
                            recv(receivers[2]) -> got => got,
                            recv(receivers[3]) -> got => got,
                        };
                        assert_eq!(got, Ok(n));
                    }
                    drop(S::join(producer));
                })
            }
        }
    };
}

channel_workloads!(green, gthread::channel);
channel_workloads!(os, crossbeam_channel);

/// Measures a workload: each kind of threads with its own channels, and gthread's on OS threads.
macro_rules! measure {
    ($criterion:ident, $name:literal, $function:ident) => {{
        #[derive(Clone, Copy)]
        struct OwnChannels;

        impl Workload for OwnChannels {
            fn run<S: Threads>(self, threads: S, times: u64) -> Duration {
                if S::GREEN {
                    green::$function(threads, times)
                } else {
                    os::$function(threads, times)
                }
            }
        }

        compare($criterion, $name, OwnChannels);
        $criterion.benchmark_group($name).bench_function("gthread-os", |b| {
            b.iter_custom(|times| green::$function(Os, times));
        });
    }};
}

fn benches(criterion: &mut Criterion) {
    measure!(criterion, "unbuffered ping-pong, a round trip", ping_pong);
    measure!(criterion, "503-thread ring, a hop", ring);
    measure!(criterion, "1 to 1, buffer 1,024, a value", spsc);
    measure!(criterion, "4 to 4, buffer 1,024, a value", mpmc);
    measure!(criterion, "4 to 1, buffer 1,024, a value", fan_in);
    measure!(criterion, "1 to 1, buffer 1, a value", one_place);
    measure!(criterion, "1 to 1, unbounded, a value", unbounded_spsc);
    measure!(criterion, "4 to 4, unbounded, a value", unbounded_mpmc);
    measure!(criterion, "select over 4 unbuffered channels, a value", select);
}

criterion_group! {
    name = channel;
    config = Criterion::default().sample_size(20);
    targets = benches
}
criterion_main!(channel);
