//! `WaitGroup`, as Go's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gthread::go;
use gthread::sync::WaitGroup;
use gthread_tests::{Flag, LONG, SHORT, Way, every_way, for_workers, stress_time, yield_often};

#[test]
fn it_waits_for_all() {
    for_workers(|runtime| {
        let ended = Arc::new(AtomicUsize::new(0));
        let body = || {
            let group = WaitGroup::new();
            for _ in 0..50 {
                let ended = Arc::clone(&ended);
                drop(group.go(move || {
                    yield_often();
                    ended.fetch_add(1, Ordering::Relaxed);
                }));
            }
            group.wait();
        };
        runtime.run(body);
        assert_eq!(ended.load(Ordering::Relaxed), 50);
        body();
        assert_eq!(ended.load(Ordering::Relaxed), 100);
    });
}

#[test]
fn an_empty_one_does_not_block() {
    for_workers(|runtime| runtime.run(|| WaitGroup::new().wait()));
    WaitGroup::default().wait();
}

#[test]
fn go_gives_a_handle_and_counts_panics_out() {
    for_workers(|runtime| {
        runtime.run(|| {
            let group = WaitGroup::new();
            let five = group.go(|| 5);
            let panics = group.go(|| std::panic::resume_unwind(Box::new(6)));
            group.wait();
            assert_eq!(five.join().unwrap(), 5);
            let _: Result<(), _> = panics.join();
        });
    });
}

#[test]
fn many_wait_and_all_are_woken() {
    for_workers(|runtime| {
        let group = WaitGroup::new();
        group.add(2);
        let waiters: Vec<_> = (0..20)
            .map(|_| {
                let group = group.clone();
                runtime.spawn(move || group.wait())
            })
            .collect();
        runtime.run(yield_often);
        group.done();
        runtime.run(yield_often);
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        group.done();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn more_done_than_added_panics() {
    let group = WaitGroup::new();
    group.add(1);
    group.done();
    let payload = catch_unwind(AssertUnwindSafe(|| group.done())).unwrap_err();
    assert!(payload.downcast_ref::<String>().unwrap().contains("negative WaitGroup counter"));
    group.add(usize::MAX);
    assert!(catch_unwind(AssertUnwindSafe(|| group.add(1))).is_err());
}

/// As soon as a `wait` has returned the group may be used again; a wake that is late from the first
/// time must not end the second.
#[test]
fn it_may_be_used_again_and_never_ends_early() {
    let end = Instant::now() + stress_time() / 2;
    for_workers(|runtime| {
        let group = WaitGroup::new();
        for round in 0.. {
            if round % 100 == 0 && Instant::now() > end && round > 0 {
                break;
            }
            let body = |late: bool| {
                let ended = Flag::new();
                group.add(1);
                let flag = ended.clone();
                let counted = group.clone();
                let thread = go!(move || {
                    if late {
                        gthread::yield_now();
                    }
                    flag.raise();
                    counted.done();
                });
                group.wait();
                assert!(ended.is_up(), "waited too short");
                drop(thread);
            };
            (0..4).for_each(|n| body(n % 2 == 0));
            runtime.run(|| (0..4).for_each(|n| body(n % 2 == 0)));
        }
    });
}

every_way!(
    a_timeout_ends_the_wait,
    a_wait_with_a_timeout_ends_at_zero,
    one_that_times_out_leaves_the_others,
    timeouts_and_ends_cross,
);

fn a_timeout_ends_the_wait(_: Way) {
    let group = WaitGroup::new();
    assert!(group.wait_timeout(Duration::ZERO) && group.wait_timeout(LONG));
    group.add(1);
    let start = Instant::now();
    assert!(!group.wait_timeout(SHORT));
    assert!(start.elapsed() >= SHORT);
    assert!(!group.wait_timeout(Duration::ZERO));
    group.done();
    assert!(group.wait_timeout(Duration::MAX));
    group.wait();
}

fn a_wait_with_a_timeout_ends_at_zero(on: Way) {
    let group = WaitGroup::new();
    for timeout in [LONG, Duration::MAX] {
        group.add(2);
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let group = group.clone();
                on.spawn(move || group.wait_timeout(timeout))
            })
            .collect();
        on.lull();
        group.done();
        on.lull();
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        group.done();
        waiters.into_iter().for_each(|waiter| assert!(waiter.join()));
    }
}

fn one_that_times_out_leaves_the_others(on: Way) {
    let group = WaitGroup::new();
    group.add(1);
    let wait = |timeout: Option<Duration>| {
        let group = group.clone();
        on.spawn(move || match timeout {
            Some(timeout) => group.wait_timeout(timeout),
            None => {
                group.wait();
                true
            }
        })
    };
    // Before them in the queue, between them and behind.
    let waiters: Vec<_> = (0..9).map(|n| wait((n % 2 == 0).then_some(SHORT))).collect();
    let (timed, others): (Vec<_>, Vec<_>) =
        waiters.into_iter().zip([true, false].into_iter().cycle()).partition(|(_, timed)| *timed);
    timed.into_iter().for_each(|(waiter, _)| assert!(!waiter.join()));
    assert!(others.iter().all(|(waiter, _)| !waiter.is_finished()));
    group.done();
    others.into_iter().for_each(|(waiter, _)| assert!(waiter.join()));
}

fn timeouts_and_ends_cross(on: Way) {
    for round in 0..60 {
        let group = WaitGroup::new();
        group.add(1);
        let waiters: Vec<_> = (0..6)
            .map(|n| {
                let group = group.clone();
                on.spawn(move || {
                    let timeout = Duration::from_micros(n * 15);
                    group.wait_timeout(timeout) || group.wait_timeout(LONG)
                })
            })
            .collect();
        on.sleep(Duration::from_micros(round));
        group.done();
        waiters.into_iter().for_each(|waiter| assert!(waiter.join(), "it was zero"));
    }
}
