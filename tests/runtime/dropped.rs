//! The end of a runtime: what has not ended is leaked, nobody hangs.

use std::time::Duration;

use gthread::{Runtime, channel, go};
use gthread_tests::{Drops, Flag, LIMIT, for_each_of, for_workers, runtime, until, watchdog};

/// Runs `body` with runtimes that it drops itself.
fn with_own(body: impl Fn(Runtime)) {
    for workers in [1, 2, 8] {
        watchdog(LIMIT, || body(runtime(workers)));
    }
}

#[test]
fn parked_threads_are_leaked() {
    with_own(|runtime| {
        let drops = Drops::new();
        let (_tx, rx) = channel::unbounded::<()>();
        for n in 0..60 {
            let (token, rx) = (drops.token(), rx.clone());
            drop(runtime.spawn(move || {
                let _token = token;
                match n % 6 {
                    0 => gthread::park(),
                    1 => drop(rx.recv()),
                    2 => gthread::sleep(Duration::from_secs(3600)),
                    3 => gthread::park_timeout(Duration::MAX),
                    4 => go!(gthread::park).join().unwrap(),
                    _ => drop(gthread::scope(|s| s.spawn(gthread::park).join())),
                }
            }));
        }
        runtime.run(gthread_tests::yield_often);
        drop(runtime);
        // Neither unwound nor ended: what they own stays, as what detached threads own at exit.
        assert_eq!(drops.count(), 0);
    });
}

#[test]
fn what_they_wait_for_may_come_later() {
    with_own(|runtime| {
        let (tx, rx) = channel::unbounded::<u32>();
        let (zero, meet) = channel::bounded::<u32>(0);
        let (begun, begins) = channel::bounded(2);
        let receives = runtime.spawn({
            let (rx, begun) = (rx.clone(), begun.clone());
            move || {
                begun.send(()).unwrap();
                rx.recv()
            }
        });
        let meets = runtime.spawn(move || {
            begun.send(()).unwrap();
            meet.recv()
        });
        (0..2).for_each(|_| begins.recv().unwrap());
        drop(runtime);
        receives.thread().unpark();
        tx.send(1).unwrap();
        // The value is there, or went to the leaked thread: nothing hangs, nothing crashes.
        let _ = rx.try_recv();
        let _ = zero.try_send(2);
        let _ = zero.send_timeout(3, Duration::from_millis(1));
        drop((tx, rx, zero));
        assert!(!receives.is_finished());
        assert!(!meets.is_finished());
    });
}

#[test]
fn joiners_outside_get_an_error() {
    with_own(|ending| {
        let other = runtime(1);
        let parked = || ending.spawn(gthread::park);
        let (first, second, third) = (parked(), parked(), parked());
        let begun = [Flag::new(), Flag::new()];
        let os = std::thread::spawn({
            let begun = begun[0].clone();
            move || {
                begun.raise();
                first.join()
            }
        });
        let green = other.spawn({
            let begun = begun[1].clone();
            move || {
                begun.raise();
                second.join()
            }
        });
        until(|| begun.iter().all(Flag::is_up));
        other.run(gthread_tests::yield_often);
        drop(ending);
        assert!(os.join().unwrap().is_err());
        assert!(green.join().unwrap().is_err());
        // And who comes late.
        assert!(third.join().is_err());
    });
}

#[test]
fn results_outlive_their_runtime() {
    with_own(|runtime| {
        let drops = Drops::new();
        let thread = |runtime: &Runtime| {
            let token = drops.token();
            let thread = runtime.spawn(move || token);
            until(|| thread.is_finished());
            thread
        };
        let (joined, dropped) = (thread(&runtime), thread(&runtime));
        let handle = joined.thread().clone();
        drop(runtime);
        drop(joined.join().unwrap());
        drop(dropped);
        assert_eq!(drops.count(), 2);
        handle.unpark();
        assert_eq!(handle.name(), None);
    });
}

#[test]
fn dropped_in_one_of_its_own_threads() {
    with_own(|runtime| {
        let (tx, rx) = channel::bounded(1);
        let thread = runtime.spawn(move || {
            drop::<Runtime>(rx.recv().unwrap());
            // It still runs, until it suspends.
            7
        });
        tx.send(runtime).unwrap();
        until(|| thread.is_finished());
        assert_eq!(thread.join().unwrap(), 7);
    });
}

#[test]
fn joiners_outside_of_one_dropped_inside_get_an_error() {
    with_own(|runtime| {
        let (tx, rx) = channel::bounded(1);
        let (parked, late) = (runtime.spawn(gthread::park), runtime.spawn(gthread::park));
        let begun = Flag::new();
        let joiner = std::thread::spawn({
            let begun = begun.clone();
            move || {
                begun.raise();
                parked.join()
            }
        });
        until(|| begun.is_up());
        let thread = runtime.spawn(move || drop::<Runtime>(rx.recv().unwrap()));
        tx.send(runtime).unwrap();
        until(|| thread.is_finished());
        assert!(joiner.join().unwrap().is_err());
        assert!(late.join().is_err());
    });
}

#[test]
fn dropped_in_a_thread_of_another() {
    for_workers(|runtime| {
        for _ in 0..5 {
            runtime.run(|| {
                let inner = gthread_tests::runtime(2);
                drop(inner.spawn(gthread::park));
                assert_eq!(inner.run(|| 5), 5);
            });
        }
    });
}

#[test]
fn threads_that_run_are_waited_for_until_they_suspend() {
    with_own(|runtime| {
        let (begun, go_on, ended) = (Flag::new(), Flag::new(), Flag::new());
        drop(runtime.spawn({
            let (begun, go_on, ended) = (begun.clone(), go_on.clone(), ended.clone());
            move || {
                begun.raise();
                gthread_tests::hog_until(|| go_on.is_up());
                ended.raise();
            }
        }));
        until(|| begun.is_up());
        let drops = std::thread::spawn(move || drop(runtime));
        go_on.raise();
        drops.join().unwrap();
        assert!(ended.is_up());
    });
}

#[test]
fn dropped_at_once() {
    for_each_of(&[1, 2, 8], |_| {
        for workers in [1, 2, 3] {
            (0..10).for_each(|_| drop(runtime(workers)));
        }
        for _ in 0..10 {
            let runtime = runtime(2);
            drop(runtime.spawn(|| go!(gthread::yield_now)));
            drop(runtime);
        }
    });
}
