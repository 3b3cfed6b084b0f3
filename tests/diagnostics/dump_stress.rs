//! Dumps of programs that do not hold still, from all sides at once.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gthread::channel::{self, Receiver, Sender};
use gthread::{Builder, ThreadState, go};
use gthread_tests::{Flag, Random, stress, until};

/// Threads that come and go, wait with and without deadline, and are dumped meanwhile: nothing crashes,
/// nothing hangs, no value is lost, and what the dumps say makes sense.
#[test]
fn dumps_beside_everything_that_threads_do() {
    stress(|runtime, random| {
        let (tx, rx) = channel::bounded::<u64>(0);
        let (buffered, unread) = channel::unbounded::<u64>();
        let stop = Flag::new();
        let (sent, received) = (&AtomicUsize::new(0), &AtomicUsize::new(0));
        let dumper = std::thread::spawn({
            let stop = stop.clone();
            move || {
                // Once at least, however late it comes.
                loop {
                    check(&gthread::dump());
                    if stop.is_up() {
                        break;
                    }
                }
            }
        });
        let seed = random.next();
        runtime.run(|| {
            gthread::scope(|s| {
                for n in 0..8 {
                    let mut random = Random::new(seed + n);
                    let (tx, rx) = (tx.clone(), rx.clone());
                    let (buffered, unread) = (buffered.clone(), unread.clone());
                    s.spawn(move || {
                        for _ in 0..60 {
                            turn(&mut random, &tx, &rx, (&buffered, &unread), sent, received);
                        }
                    });
                }
            });
        });
        // An OS thread that frees threads which have ended, while others dump.
        let threads: Vec<_> = (0..50).map(|n| runtime.spawn(move || n)).collect();
        until(|| threads.iter().all(|thread| thread.is_finished()));
        drop(threads);
        stop.raise();
        dumper.join().unwrap();
        assert_eq!(sent.load(Ordering::Relaxed), received.load(Ordering::Relaxed));
    });
}

/// A thread that is refused is in no dump, however it is refused, and a dump beside it reads nothing that is gone.
#[test]
fn dumps_beside_threads_that_are_refused() {
    const QUIET: &str = "child that panics a thousand times";
    let hook = take_hook();
    set_hook(Box::new(move |info| {
        if gthread::current().name() != Some(QUIET) {
            hook(info);
        }
    }));
    stress(|runtime, random| {
        let parked: Vec<_> = (0..30).map(|_| runtime.spawn(gthread::park)).collect();
        let stop = Flag::new();
        let mut random = random.fork();
        let refused = runtime.run(|| {
            let stop = stop.clone();
            let spawner = Builder::new().name(QUIET.into()).queued(true).spawn(move || {
                while !stop.is_up() {
                    let value = [random.next(); 1000];
                    let builder = Builder::new().name("refused".repeat(400));
                    if random.one_in(2) {
                        let builder = builder.pinned(random.one_in(2));
                        let spawn = || builder.spawn(move || value[7]);
                        // Where it must not be switched it is not told so by an error.
                        let refused = catch_unwind(AssertUnwindSafe(|| gthread::no_switch(spawn)));
                        assert!(refused.is_err());
                    } else {
                        let builder = builder.stack_size(usize::MAX / 2).queued(random.one_in(2));
                        assert!(builder.spawn(move || value[8]).is_err());
                    }
                }
            });
            spawner.unwrap()
        });
        for _ in 0..100 {
            let dump = runtime.dump();
            assert_eq!(dump.threads.len(), parked.len() + 1, "{dump}");
            let names = dump.threads.iter().filter_map(|thread| thread.name.as_deref());
            assert!(names.into_iter().all(|name| name == QUIET), "{dump}");
        }
        stop.raise();
        refused.join().unwrap();
        parked.iter().for_each(|thread| thread.thread().unpark());
        parked.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

fn turn(
    random: &mut Random,
    tx: &Sender<u64>,
    rx: &Receiver<u64>,
    (buffered, unread): (&Sender<u64>, &Receiver<u64>),
    sent: &AtomicUsize,
    received: &AtomicUsize,
) {
    let short = random.micros(300);
    match random.below(9) {
        0 => {
            if tx.send_timeout(1, short).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        1 => {
            if rx.recv_timeout(short).is_ok() {
                received.fetch_add(1, Ordering::Relaxed);
            }
        }
        2 => buffered.send(1).unwrap(),
        3 => drop(unread.recv_timeout(short)),
        4 => {
            let name = format!("child {}", random.below(1000));
            let child = Builder::new().name(name).spawn(gthread::yield_now).unwrap();
            if random.one_in(2) {
                child.join().unwrap();
            }
        }
        5 => {
            let child = Builder::new().queued(random.one_in(2)).pinned(random.one_in(3));
            child.spawn(gthread::yield_now).unwrap().join().unwrap();
        }
        6 => {
            let parks = go!(|| gthread::park_timeout(Duration::from_micros(200)));
            parks.thread().unpark();
            parks.join().unwrap();
        }
        7 => gthread::with_stack(1 << 20, || gthread::sleep(short)),
        _ => {
            if random.one_in(4) {
                check(&gthread::dump());
            } else {
                gthread::blocking(|| std::thread::sleep(short));
            }
        }
    }
}

/// What holds of every dump.
fn check(dump: &gthread::Dump) {
    for runtime in &dump.runtimes {
        let mut last = 0;
        for thread in &runtime.threads {
            assert!(thread.id > last, "{dump}");
            last = thread.id;
            assert!(thread.spawned_at.file.ends_with(".rs"), "{dump}");
            if thread.spawned_at.file != file!() {
                // Another test's.
                continue;
            }
            if let Some(name) = &thread.name {
                assert!(name.starts_with("child "), "{dump}");
            }
            let parked = thread.state == ThreadState::Parked;
            assert_eq!(thread.wait.is_some(), parked, "{dump}");
            if parked {
                assert!(!thread.backtrace.is_empty(), "{dump}");
            }
        }
    }
}
