//! `blocking` hands the worker's place over at once, and gives it back.

use std::sync::mpsc;
use std::time::Duration;

use gthread::{blocking, channel, go};
use gthread_tests::{Flag, LIMIT, for_each_of, for_workers, watchdog, yield_often};

#[test]
fn it_gives_the_result_and_passes_panics_on() {
    for_workers(|runtime| {
        assert_eq!(runtime.run(|| blocking(|| 3)), 3);
        let panicked = runtime.spawn(|| {
            blocking(|| {
                std::panic::resume_unwind(Box::new(4_u32));
            })
        });
        assert_eq!(panicked.join().unwrap_err().downcast_ref(), Some(&4_u32));
        // The place was given back: suspending works again.
        assert_eq!(runtime.run(|| (blocking(|| 5), yield_often()).0), 5);
    });
    assert_eq!(blocking(|| 6), 6);
}

/// Each waits for the one before it, and the first for the last to have started: all block at once.
#[test]
fn calls_that_depend_on_each_other() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (start, mut previous) = mpsc::channel::<u32>();
            let mut threads = Vec::new();
            for _ in 0..40 {
                let (tx, rx) = mpsc::channel();
                let from = std::mem::replace(&mut previous, rx);
                threads.push(go!(move || {
                    let n = blocking(|| from.recv().unwrap());
                    tx.send(n + 1).unwrap();
                }));
            }
            start.send(0).unwrap();
            assert_eq!(blocking(|| previous.recv().unwrap()), 40);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    });
}

/// The calls begin before there is anything to hand over; the work comes later, from outside.
#[test]
fn work_that_comes_during_the_call_is_run() {
    for_each_of(&[1], |runtime| {
        let (begun, end) = (Flag::new(), Flag::new());
        let blocks = runtime.spawn({
            let (begun, end) = (begun.clone(), end.clone());
            move || {
                blocking(|| {
                    begun.raise();
                    gthread_tests::until(|| end.is_up());
                });
            }
        });
        gthread_tests::until(|| begun.is_up());
        for _ in 0..5 {
            runtime.spawn(yield_often).join().unwrap();
        }
        end.raise();
        blocks.join().unwrap();
    });
}

#[test]
fn inside_it_whatever_blocks_blocks_the_os_thread() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let (back, answers) = channel::bounded(0);
            let echo = go!(move || rx.iter().for_each(|n: u32| back.send(n).unwrap()));
            let here = gthread_tests::os_thread_id();
            let there = gthread_tests::os_thread_id;
            let result = blocking(|| {
                let here = there();
                for n in 0..20 {
                    tx.send(n).unwrap();
                    assert_eq!(answers.recv(), Ok(n));
                    gthread::yield_now();
                    assert_eq!(there(), here, "moved to another OS thread");
                }
                gthread::sleep(Duration::from_millis(1));
                assert_eq!(go!(|| 7).join().unwrap(), 7);
                gthread::current().unpark();
                gthread::park();
                assert_eq!(gthread::join(|| 1, || 2), (1, 2));
                assert_eq!(there(), here, "moved to another OS thread");
                here
            });
            assert_eq!(result, here);
            drop(tx);
            echo.join().unwrap();
        });
    });
}

#[test]
fn it_nests() {
    for_workers(|runtime| {
        runtime.run(|| {
            let nested = blocking(|| blocking(|| blocking(|| 1) + 1) + 1);
            assert_eq!(nested, 3);
            go!(yield_often).join().unwrap();
        });
    });
}

/// A token that is left for a thread inside of `blocking` is its own.
#[test]
fn a_token_reaches_a_thread_inside() {
    for_workers(|runtime| {
        let begun = Flag::new();
        let thread = runtime.spawn({
            let begun = begun.clone();
            move || {
                blocking(|| {
                    begun.raise();
                    gthread::park();
                });
            }
        });
        gthread_tests::until(|| begun.is_up());
        thread.thread().unpark();
        thread.join().unwrap();
    });
}

#[test]
fn many_short_calls() {
    for_workers(|runtime| {
        runtime.run(|| {
            let threads: Vec<_> = (0..100)
                .map(|_| {
                    go!(|| {
                        for _ in 0..20 {
                            blocking(std::thread::yield_now);
                            gthread::yield_now();
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    });
}

/// A timer that is set while the only worker blocks, and is due after the spare that kept it has ended.
#[test]
fn a_timer_outlives_the_spare_that_kept_it() {
    for_each_of(&[1], |runtime| {
        let (tx, rx) = mpsc::channel();
        let blocks = runtime.spawn(move || blocking(|| rx.recv().unwrap()));
        // Longer than an idle spare lives.
        let sleeps = runtime.spawn(move || {
            gthread::sleep(Duration::from_millis(1500));
            tx.send(1).unwrap();
        });
        sleeps.join().unwrap();
        assert_eq!(blocks.join().unwrap(), 1);
    });
}

#[test]
fn on_an_os_thread_it_is_a_call() {
    watchdog(LIMIT, || {
        let here = gthread_tests::os_thread_id();
        assert_eq!(blocking(gthread_tests::os_thread_id), here);
    });
}
