//! `WaitGroup`, as Go's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use gthread::go;
use gthread::sync::WaitGroup;
use gthread_tests::{Flag, for_workers, stress_time, yield_often};

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
