//! The token of `park` and `unpark`: kept if it comes first, never lost, never added up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gthread::{Thread, channel, go, park, park_timeout};
use gthread_tests::{Flag, LIMIT, for_workers, runtime, time, watchdog, yield_often, yield_until};

const FOREVER: Duration = Duration::from_secs(3600);

/// Runs `body` in a green thread of each runtime, and on an OS thread.
fn green_and_os(body: impl Fn() + Send + Sync) {
    for_workers(|runtime| runtime.run(&body));
    watchdog(LIMIT, &body);
}

#[test]
fn a_token_that_comes_first_is_kept() {
    green_and_os(|| {
        gthread::current().unpark();
        park();
        gthread::current().unpark();
        park_timeout(FOREVER);
    });
}

#[test]
fn tokens_do_not_add_up() {
    green_and_os(|| {
        let me = gthread::current();
        me.unpark();
        me.unpark();
        park();
        let pause = Duration::from_millis(20);
        assert!(time(|| park_timeout(pause)) >= pause, "a second token was left");
    });
}

#[test]
fn park_timeout_ends_by_itself() {
    green_and_os(|| {
        let pause = Duration::from_millis(5);
        for _ in 0..3 {
            assert!(time(|| park_timeout(pause)) >= pause);
        }
        park_timeout(Duration::ZERO);
    });
}

#[test]
fn a_zero_timeout_takes_the_token() {
    green_and_os(|| {
        gthread::current().unpark();
        park_timeout(Duration::ZERO);
        let pause = Duration::from_millis(10);
        assert!(time(|| park_timeout(pause)) >= pause, "the token was left");
    });
}

#[test]
fn a_parked_thread_is_woken_from_anywhere() {
    for_workers(|runtime| {
        let other = gthread_tests::runtime(1);
        for _ in 0..50 {
            // From its own runtime, from an OS thread, from another runtime.
            let parked: Vec<_> = (0..3)
                .map(|_| {
                    let ready = Flag::new();
                    let thread = runtime.spawn({
                        let ready = ready.clone();
                        move || {
                            while !ready.is_up() {
                                park();
                            }
                        }
                    });
                    (thread, ready)
                })
                .collect();
            let wake = |n: usize| {
                let (thread, ready) = &parked[n];
                ready.raise();
                thread.thread().unpark();
            };
            runtime.run(|| wake(0));
            wake(1);
            other.run(|| wake(2));
            parked.into_iter().for_each(|(thread, _)| thread.join().unwrap());
        }
    });
}

#[test]
fn an_unpark_ends_a_long_timeout() {
    for_workers(|runtime| {
        let ready = Flag::new();
        let thread = runtime.spawn({
            let ready = ready.clone();
            move || {
                while !ready.is_up() {
                    park_timeout(FOREVER);
                    park_timeout(Duration::MAX);
                }
            }
        });
        ready.raise();
        // Two, for the two parks of the loop.
        while !thread.is_finished() {
            thread.thread().unpark();
            std::thread::yield_now();
        }
        thread.join().unwrap();
    });
}

/// Two threads take turns: each waits for its turn and wakes the other. A lost token hangs.
fn take_turns(mine: usize, turn: &AtomicUsize, other: &Thread, rounds: usize) {
    for _ in 0..rounds {
        while turn.load(Ordering::Acquire) != mine {
            park();
        }
        turn.store(1 - mine, Ordering::Release);
        other.unpark();
    }
}

#[test]
fn turns_between_green_threads() {
    for_workers(|runtime| {
        let turn = Arc::new(AtomicUsize::new(0));
        let (tx, rx) = channel::bounded::<Thread>(1);
        let second = runtime.spawn({
            let turn = Arc::clone(&turn);
            move || take_turns(1, &turn, &rx.recv().unwrap(), 5_000)
        });
        runtime.run(|| {
            tx.send(gthread::current()).unwrap();
            take_turns(0, &turn, second.thread(), 5_000);
        });
        second.join().unwrap();
    });
}

#[test]
fn turns_between_a_green_and_an_os_thread() {
    for_workers(|runtime| {
        let turn = Arc::new(AtomicUsize::new(0));
        let me = gthread::current();
        let green = runtime.spawn({
            let turn = Arc::clone(&turn);
            move || take_turns(1, &turn, &me, 2_000)
        });
        take_turns(0, &turn, green.thread(), 2_000);
        green.join().unwrap();
    });
}

#[test]
fn turns_between_os_threads() {
    watchdog(LIMIT, || {
        let turn = Arc::new(AtomicUsize::new(0));
        let me = gthread::current();
        let (tx, rx) = channel::bounded(1);
        let other = std::thread::spawn({
            let turn = Arc::clone(&turn);
            move || {
                tx.send(gthread::current()).unwrap();
                take_turns(1, &turn, &me, 2_000);
            }
        });
        take_turns(0, &turn, &rx.recv().unwrap(), 2_000);
        other.join().unwrap();
    });
}

/// Every kind of wait leaves a token where it is, and is not ended by it.
#[test]
fn a_token_does_not_end_other_waits_and_survives_them() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded::<u32>(0);
            let (to_full, full) = channel::bounded::<u32>(1);
            to_full.send(0).unwrap();
            let slept = Duration::from_millis(20);
            type Wait = Box<dyn FnOnce() + Send>;
            let waits: Vec<(&str, Wait)> = vec![
                ("recv", Box::new(move || assert_eq!(rx.recv(), Ok(7)))),
                ("send", Box::new(move || to_full.send(1).unwrap())),
                ("sleep", Box::new(move || assert!(time(|| gthread::sleep(slept)) >= slept))),
                ("join", Box::new(|| go!(yield_often).join().unwrap())),
            ];
            let threads: Vec<_> = waits
                .into_iter()
                .map(|(name, wait)| {
                    let begun = Flag::new();
                    let thread = go!({
                        let begun = begun.clone();
                        move || {
                            begun.raise();
                            wait();
                            // Left over from before or during the wait.
                            park();
                        }
                    });
                    (name, begun, thread)
                })
                .collect();
            for (_, begun, thread) in &threads {
                gthread_tests::yield_until(|| begun.is_up());
                thread.thread().unpark();
            }
            yield_often();
            assert!(!threads[0].2.is_finished() && !threads[1].2.is_finished());
            tx.send(7).unwrap();
            assert_eq!(full.recv(), Ok(0));
            assert_eq!(full.recv(), Ok(1));
            for (name, _, thread) in threads {
                println!("{name}");
                thread.join().unwrap();
            }
        });
    });
}

#[test]
fn an_os_thread_keeps_its_token_through_a_recv() {
    watchdog(LIMIT, || {
        for _ in 0..100 {
            let (tx, rx) = channel::unbounded();
            let (to_main, threads) = channel::bounded(1);
            let os = std::thread::spawn(move || {
                to_main.send(gthread::current()).unwrap();
                let value: u32 = rx.recv().unwrap();
                park();
                value
            });
            threads.recv().unwrap().unpark();
            tx.send(3).unwrap();
            assert_eq!(os.join().unwrap(), 3);
        }
    });
}

/// gthread's waits use std's token on OS threads, and leave the user's own alone.
#[test]
fn stds_token_is_not_swallowed() {
    watchdog(LIMIT, || {
        for _ in 0..50 {
            let (tx, rx) = channel::unbounded();
            let (to_main, ids) = std::sync::mpsc::channel();
            let os = std::thread::spawn(move || {
                to_main.send(gthread_tests::os_thread_id()).unwrap();
                let value: u32 = rx.recv().unwrap();
                std::thread::park();
                value
            });
            // Once it sleeps in `recv`, which uses that token too.
            let id = ids.recv().unwrap();
            gthread_tests::until(|| gthread_tests::is_asleep(id));
            os.thread().unpark();
            tx.send(5).unwrap();
            assert_eq!(os.join().unwrap(), 5);
        }
    });
}

#[test]
fn a_token_for_one_is_not_another_ones() {
    watchdog(LIMIT, || {
        let runtime = runtime(1);
        runtime.run(|| {
            let flags: Vec<_> = (0..10).map(|_| Flag::new()).collect();
            let threads: Vec<_> = flags
                .iter()
                .cloned()
                .map(|flag| {
                    go!(move || {
                        park();
                        flag.raise();
                    })
                })
                .collect();
            threads[3].thread().unpark();
            yield_until(|| flags[3].is_up());
            yield_often();
            let up: Vec<_> = (0..10).filter(|&n| flags[n].is_up()).collect();
            assert_eq!(up, [3]);
            threads.iter().for_each(|thread| thread.thread().unpark());
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    });
}
