//! A runtime under chaos does what others may do, and more often.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread::{Builder, Runtime, channel, go, no_switch};
use gthread_tests::{Flag, LIMIT, assert_passed, is_child, os_thread_id, rerun, stderr, watchdog};

fn chaos(workers: usize, seed: u64) -> Runtime {
    Runtime::builder().workers(workers).chaos(seed).build().unwrap()
}

/// Runs `body` with some workers and seeds.
fn for_seeds(workers: &[usize], body: impl Fn(&Runtime)) {
    for seed in 1..=3 {
        for &workers in workers {
            watchdog(LIMIT, || body(&chaos(workers, seed)));
        }
    }
}

#[test]
fn a_thread_that_suspends_comes_back_elsewhere() {
    const MOVES: usize = 100;
    for_seeds(&[2, 4], |runtime| {
        // How often it takes. The watchdog ends it if a kind of suspension does not move.
        let moves = |suspend: &dyn Fn()| {
            let (mut times, mut moved) = (0, 0);
            while moved < MOVES {
                let before = os_thread_id();
                suspend();
                moved += usize::from(os_thread_id() != before);
                times += 1;
            }
            times
        };
        let (yields, forks, meets) = runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let sender = go!(move || while tx.send(()).is_ok() {});
            let yields = moves(&gthread::yield_now);
            let forks = moves(&|| go!(|| ()).join().unwrap());
            let meets = moves(&|| rx.recv().unwrap());
            drop(rx);
            sender.join().unwrap();
            (yields, forks, meets)
        });
        // As a rule nearly all move, but half of the receives, which find somebody. On a busy machine the
        // other workers may be late.
        println!("moved {MOVES} times: of {yields} yields, {forks} forks, {meets} recvs");
    });
}

#[test]
fn a_pinned_thread_stays() {
    for_seeds(&[1, 2], |runtime| {
        let pinned = || {
            let home = os_thread_id();
            for _ in 0..100 {
                gthread::yield_now();
                assert_eq!(os_thread_id(), home);
                go!(gthread::yield_now).join().unwrap();
                assert_eq!(os_thread_id(), home);
            }
        };
        runtime.run(|| Builder::new().pinned(true).spawn(pinned).unwrap().join().unwrap());
    });
}

/// The orders in which `f` logs, with each of some seeds.
fn orders(f: impl Fn(&Mutex<Vec<u32>>) + Sync) -> HashSet<Vec<u32>> {
    let order = |seed| {
        let log = Mutex::new(Vec::new());
        watchdog(LIMIT, || chaos(1, seed).run(|| f(&log)));
        log.into_inner().unwrap()
    };
    (1..=20).map(order).collect()
}

#[test]
fn whoever_is_runnable_may_be_next() {
    let queued = orders(|log| {
        gthread::scope(|s| {
            for n in 0..8 {
                let log = move || log.lock().unwrap().push(n);
                Builder::new().queued(true).spawn_scoped(s, log).unwrap();
            }
        });
    });
    assert!(queued.len() > 10, "{queued:?}");
    let woken = orders(|log| {
        let (tx, rx) = channel::unbounded::<u32>();
        gthread::scope(|s| {
            for n in 0..8 {
                let rx = rx.clone();
                s.spawn(move || {
                    assert!(rx.recv().is_err());
                    log.lock().unwrap().push(n);
                });
            }
            drop(tx);
        });
    });
    assert!(woken.len() > 10, "{woken:?}");
}

#[test]
fn a_child_may_be_first_or_last() {
    let families = orders(|log| {
        for n in 0..4 {
            gthread::scope(|s| {
                s.spawn(move || log.lock().unwrap().push(2 * n));
                log.lock().unwrap().push(2 * n + 1);
            });
        }
    });
    assert!(families.len() > 3, "{families:?}");
}

#[test]
fn the_seed_chooses_arms() {
    let arms = orders(|log| {
        let (one, two) = (channel::unbounded(), channel::unbounded());
        for _ in 0..10 {
            one.0.send(1).unwrap();
            two.0.send(2).unwrap();
        }
        for _ in 0..10 {
            let chosen = channel::select! {
                recv(one.1) -> n => n.unwrap(),
                recv(two.1) -> n => n.unwrap(),
            };
            log.lock().unwrap().push(chosen);
        }
    });
    assert!(arms.len() > 10, "{arms:?}");
}

/// In release builds no operation pays for being a place where a thread could be suspended.
#[test]
#[cfg_attr(not(debug_assertions), ignore = "in debug builds only")]
fn what_could_suspend_does_so_at_random() {
    for_seeds(&[1, 2], |runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(1);
            let (others, done) = (AtomicUsize::new(0), Flag::new());
            gthread::scope(|s| {
                // Runs when this thread is suspended, and only then, if there is one worker.
                s.spawn(|| {
                    while !done.is_up() {
                        others.fetch_add(1, Ordering::Relaxed);
                        gthread::yield_now();
                    }
                });
                let before = others.load(Ordering::Relaxed);
                while others.load(Ordering::Relaxed) < before + 10 {
                    // Never waits.
                    tx.send(1).unwrap();
                    assert_eq!(rx.recv(), Ok(1));
                }
                done.raise();
            });
            // And so what must not suspend is found where it only could.
            let found = (0..1000).any(|_| {
                tx.try_send(1).unwrap_or_default();
                catch_unwind(AssertUnwindSafe(|| no_switch(|| rx.recv()))).is_err()
            });
            assert!(found);
        });
    });
}

/// A mixture, with more workers than processors, and some that are blocked.
#[test]
fn everything_ends() {
    for_seeds(&[1, 2, 8], |runtime| {
        let sum: u64 = runtime.run(|| {
            let (tx, rx) = channel::bounded(3);
            let (meet, meets) = channel::bounded(0);
            let sum = AtomicUsize::new(0);
            gthread::scope(|s| {
                for n in 0..30_u64 {
                    let (tx, meet, sum) = (tx.clone(), meet.clone(), &sum);
                    s.spawn(move || {
                        let (a, b) = gthread::join(|| n, || gthread::blocking(|| 2 * n));
                        tx.send(a).unwrap();
                        if n % 3 == 0 {
                            gthread::sleep(std::time::Duration::from_micros(50));
                        }
                        meet.send(b).unwrap();
                        sum.fetch_add(1, Ordering::Relaxed);
                    });
                }
                drop((tx, meet));
                let received = s.spawn(move || rx.iter().sum::<u64>());
                let met = meets.iter().sum::<u64>();
                received.join().unwrap() + met
            })
        });
        assert_eq!(sum, 3 * (0..30).sum::<u64>());
    });
}

#[test]
fn the_seed_is_printed_and_comes_from_the_environment() {
    if is_child() {
        gthread::run(|| go!(|| ()).join().unwrap());
        // What a builder says goes before.
        Runtime::builder().workers(1).chaos(0).build().unwrap().run(gthread::yield_now);
        return;
    }
    watchdog(LIMIT, || {
        let name = "the_seed_is_printed_and_comes_from_the_environment";
        let said = |seed: &str| {
            let output = rerun!(name, &[("GTHREAD_CHAOS", seed)]);
            assert_passed(&output);
            let stderr = stderr(&output);
            let seeds = stderr.split("GTHREAD_CHAOS=").skip(1);
            seeds.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect::<Vec<u64>>()
        };
        assert_eq!(said("77"), [77]);
        assert_eq!(said(" 78 "), [78]);
        assert_eq!(said("0"), []);
        let random = said("random");
        assert_eq!(random.len(), 1);
        assert_ne!(said("random"), random);
        for wrong in ["many", "-1", ""] {
            let output = rerun!(name, &[("GTHREAD_CHAOS", wrong)]);
            let stderr = stderr(&output);
            assert!(
                !output.status.success() && stderr.contains("GTHREAD_CHAOS must be a number"),
                "{stderr}"
            );
        }
    });
}
