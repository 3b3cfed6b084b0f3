//! Sleeping, timers, and what they are withdrawn by.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gthread::{channel, go, sleep};
use gthread_tests::{
    Flag, LIMIT, Random, for_each_of, for_workers, hog_until, runtime, seed, time, watchdog,
};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn it_takes_at_least_as_long() {
    for_workers(|runtime| {
        runtime.run(|| {
            for micros in [0, 1, 50, 1_000, 10_000] {
                let pause = Duration::from_micros(micros);
                assert!(time(|| sleep(pause)) >= pause, "{pause:?}");
            }
        });
    });
    watchdog(LIMIT, || {
        let pause = Duration::from_millis(2);
        assert!(time(|| sleep(pause)) >= pause);
    });
}

#[test]
fn sleepers_wake_in_order() {
    for_workers(|runtime| {
        let order = Arc::new(Mutex::new(Vec::new()));
        let start = Instant::now();
        runtime.run(|| {
            let threads: Vec<_> = [40, 10, 30, 0, 20]
                .map(|n| {
                    let order = Arc::clone(&order);
                    go!(move || {
                        sleep(Duration::from_millis(5 * n));
                        order.lock().unwrap().push((Instant::now(), n));
                    })
                })
                .into_iter()
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        // A busy machine may run two late ones at once, in any order; but none runs early.
        let order = order.lock().unwrap();
        assert_eq!(order.len(), 5);
        let in_order: Vec<_> = order.iter().map(|&(_, n)| n).collect();
        println!("{in_order:?}");
        for &(woke, n) in order.iter() {
            assert!(woke >= start + Duration::from_millis(5 * n), "{n} of {in_order:?}");
        }
    });
}

/// One worker, and a gap that a busy machine does not close.
#[test]
fn a_short_sleep_ends_before_a_long_one() {
    for_workers(|runtime| {
        let (tx, rx) = channel::unbounded();
        for millis in [300, 3] {
            let tx = tx.clone();
            drop(runtime.spawn(move || {
                sleep(Duration::from_millis(millis));
                tx.send(millis).unwrap();
            }));
        }
        drop(tx);
        assert_eq!(rx.iter().collect::<Vec<_>>(), [3, 300]);
    });
}

#[test]
fn ten_thousand_sleep_at_once() {
    let seed = seed();
    for_workers(|runtime| {
        runtime.run(|| {
            let mut random = Random::new(seed);
            let threads: Vec<_> = (0..10_000)
                .map(|_| {
                    let pause = random.micros(100_000);
                    go!(move || assert!(time(|| sleep(pause)) >= pause, "woke early"))
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    });
}

#[test]
fn one_that_sleeps_wakes_while_all_workers_are_busy() {
    for_workers(|runtime| {
        let done = Flag::new();
        let hogs: Vec<_> = (0..runtime.metrics().workers)
            .map(|_| {
                let done = done.clone();
                runtime.spawn(move || hog_until(|| done.is_up()))
            })
            .collect();
        let sleeper = runtime.spawn({
            let done = done.clone();
            move || {
                (0..3).for_each(|_| sleep(Duration::from_millis(2)));
                done.raise();
            }
        });
        sleeper.join().unwrap();
        hogs.into_iter().for_each(|hog| hog.join().unwrap());
    });
}

/// Busy with threads that never stop suspending, rather than stuck in one.
#[test]
fn one_that_sleeps_wakes_beside_many_that_yield() {
    for_workers(|runtime| {
        let done = Flag::new();
        let yielders: Vec<_> = (0..20)
            .map(|_| {
                let done = done.clone();
                runtime.spawn(move || gthread_tests::yield_until(|| done.is_up()))
            })
            .collect();
        runtime.run(|| sleep(Duration::from_millis(5)));
        done.raise();
        yielders.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// All workers sleep until a far deadline, and a near one comes.
#[test]
fn an_earlier_timer_is_noticed() {
    for_workers(|runtime| {
        drop(runtime.spawn(|| sleep(HOUR)));
        for _ in 0..10 {
            // Time for everything to go to sleep: what is tested is that it wakes, however that was.
            std::thread::sleep(Duration::from_millis(2));
            runtime.run(|| sleep(Duration::from_millis(1)));
            let (_tx, rx) = channel::unbounded::<()>();
            runtime.run(|| {
                let result = rx.recv_timeout(Duration::from_millis(1));
                assert_eq!(result, Err(channel::RecvTimeoutError::Timeout));
            });
        }
    });
}

/// A timeout that did not happen must leave nothing that hits a later wait.
#[test]
fn timers_are_withdrawn() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::unbounded();
            let (back, turns) = channel::bounded(0);
            let receiver = go!(move || {
                for n in 0..2_000 {
                    let timeout = if n % 2 == 0 { HOUR } else { Duration::from_millis(200) };
                    back.send(()).unwrap();
                    while rx.recv_timeout(timeout) != Ok(n) {}
                }
                // Longer than all that were withdrawn.
                let pause = Duration::from_millis(250);
                assert!(time(|| sleep(pause)) >= pause, "a late timer ended it");
            });
            for n in 0..2_000 {
                turns.recv().unwrap();
                tx.send(n).unwrap();
            }
            receiver.join().unwrap();
        });
    });
}

#[test]
fn sleeping_for_ever_is_only_ended_by_the_end() {
    for_each_of(&[1, 2], |runtime| {
        let thread = runtime.spawn(|| sleep(Duration::MAX));
        runtime.run(|| {
            thread.thread().unpark();
            gthread_tests::yield_often();
            sleep(Duration::from_millis(5));
        });
        assert!(!thread.is_finished());
        // The runtime is dropped with it.
    });
}

#[test]
fn it_takes_no_worker() {
    watchdog(LIMIT, || {
        let runtime = runtime(1);
        let took = time(|| {
            runtime.run(|| {
                let threads: Vec<_> =
                    (0..100).map(|_| go!(|| sleep(Duration::from_millis(100)))).collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            });
        });
        // One after the other it would be ten seconds.
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}
