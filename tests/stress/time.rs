//! Timers against wakes, by chance, for a while: `GTHREAD_STRESS_SECS`, one second if not set. Prints its
//! seed; `GTHREAD_TEST_SEED` runs it again with the same choices (not the same timing).

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use gthread::channel::{self, RecvTimeoutError};
use gthread::{Builder, go, park_timeout, sleep, sleep_until, yield_now};
use gthread_tests::{Flag, stress};

/// Wakes aimed at the moment of the timeout: each wait ends once, for one of the two reasons.
#[test]
fn wakes_at_the_very_moment_of_the_timeout() {
    stress(|runtime, random| {
        let (given, got) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let pairs: Vec<_> = (0..8)
            .map(|_| {
                let (tx, rx) = channel::bounded(0);
                let (moments, next) = channel::unbounded();
                let mut random = random.fork();
                let got = Arc::clone(&got);
                let receiver = runtime.spawn(move || {
                    for _ in 0..50 {
                        let deadline = Instant::now() + random.micros(60);
                        moments.send(deadline).unwrap();
                        match rx.recv_deadline(deadline) {
                            Ok(()) => _ = got.fetch_add(1, SeqCst),
                            Err(RecvTimeoutError::Timeout) => assert!(Instant::now() >= deadline),
                            Err(RecvTimeoutError::Disconnected) => panic!("the sender is gone"),
                        }
                    }
                });
                let given = Arc::clone(&given);
                let sender = runtime.spawn(move || {
                    // Until the receiver has ended, and with it what it told.
                    for deadline in next {
                        while Instant::now() < deadline {
                            yield_now();
                        }
                        if tx.try_send(()).is_ok() {
                            given.fetch_add(1, SeqCst);
                        }
                    }
                });
                [receiver, sender]
            })
            .collect();
        pairs.into_iter().flatten().for_each(|thread| thread.join().unwrap());
        assert_eq!(given.load(SeqCst), got.load(SeqCst));
    });
}

/// Sleepers of all lengths, beside threads that withdraw their timers on other workers than they set
/// them on, pinned ones, and some that hog: nobody early, nobody for ever.
#[test]
fn sleepers_among_all_that_goes_on() {
    stress(|runtime, random| {
        let over = Flag::new();
        let awake = Arc::new(AtomicUsize::new(0));
        let sleepers: Vec<_> = (0..200)
            .map(|n| {
                let (mut random, awake) = (random.fork(), Arc::clone(&awake));
                runtime.spawn(move || {
                    let body = move || {
                        for _ in 0..4 {
                            let at = Instant::now() + random.micros(3000);
                            match random.below(3) {
                                0 => sleep_until(at),
                                1 => sleep(at.saturating_duration_since(Instant::now())),
                                _ => {
                                    // The token may come early; time does not.
                                    while Instant::now() < at {
                                        park_timeout(at.saturating_duration_since(Instant::now()));
                                    }
                                }
                            }
                            assert!(Instant::now() >= at, "woke early");
                        }
                        awake.fetch_add(1, Relaxed);
                    };
                    let builder = Builder::new().pinned(n % 10 == 0).queued(n % 3 == 0);
                    builder.spawn(body).unwrap().join().unwrap();
                })
            })
            .collect();
        let hogs: Vec<_> = (0..2)
            .map(|_| {
                let (over, mut random) = (over.clone(), random.fork());
                runtime.spawn(move || {
                    while !over.is_up() {
                        let end = Instant::now() + random.micros(300);
                        while Instant::now() < end {
                            std::hint::spin_loop();
                        }
                        yield_now();
                    }
                })
            })
            .collect();
        let unparks: Vec<_> = sleepers.iter().map(|thread| thread.thread().clone()).collect();
        let (over_too, mut chance) = (over.clone(), random.fork());
        let nuisance = runtime.spawn(move || {
            while !over_too.is_up() {
                unparks[chance.below(unparks.len() as u64) as usize].unpark();
                yield_now();
            }
        });
        sleepers.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(awake.load(Relaxed), 200);
        over.raise();
        hogs.into_iter().chain([nuisance]).for_each(|thread| thread.join().unwrap());
    });
}

/// One worker after the other goes to sleep with timers of its own, and new ones come: the keeper is
/// followed, told and woken.
#[test]
fn earlier_timers_come_to_those_who_sleep() {
    stress(|runtime, random| {
        let far = Duration::from_secs(3600);
        let (end, ended) = channel::bounded::<()>(0);
        let waiting = Arc::new(AtomicUsize::new(0));
        // Each has a far timer where it began to wait, and withdraws it in the end.
        let patient: Vec<_> = (0..8)
            .map(|n| {
                let (ended, waiting) = (ended.clone(), Arc::clone(&waiting));
                runtime.spawn(move || {
                    waiting.fetch_add(1, SeqCst);
                    assert!(ended.recv_timeout(far * (n + 1)).is_err());
                })
            })
            .collect();
        gthread_tests::until(|| waiting.load(SeqCst) == patient.len());
        for _ in 0..10 {
            // From outside, when perhaps all sleep; in a green thread, when others follow.
            let (pause, mut random) = (random.micros(400), random.fork());
            std::thread::sleep(pause);
            runtime.run(|| {
                let others: Vec<_> = (0..3)
                    .map(|_| {
                        let nap = random.micros(500);
                        go!(move || {
                            let start = Instant::now();
                            sleep(nap);
                            assert!(start.elapsed() >= nap);
                        })
                    })
                    .collect();
                others.into_iter().for_each(|thread| thread.join().unwrap());
            });
        }
        drop(end);
        patient.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
