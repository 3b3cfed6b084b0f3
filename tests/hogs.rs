//! A green thread that keeps its OS thread, blocked or busy, does not stop the others.
//!
//! Apart from other tests, which would wait for the processors that these keep busy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use gthread::{Builder, JoinHandle, Runtime, channel, go};
use gthread_tests::{Flag, compute, for_each_of, for_workers, hog_until, is_chaos, yield_often};

#[test]
fn one_that_sleeps_in_the_kernel() {
    for_workers(|runtime| {
        runtime.run(|| {
            let stop = Flag::new();
            let hog = go!({
                let stop = stop.clone();
                move || gthread_tests::until(|| stop.is_up())
            });
            for _ in 0..10 {
                go!(yield_often).join().unwrap();
            }
            stop.raise();
            hog.join().unwrap();
        });
    });
}

#[test]
fn one_that_waits_on_a_std_channel() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = mpsc::channel();
            let hog = go!(move || rx.recv().unwrap());
            let (ping, pings) = channel::bounded(0);
            let other = go!(move || pings.iter().sum::<u32>());
            (0..100).for_each(|n| ping.send(n).unwrap());
            drop(ping);
            assert_eq!(other.join().unwrap(), 4950);
            tx.send(5).unwrap();
            assert_eq!(hog.join().unwrap(), 5);
        });
    });
}

#[test]
fn one_that_spins() {
    for_workers(|runtime| {
        runtime.run(|| {
            let stop = Flag::new();
            let hog = go!({
                let stop = stop.clone();
                move || hog_until(|| stop.is_up())
            });
            gthread::sleep(Duration::from_millis(5));
            for _ in 0..10 {
                go!(yield_often).join().unwrap();
            }
            stop.raise();
            hog.join().unwrap();
        });
    });
}

/// Waits for a flag, and keeps the OS thread.
fn await_flag(flag: &Flag) {
    gthread_tests::until(|| flag.is_up());
}

/// Starts threads that each raise a flag and wait for that of the next; the last waits for the flag that is given back.
fn chain(runtime: &Runtime, length: usize, wait: fn(&Flag)) -> (Flag, Vec<JoinHandle<()>>) {
    let flags: Vec<_> = (0..=length).map(|_| Flag::new()).collect();
    let start = |pair: &[Flag]| {
        let (mine, next) = (pair[0].clone(), pair[1].clone());
        runtime.spawn(move || {
            mine.raise();
            wait(&next);
        })
    };
    (flags[length].clone(), flags.windows(2).map(start).collect())
}

/// As many hogs as there are workers, each waiting for the next to start.
#[test]
fn as_many_as_there_are_workers_and_more() {
    for_workers(|runtime| {
        let (last, hogs) = chain(runtime, runtime.metrics().workers + 3, await_flag);
        last.raise();
        hogs.into_iter().for_each(|hog| hog.join().unwrap());
    });
}

/// What was runnable on the hog's worker, of every kind, must get away from it.
#[test]
fn what_waits_behind_a_hog_is_taken_over() {
    for_workers(|runtime| {
        let done: Vec<_> = (0..5).map(|_| Flag::new()).collect();
        let raise = |n: usize| {
            let flag = done[n].clone();
            move || flag.raise()
        };
        runtime.run(|| {
            let (tx, rx) = channel::bounded::<()>(1);
            let woken = go!({
                let raise = raise(0);
                move || {
                    rx.recv().unwrap();
                    raise();
                }
            });
            let parked = go!({
                let raise = raise(1);
                move || {
                    gthread::park();
                    raise();
                }
            });
            let yielded = go!({
                let raise = raise(2);
                move || {
                    gthread::yield_now();
                    raise();
                }
            });
            let hog = go!({
                let done = done.clone();
                let (raise, parked) = (raise(3), parked.thread().clone());
                move || {
                    gthread::Builder::new().queued(true).spawn(raise).unwrap();
                    parked.unpark();
                    // The one woken last is in the hand-off slot.
                    tx.send(()).unwrap();
                    hog_until(|| done.iter().all(Flag::is_up));
                }
            });
            // The hog's own parent.
            done[4].raise();
            for thread in [woken, parked, yielded, hog] {
                thread.join().unwrap();
            }
        });
    });
}

/// A worker that takes several at once of a crowd from outside may run a hog before them.
#[test]
fn hogs_in_a_crowd_from_outside() {
    const CROWD: usize = 2000;
    for_workers(|runtime| {
        let left = Arc::new(AtomicUsize::new(CROWD));
        let threads: Vec<_> = (0..CROWD)
            .map(|n| {
                let left = Arc::clone(&left);
                runtime.spawn(move || {
                    left.fetch_sub(1, Ordering::Relaxed);
                    if n % 500 == 250 {
                        hog_until(|| left.load(Ordering::Relaxed) == 0);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// A hog that another worker covers for already wakes a thread, and waits for it without suspending,
/// while everything else is asleep.
#[test]
fn a_hog_wakes_one_while_all_else_sleeps() {
    for_each_of(&[1, 2], |runtime| {
        let (first, second) = (Flag::new(), Flag::new());
        runtime.run(|| {
            let (tx, rx) = channel::bounded::<()>(1);
            let woken = go!({
                let second = second.clone();
                move || {
                    rx.recv().unwrap();
                    second.raise();
                }
            });
            let hog = go!({
                let (first, second) = (first.clone(), second.clone());
                move || {
                    // Covered by now: the caller went on.
                    hog_until(|| first.is_up());
                    // The caller sleeps by now, and so does the worker that ran it.
                    std::thread::sleep(Duration::from_millis(50));
                    tx.send(()).unwrap();
                    hog_until(|| second.is_up());
                }
            });
            first.raise();
            hog.join().unwrap();
            woken.join().unwrap();
        });
    });
}

/// The counts of who runs must survive hogs that come and go among sleeping and ended spares.
#[test]
fn hogs_after_spares_have_slept() {
    for_each_of(&[1, 2], |runtime| {
        for round in 0..6 {
            println!("round {round}");
            // Some that block in a chain, so that as many spares are needed.
            let (last, chain) = chain(runtime, 4, |next| gthread::blocking(|| await_flag(next)));
            last.raise();
            chain.into_iter().for_each(|thread| thread.join().unwrap());
            // One that is not announced, with work waiting: somebody else must run in its place.
            let stop = Flag::new();
            let hogs: Vec<_> = (0..2)
                .map(|_| {
                    let stop = stop.clone();
                    runtime.spawn(move || gthread_tests::until(|| stop.is_up()))
                })
                .collect();
            let works: Vec<_> = (0..4).map(|_| runtime.spawn(yield_often)).collect();
            works.into_iter().for_each(|thread| thread.join().unwrap());
            stop.raise();
            hogs.into_iter().for_each(|thread| thread.join().unwrap());
            // Everything goes to sleep; then there is work again.
            std::thread::sleep(Duration::from_millis(20));
            runtime.spawn(yield_often).join().unwrap();
        }
    });
}

/// The same after the spares' OS threads have ended.
#[test]
fn hogs_after_spares_have_ended() {
    for_each_of(&[1], |runtime| {
        for _ in 0..2 {
            let names = || {
                let names = gthread_tests::os_thread_names();
                names.iter().filter(|name| name.starts_with("gthread")).count()
            };
            let (last, chain) = chain(runtime, 4, |next| gthread::blocking(|| await_flag(next)));
            let busy = names();
            last.raise();
            chain.into_iter().for_each(|thread| thread.join().unwrap());
            println!("{busy} OS threads");
            // The keepalive of spares, and some.
            std::thread::sleep(Duration::from_millis(1300));
            let stop = Flag::new();
            let hog = runtime.spawn({
                let stop = stop.clone();
                move || gthread_tests::until(|| stop.is_up())
            });
            let works: Vec<_> = (0..4).map(|_| runtime.spawn(yield_often)).collect();
            works.into_iter().for_each(|thread| thread.join().unwrap());
            stop.raise();
            hog.join().unwrap();
            std::thread::sleep(Duration::from_millis(20));
            runtime.spawn(yield_often).join().unwrap();
        }
    });
}

/// One was stuck, another ran in its place and fell asleep, and so did whoever watches. Then the worker
/// is back, and gets stuck again at once.
#[test]
fn one_that_was_stuck_gets_stuck_again() {
    for_each_of(&[1], |runtime| {
        for _ in 0..20 {
            let last = runtime.run(|| {
                let other = Flag::new();
                let raise = other.clone();
                Builder::new().queued(true).spawn(move || raise.raise()).unwrap();
                hog_until(|| other.is_up());
                // Long enough for everybody else to fall asleep; too short only makes the test weaker.
                std::thread::sleep(Duration::from_millis(20));
                // Queued behind this one, for the worker that is back.
                Builder::new().queued(true).pinned(true).spawn(spin_beside_a_child).unwrap()
            });
            last.join().unwrap();
        }
    });
}

/// Returns only if somebody takes over what waits on the worker that the child keeps.
fn spin_beside_a_child() {
    let flag = Flag::new();
    let raised = flag.clone();
    // A pinned thread queues its child, which an idle worker must be told of.
    let child = go!(move || raised.raise());
    hog_until(|| flag.is_up());
    child.join().unwrap();
}

/// So many spin until one that is started after them has run.
const SPINNERS: usize = 40;

/// Each has its share of the processors soon, however many there are, so the last one has, too.
#[test]
fn many_that_spin_for_one_that_is_started_later() {
    for_workers(|runtime| {
        for _ in 0..2 {
            let flag = Flag::new();
            let start = |n| {
                let flag = flag.clone();
                move || if n == SPINNERS { flag.raise() } else { hog_until(|| flag.is_up()) }
            };
            let threads: Vec<_> = (0..=SPINNERS).map(|n| runtime.spawn(start(n))).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}

/// The same if they are started by a green thread, which then has to get on beside each of them.
#[test]
fn many_that_spin_for_what_their_parent_starts_later() {
    for_workers(|runtime| {
        for _ in 0..2 {
            let flag = Flag::new();
            runtime.run(|| {
                gthread::scope(|scope| {
                    for _ in 0..SPINNERS {
                        scope.spawn(|| hog_until(|| flag.is_up()));
                    }
                    scope.spawn(|| flag.raise());
                });
            });
        }
    });
}

/// One that sleeps wakes up among many that have computed since before it was due.
#[test]
fn a_timer_beside_many_that_spin() {
    for_workers(|runtime| {
        let flag = Flag::new();
        let sleeps = runtime.spawn({
            let flag = flag.clone();
            move || {
                for _ in 0..3 {
                    gthread::sleep(Duration::from_millis(5));
                }
                flag.raise();
            }
        });
        let spin = |_| {
            let flag = flag.clone();
            runtime.spawn(move || hog_until(|| flag.is_up()))
        };
        let spinners: Vec<_> = (0..SPINNERS).map(spin).collect();
        sleeps.join().unwrap();
        spinners.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// All compute, and spin until all have come so far. They are known hogs from the second time on.
#[test]
fn a_barrier_that_spins() {
    const THREADS: usize = 12;
    for_workers(|runtime| {
        let arrived = Arc::new(AtomicUsize::new(0));
        let start = |_| {
            let arrived = Arc::clone(&arrived);
            runtime.spawn(move || {
                for phase in 1..=3 {
                    compute(Duration::from_millis(5));
                    arrived.fetch_add(1, Ordering::Relaxed);
                    hog_until(|| arrived.load(Ordering::Relaxed) >= phase * THREADS);
                    gthread::sleep(Duration::from_millis(1));
                }
            })
        };
        let threads: Vec<_> = (0..THREADS).map(start).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Some block their OS threads and others spin, until one that is started after them has run.
#[test]
fn many_that_block_and_many_that_spin() {
    for_workers(|runtime| {
        let flag = Flag::new();
        let start = |n| {
            let flag = flag.clone();
            move || match n {
                SPINNERS => flag.raise(),
                n if n % 2 == 0 => hog_until(|| flag.is_up()),
                _ => gthread_tests::until(|| flag.is_up()),
            }
        };
        let threads: Vec<_> = (0..=SPINNERS).map(|n| runtime.spawn(start(n))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Fair picks are counted, and each takes long here: what comes from outside must not wait for them.
#[test]
fn those_that_compute_between_yields() {
    const HOGS: usize = 4;
    const BURST: Duration = Duration::from_millis(2);
    /// Bursts while one from outside waits. By fair picks alone it is some 250.
    const MANY: usize = 100;
    let runtime = gthread::Runtime::builder().workers(1).build().unwrap();
    let (stop, bursts) = (Flag::new(), Arc::new(AtomicUsize::new(0)));
    let hogs: Vec<_> = (0..HOGS)
        .map(|_| {
            let (stop, bursts) = (stop.clone(), Arc::clone(&bursts));
            runtime.spawn(move || {
                while !stop.is_up() {
                    let end = Instant::now() + BURST;
                    hog_until(|| Instant::now() >= end);
                    bursts.fetch_add(1, Ordering::Relaxed);
                    gthread::yield_now();
                }
            })
        })
        .collect();
    gthread_tests::until(|| bursts.load(Ordering::Relaxed) >= 2 * HOGS);
    for _ in 0..5 {
        let before = bursts.load(Ordering::Relaxed);
        let waited = runtime.spawn({
            let bursts = Arc::clone(&bursts);
            move || bursts.load(Ordering::Relaxed) - before
        });
        let waited = waited.join().unwrap();
        assert!(waited < MANY, "{waited} bursts went before");
    }
    stop.raise();
    hogs.into_iter().for_each(|hog| hog.join().unwrap());
}

/// How long hogs compute between two yields here: well beyond what it takes to be found.
const LONG: Duration = Duration::from_millis(40);

/// Hogs that are known give their places up, so that others are served all the time.
#[test]
fn those_that_sleep_for_a_moment_do_not_wait_for_known_hogs() {
    /// If each round waited for a hog, as many bursts would go by.
    const ROUNDS: usize = 60;
    for_each_of(&[1, 2], |runtime| {
        let (stop, bursts) = (Flag::new(), Arc::new(AtomicUsize::new(0)));
        let hogs: Vec<_> = (0..4)
            .map(|n| {
                let (stop, bursts) = (stop.clone(), Arc::clone(&bursts));
                runtime.spawn(move || {
                    while !stop.is_up() {
                        compute(LONG);
                        bursts.fetch_add(1, Ordering::Relaxed);
                        // Those too that wait in between, more than once.
                        for _ in 0..n {
                            gthread::sleep(Duration::from_micros(100));
                        }
                        gthread::yield_now();
                    }
                })
            })
            .collect();
        // Each is found once.
        gthread_tests::until(|| bursts.load(Ordering::Relaxed) >= 8);
        let before = bursts.load(Ordering::Relaxed);
        let beside = runtime.spawn(move || {
            for _ in 0..ROUNDS {
                gthread::sleep(Duration::from_micros(500));
            }
        });
        beside.join().unwrap();
        let waited = bursts.load(Ordering::Relaxed) - before;
        stop.raise();
        hogs.into_iter().for_each(|hog| hog.join().unwrap());
        println!("{waited} bursts");
        // Chaos has no order that could be relied on.
        assert!(waited < ROUNDS / 2 || is_chaos(), "{waited} bursts went by in {ROUNDS} rounds");
    });
}

/// Each that has its turn waits, computing, for one that waits for its own: sysmon lets that one in, and more at a
/// time if there are many.
#[test]
fn known_hogs_that_wait_for_each_other() {
    for_each_of(&[1, 2], |runtime| {
        let count = runtime.metrics().workers + 12;
        let flags: Vec<_> = (0..=count).map(|_| Flag::new()).collect();
        let known = Arc::new(AtomicUsize::new(0));
        let hogs: Vec<_> = (0..count)
            .map(|n| {
                let (mine, next) = (flags[n].clone(), flags[n + 1].clone());
                let known = Arc::clone(&known);
                runtime.spawn(move || {
                    // Until all are known, more or less.
                    while known.load(Ordering::Relaxed) < 3 * count {
                        compute(LONG);
                        known.fetch_add(1, Ordering::Relaxed);
                        gthread::yield_now();
                    }
                    mine.raise();
                    hog_until(|| next.is_up());
                })
            })
            .collect();
        flags[count].raise();
        hogs.into_iter().for_each(|hog| hog.join().unwrap());
    });
}

/// Known hogs fork, join, block, wake others and are pinned: nobody is left behind, and no place is lost.
#[test]
fn known_hogs_that_do_what_others_do() {
    for_each_of(&[1, 2], |runtime| {
        let start = |n| {
            Builder::new()
                .pinned(n == 5)
                .spawn(move || {
                    for round in 0..4 {
                        compute(LONG / 2);
                        match (n + round) % 6 {
                            0 => assert_eq!(go!(move || round).join().unwrap(), round),
                            1 => assert_eq!(gthread::join(|| 1, || 2), (1, 2)),
                            2 => gthread::blocking(|| std::thread::sleep(LONG / 8)),
                            3 => {
                                let (tx, rx) = channel::bounded(1);
                                let receiver = go!(move || rx.recv());
                                gthread::yield_now();
                                compute(LONG / 2);
                                tx.send(round).unwrap();
                                compute(LONG / 8);
                                assert_eq!(receiver.join().unwrap(), Ok(round));
                            }
                            4 => gthread::sleep(Duration::from_millis(1)),
                            _ => {}
                        }
                        gthread::yield_now();
                    }
                })
                .unwrap()
        };
        let hogs: Vec<_> = runtime.run(|| (0..6).map(start).collect());
        hogs.into_iter().for_each(|hog| hog.join().unwrap());
        // All places are there again: as many run as may, each waiting for the next.
        let (last, chain) = chain(runtime, runtime.metrics().workers, await_flag);
        last.raise();
        chain.into_iter().for_each(|thread| thread.join().unwrap());
        runtime.spawn(yield_often).join().unwrap();
    });
}
