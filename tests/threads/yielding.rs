//! `yield_now` gives every other runnable thread a turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gthread::go;
use gthread_tests::{Flag, LIMIT, for_workers, under_chaos, unhelped, watchdog};

#[test]
fn yielders_take_turns() {
    if under_chaos("the order of turns") {
        return;
    }
    let turns = unhelped(|runtime| {
        let turns = Arc::new(Mutex::new(Vec::new()));
        runtime.run(|| {
            // All are there before the first turn is taken.
            let begun = Flag::new();
            let threads: Vec<_> = (0..4)
                .map(|n| {
                    let (turns, begun) = (Arc::clone(&turns), begun.clone());
                    go!(move || {
                        gthread_tests::yield_until(|| begun.is_up());
                        for _ in 0..100 {
                            turns.lock().unwrap().push(n);
                            gthread::yield_now();
                        }
                    })
                })
                .collect();
            begun.raise();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        Arc::into_inner(turns).unwrap().into_inner().unwrap()
    });
    assert_eq!(turns.len(), 400);
    // At any time nobody is far ahead. Not exactly even: now and then a worker looks elsewhere.
    let mut taken = [0_i32; 4];
    for &n in &turns {
        taken[n] += 1;
        let (least, most) = (taken.iter().min().unwrap(), taken.iter().max().unwrap());
        let all_run = taken.iter().all(|&turns| turns < 100);
        assert!(!all_run || most - least <= 20, "unfair: {taken:?} in {turns:?}");
    }
}

#[test]
fn yielding_alone_returns() {
    for_workers(|runtime| {
        runtime.run(|| (0..10_000).for_each(|_| gthread::yield_now()));
    });
}

#[test]
fn yielding_on_an_os_thread_returns() {
    watchdog(LIMIT, || (0..1000).for_each(|_| gthread::yield_now()));
}

#[test]
fn a_queued_child_gets_its_turn_at_a_yield() {
    for_workers(|runtime| {
        runtime.run(|| {
            let ran = Flag::new();
            let flag = ran.clone();
            let child = gthread::Builder::new().queued(true).spawn(move || flag.raise()).unwrap();
            gthread_tests::yield_until(|| ran.is_up());
            child.join().unwrap();
        });
    });
}

#[test]
fn thousands_yield_to_each_other() {
    for_workers(|runtime| {
        let count = Arc::new(AtomicUsize::new(0));
        runtime.run(|| {
            let threads: Vec<_> = (0..1000)
                .map(|_| {
                    let count = Arc::clone(&count);
                    go!(move || {
                        for _ in 0..20 {
                            count.fetch_add(1, Ordering::Relaxed);
                            gthread::yield_now();
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert_eq!(count.load(Ordering::Relaxed), 20_000);
    });
}
