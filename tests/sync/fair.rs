//! Nobody who waits for a lock starves, whatever those do who have it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread::sync::{Mutex, RwLock};
use gthread_tests::{Flag, LIMIT, Way, every_way, runtime, under_chaos, watchdog};

every_way!(
    a_mutex_with_a_barging_loop,
    a_mutex_that_is_never_free_for_long,
    a_writer_among_barging_writers,
    a_writer_among_readers_who_overlap,
    a_reader_among_writers,
    all_of_many_get_their_turns,
);

/// Runs a loop in some peers, and something that must end in another, which then stops the loop.
fn against(
    on: Way,
    loops: usize,
    turn: impl Fn() + Clone + Send + 'static,
    must_end: impl FnOnce() + Send + 'static,
) {
    let (began, stop) = (Arc::new(AtomicUsize::new(0)), Flag::new());
    let looping: Vec<_> = (0..loops)
        .map(|_| {
            let (began, stop, turn) = (Arc::clone(&began), stop.clone(), turn.clone());
            on.spawn(move || {
                turn();
                began.fetch_add(1, Ordering::Relaxed);
                while !stop.is_up() {
                    turn();
                }
            })
        })
        .collect();
    on.until(|| began.load(Ordering::Relaxed) == loops);
    let peer = on.spawn(must_end);
    peer.join();
    stop.raise();
    looping.into_iter().for_each(|peer| peer.join());
}

/// A turn with a mutex: whoever holds it lets others run, so that they find it taken, and takes it again as
/// soon as it has let go.
fn turn(on: Way, mutex: &Arc<Mutex<u64>>) -> impl Fn() + Clone + Send + 'static {
    let mutex = Arc::clone(mutex);
    move || {
        let mut turns = mutex.lock().unwrap();
        on.yield_now();
        *turns += 1;
    }
}

/// The same with a lock for writing.
fn write(on: Way, lock: &Arc<RwLock<u64>>) -> impl Fn() + Clone + Send + 'static {
    let lock = Arc::clone(lock);
    move || {
        let mut turns = lock.write().unwrap();
        on.yield_now();
        *turns += 1;
    }
}

fn a_mutex_with_a_barging_loop(on: Way) {
    let mutex = Arc::new(Mutex::new(0));
    against(on, 1, turn(on, &mutex), move || (0..20).for_each(|_| drop(mutex.lock().unwrap())));
}

fn a_mutex_that_is_never_free_for_long(on: Way) {
    let mutex = Arc::new(Mutex::new(0));
    against(on, 6, turn(on, &mutex), move || (0..20).for_each(|_| drop(mutex.lock().unwrap())));
}

fn a_writer_among_barging_writers(on: Way) {
    let lock = Arc::new(RwLock::new(0));
    against(on, 1, write(on, &lock), move || (0..20).for_each(|_| drop(lock.write().unwrap())));
}

/// Some reader always has the lock.
fn a_writer_among_readers_who_overlap(on: Way) {
    let lock = Arc::new(RwLock::new(0));
    let read = {
        let lock = Arc::clone(&lock);
        move || {
            let _reads = lock.read().unwrap();
            on.yield_now();
        }
    };
    against(on, 4, read, move || (0..20).for_each(|_| *lock.write().unwrap() += 1));
}

fn a_reader_among_writers(on: Way) {
    let lock = Arc::new(RwLock::new(0));
    against(on, 3, write(on, &lock), move || (0..20).for_each(|_| drop(lock.read().unwrap())));
}

/// Everybody loops, until everybody has had some turns.
fn all_of_many_get_their_turns(on: Way) {
    const PEERS: usize = 8;
    const TURNS: usize = 20;
    let (mutex, lock) = (Arc::new(Mutex::new(0)), Arc::new(RwLock::new(0)));
    let satisfied = Arc::new(AtomicUsize::new(0));
    let peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let (turn, write) = (turn(on, &mutex), write(on, &lock));
            let satisfied = Arc::clone(&satisfied);
            on.spawn(move || {
                for turns in 0.. {
                    turn();
                    write();
                    if turns == TURNS {
                        satisfied.fetch_add(1, Ordering::Relaxed);
                    }
                    if satisfied.load(Ordering::Relaxed) == PEERS {
                        return;
                    }
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
}

/// On one worker it can be counted how often somebody barges in: three times by the lock's own patience, and
/// once more when a fair pick has the other run before the waiter that was woken.
#[test]
fn a_waiter_is_passed_over_a_few_times() {
    if under_chaos("how often a pick is fair") {
        return;
    }
    let runtime = Arc::new(runtime(1));
    let (on, watched) = (Way::green(1), Arc::clone(&runtime));
    watchdog(LIMIT, || {
        runtime.run(|| {
            let (mutex, turns) = (Arc::new(Mutex::new(0)), Arc::new(AtomicUsize::new(0)));
            let counted = {
                let (turn, turns) = (turn(on, &mutex), Arc::clone(&turns));
                move || {
                    turn();
                    turns.fetch_add(1, Ordering::Relaxed);
                }
            };
            against(on, 1, counted, move || {
                // A worker that the machine keeps from running for long gets help. From then on there is more
                // than one OS thread, one of them perhaps with the waiter and off the processor.
                let helped = || (watched.metrics().injected, watched.metrics().steals);
                let alone = helped();
                for round in 0..200 {
                    on.until(|| mutex.try_lock().is_err());
                    let counts =
                        || (turns.load(Ordering::Relaxed), watched.metrics().ticks as usize);
                    let (turns_before, fair_before) = counts();
                    drop(mutex.lock().unwrap());
                    let (turns, fair) = counts();
                    if helped() != alone {
                        println!("after {round} rounds the worker had help");
                        return;
                    }
                    let (passed_over, fair) = (turns - turns_before, fair - fair_before);
                    assert!(fair <= 1, "{fair} fair picks in a few");
                    let most = 3 + fair;
                    assert!((1..=most).contains(&passed_over), "{passed_over} times, not {most}");
                }
            });
        });
    });
}
