//! `run`: the way in.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use gthread::{go, run};
use gthread_tests::{Drops, LIMIT, for_workers, os_thread_id, watchdog, yield_often};

#[test]
fn it_borrows_and_gives_the_result() {
    watchdog(LIMIT, || {
        let (words, mut count) = (vec!["a", "b"], 0);
        let joined = run(|| {
            count += words.len();
            go!(yield_often).join().unwrap();
            words.concat()
        });
        assert_eq!((joined.as_str(), count), ("ab", 2));
    });
    for_workers(|runtime| {
        let (words, mut count) = (vec!["a", "b"], 0);
        runtime.run(|| count += words.len());
        assert_eq!(count, 2);
    });
}

#[test]
fn inside_it_is_a_call() {
    for_workers(|runtime| {
        runtime.run(|| {
            let me = gthread::current().id();
            assert_eq!(run(|| gthread::current().id()), me);
            assert_eq!(runtime.run(|| gthread::current().id()), me);
            let here = os_thread_id();
            assert_eq!(run(os_thread_id), here);
        });
    });
}

#[test]
fn of_another_runtime_it_is_a_thread_there() {
    for_workers(|runtime| {
        let other = gthread_tests::runtime(1);
        runtime.run(|| {
            let me = gthread::current().id();
            let (there, nested) = other.run(|| {
                let there = gthread::current().id();
                // And back again.
                (there, runtime.run(|| gthread::current().id()))
            });
            assert!(me != there && there != nested && me != nested);
        });
    });
}

#[test]
fn what_is_started_inside_belongs_to_the_same_runtime() {
    for_workers(|runtime| {
        let before = runtime.metrics().task_switches;
        runtime.run(|| (0..100).for_each(|_| go!(|| {}).join().unwrap()));
        assert!(runtime.metrics().task_switches >= before + 100);
    });
}

#[test]
fn a_panic_resumes() {
    let panics = || resume_unwind(Box::new(3_u32));
    for_workers(|runtime| {
        let payload = catch_unwind(AssertUnwindSafe(|| runtime.run(panics))).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&3_u32));
        let inside = runtime.run(|| catch_unwind(|| run(panics)).unwrap_err());
        assert_eq!(inside.downcast_ref(), Some(&3_u32));
    });
    let payload = watchdog(LIMIT, || catch_unwind(|| run(panics)).unwrap_err());
    assert_eq!(payload.downcast_ref(), Some(&3_u32));
}

#[test]
fn the_result_is_dropped_once() {
    for_workers(|runtime| {
        let drops = Drops::new();
        let (token, closure) = (drops.token(), drops.token());
        let result = runtime.run(move || {
            let _closure = closure;
            token
        });
        assert_eq!(drops.count(), 1);
        drop(result);
        assert_eq!(drops.count(), 2);
    });
}

#[test]
fn many_os_threads_run_at_once() {
    for_workers(|runtime| {
        std::thread::scope(|s| {
            for n in 0..8_u32 {
                s.spawn(move || {
                    for _ in 0..100 {
                        assert_eq!(runtime.run(|| go!(move || n).join().unwrap()), n);
                    }
                });
            }
        });
    });
}
