//! `RwLock`: what std documents of its own, on every kind of thread.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, TryLockError};

use gthread::sync::{Barrier, RwLock, RwLockReadGuard, RwLockWriteGuard};
use gthread_tests::{
    Drops, Flag, LIMIT, Watchdog, Way, every_way, every_way_crowded, under_chaos, unhelped,
};

every_way!(
    readers_are_together,
    a_writer_is_alone,
    the_data_are_kept_and_given_back,
    try_read_and_try_write_do_not_wait,
    a_panic_while_writing_poisons,
    a_panic_while_reading_does_not_poison,
    a_poisoned_lock_works_and_may_be_cured,
    the_lock_is_held_over_suspension_points,
    a_downgrade_keeps_writers_out,
    a_downgrade_lets_waiting_readers_in,
    readers_that_wait_come_in_together,
    a_reader_waits_behind_a_writer,
    statics_are_shared,
    unsized_data,
);
every_way_crowded!(what_is_read_was_written_whole);

fn readers_are_together(on: Way) {
    const PEERS: usize = 4;
    let shared = Arc::new((RwLock::new(5), Barrier::new(PEERS)));
    let peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let shared = Arc::clone(&shared);
            on.spawn(move || {
                let guard = shared.0.read().unwrap();
                // All are inside at once, or this never ends.
                shared.1.wait();
                *guard
            })
        })
        .collect();
    assert!(peers.into_iter().all(|peer| peer.join() == 5));
}

fn a_writer_is_alone(on: Way) {
    let shared = Arc::new((RwLock::new(()), AtomicUsize::new(0), AtomicUsize::new(0)));
    let peers: Vec<_> = (0..6)
        .map(|id| {
            let shared = Arc::clone(&shared);
            on.spawn(move || {
                let (lock, readers, writers) = &*shared;
                for n in 0..60 {
                    if (n + id) % 3 == 0 {
                        let _guard = lock.write().unwrap();
                        assert_eq!(writers.fetch_add(1, Ordering::SeqCst), 0);
                        assert_eq!(readers.load(Ordering::SeqCst), 0);
                        if n % 2 == 0 {
                            on.yield_now();
                        }
                        writers.fetch_sub(1, Ordering::SeqCst);
                    } else {
                        let _guard = lock.read().unwrap();
                        readers.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(writers.load(Ordering::SeqCst), 0);
                        if n % 2 == 0 {
                            on.yield_now();
                        }
                        readers.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
    assert!(shared.0.try_write().is_ok());
}

fn what_is_read_was_written_whole(on: Way) {
    const PEERS: usize = 12;
    const EACH: usize = 300;
    let lock = Arc::new(RwLock::new([0; 8]));
    let peers: Vec<_> = (0..PEERS)
        .map(|id| {
            let lock = Arc::clone(&lock);
            on.spawn(move || {
                for n in 0..EACH {
                    if (n + id) % 8 == 0 {
                        let mut numbers = lock.write().unwrap();
                        let next = numbers[0] + 1;
                        for number in numbers.iter_mut() {
                            *number = next;
                        }
                        if n % 5 == 0 {
                            let numbers = RwLockWriteGuard::downgrade(numbers);
                            on.yield_now();
                            assert_eq!(*numbers, [next; 8]);
                        }
                    } else {
                        let numbers = lock.read().unwrap();
                        assert_eq!(*numbers, [numbers[7]; 8]);
                    }
                    if n % 7 == 0 {
                        on.yield_now();
                    }
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
    let writes = (0..PEERS).flat_map(|id| (0..EACH).map(move |n| n + id)).filter(|n| n % 8 == 0);
    assert_eq!(lock.read().unwrap()[0], writes.count());
}

fn the_data_are_kept_and_given_back(_: Way) {
    let drops = Drops::new();
    let mut lock = RwLock::new((drops.token(), 1));
    lock.write().unwrap().1 += 1;
    lock.get_mut().unwrap().1 += 1;
    assert_eq!(lock.read().unwrap().1, 3);
    let (token, number) = lock.into_inner().unwrap();
    assert_eq!((drops.count(), number), (0, 3));
    drop(token);
    drop(RwLock::new(drops.token()));
    assert_eq!(drops.count(), 2);
    assert_eq!(*RwLock::from(5).read().unwrap(), 5);
    assert_eq!(RwLock::<String>::default().into_inner().unwrap(), "");
}

fn try_read_and_try_write_do_not_wait(on: Way) {
    let lock = Arc::new(RwLock::new(1));
    let peer_sees = |reads: bool, writes: bool| {
        let lock = Arc::clone(&lock);
        let seen = on.spawn(move || {
            let would_block = |error: bool, is: bool| assert_eq!(error, !is);
            would_block(matches!(lock.try_read(), Err(TryLockError::WouldBlock)), reads);
            would_block(matches!(lock.try_write(), Err(TryLockError::WouldBlock)), writes);
        });
        seen.join();
    };
    peer_sees(true, true);
    let first = lock.try_read().unwrap();
    let second = lock.try_read().unwrap();
    peer_sees(true, false);
    drop((first, second));
    let mut writes = lock.try_write().unwrap();
    *writes += 1;
    peer_sees(false, false);
    drop(writes);
    peer_sees(true, true);
    assert_eq!(*lock.try_read().unwrap(), 2);
}

/// Panics in a peer that holds the lock; the message does not appear.
fn panic_with(on: Way, lock: &Arc<RwLock<u8>>, writes: bool) {
    let lock = Arc::clone(lock);
    let peer = on.spawn(move || {
        let _guards = if writes { (lock.write().ok(), None) } else { (None, lock.read().ok()) };
        resume_unwind(Box::new("poison"));
    });
    let _: Result<(), _> = peer.try_join();
}

fn a_panic_while_writing_poisons(on: Way) {
    let lock = Arc::new(RwLock::new(7));
    panic_with(on, &lock, true);
    assert!(lock.is_poisoned());
    assert_eq!(**lock.read().unwrap_err().get_ref(), 7);
    assert_eq!(**lock.write().unwrap_err().get_ref(), 7);
    assert!(matches!(lock.try_read(), Err(TryLockError::Poisoned(_))));
    assert!(matches!(lock.try_write(), Err(TryLockError::Poisoned(_))));
    let mut lock = Arc::into_inner(lock).unwrap();
    assert_eq!(**lock.get_mut().unwrap_err().get_ref(), 7);
    assert_eq!(lock.into_inner().unwrap_err().into_inner(), 7);
}

fn a_panic_while_reading_does_not_poison(on: Way) {
    let lock = Arc::new(RwLock::new(7));
    panic_with(on, &lock, false);
    assert!(!lock.is_poisoned());
    assert_eq!(*lock.write().unwrap(), 7);
}

fn a_poisoned_lock_works_and_may_be_cured(on: Way) {
    let lock = Arc::new(RwLock::new(0));
    panic_with(on, &lock, true);
    let peers: Vec<_> = (0..6)
        .map(|_| {
            let lock = Arc::clone(&lock);
            on.spawn(move || {
                for _ in 0..30 {
                    let mut guard = lock.write().unwrap_err().into_inner();
                    let before = *guard;
                    on.yield_now();
                    *guard = before + 1;
                    drop(guard);
                    drop(lock.read().unwrap_err().into_inner());
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
    assert_eq!(*lock.read().unwrap_err().into_inner(), 180);
    lock.clear_poison();
    assert_eq!(*lock.read().unwrap(), 180);
    panic_with(on, &lock, true);
    assert!(lock.is_poisoned(), "and poisoned again");
}

fn the_lock_is_held_over_suspension_points(on: Way) {
    let lock = Arc::new(RwLock::new(0));
    let peers: Vec<_> = (0..8)
        .map(|id| {
            let lock = Arc::clone(&lock);
            on.spawn(move || {
                if id % 2 == 0 {
                    let guard = lock.read().unwrap();
                    let before = *guard;
                    for _ in 0..20 {
                        on.spawn(|| ()).join();
                    }
                    assert_eq!(*guard, before);
                } else {
                    let mut guard = lock.write().unwrap();
                    let before = *guard;
                    for _ in 0..20 {
                        on.spawn(|| ()).join();
                    }
                    *guard = before + 1;
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
    assert_eq!(*lock.read().unwrap(), 4);
}

fn a_downgrade_keeps_writers_out(on: Way) {
    let lock = Arc::new(RwLock::new(0));
    let mut guard = lock.write().unwrap();
    let peers: Vec<_> = (0..3)
        .map(|_| {
            let lock = Arc::clone(&lock);
            on.spawn(move || *lock.write().unwrap() += 10)
        })
        .collect();
    on.lull();
    *guard = 1;
    let guard = RwLockWriteGuard::downgrade(guard);
    on.lull();
    assert_eq!(*guard, 1);
    drop(guard);
    peers.into_iter().for_each(|peer| peer.join());
    assert_eq!(*lock.read().unwrap(), 31);
}

fn a_downgrade_lets_waiting_readers_in(on: Way) {
    let lock = Arc::new(RwLock::new(0));
    let mut guard = lock.write().unwrap();
    let peers: Vec<_> = (0..3)
        .map(|_| {
            let lock = Arc::clone(&lock);
            on.spawn(move || *lock.read().unwrap())
        })
        .collect();
    on.lull();
    *guard = 1;
    let guard = RwLockWriteGuard::downgrade(guard);
    // While it is held.
    assert!(peers.into_iter().all(|peer| peer.join() == 1));
    assert_eq!(*guard, 1);
}

/// More than are woken at a time.
fn readers_that_wait_come_in_together(on: Way) {
    let count = if on.is_parallel() { 36 } else { 70 };
    let shared = Arc::new((RwLock::new(0), Barrier::new(count)));
    let guard = shared.0.write().unwrap();
    let peers: Vec<_> = (0..count)
        .map(|_| {
            let shared = Arc::clone(&shared);
            on.spawn(move || {
                let _guard = shared.0.read().unwrap();
                shared.1.wait();
            })
        })
        .collect();
    on.lull();
    drop(guard);
    peers.into_iter().for_each(|peer| peer.join());
}

fn a_reader_waits_behind_a_writer(on: Way) {
    // Whether it was there before the lock was released is luck, if there are others that run.
    behind_a_writer(on);
}

#[test]
fn a_reader_that_waits_behind_a_writer_reads_what_that_wrote() {
    if under_chaos("how far the reader has come") {
        return;
    }
    // Nobody but the reader could run when it had come, so it has come to its wait.
    assert_eq!(unhelped(|runtime| runtime.run(|| behind_a_writer(Way::green(1)))), 1);
}

/// What a reader reads that comes while a writer waits.
fn behind_a_writer(on: Way) -> i32 {
    let lock = Arc::new(RwLock::new(0));
    let guard = lock.read().unwrap();
    let writer = {
        let lock = Arc::clone(&lock);
        on.spawn(move || *lock.write().unwrap() = 1)
    };
    // From when the writer waits nobody comes in.
    on.until(|| lock.try_read().is_err());
    let (came, released) = (Flag::new(), Flag::new());
    let reader = {
        let (lock, came, released) = (Arc::clone(&lock), came.clone(), released.clone());
        on.spawn(move || {
            came.raise();
            let number = lock.read().unwrap();
            assert!(released.is_up(), "it came in beside the writer that waits");
            *number
        })
    };
    on.until(|| came.is_up());
    on.lull();
    assert!(!reader.is_finished());
    released.raise();
    drop(guard);
    let number = reader.join();
    writer.join();
    number
}

fn statics_are_shared(on: Way) {
    static LIST: RwLock<Vec<usize>> = RwLock::new(Vec::new());
    let before = LIST.read().unwrap().len();
    let peers: Vec<_> = (0..5).map(|n| on.spawn(move || LIST.write().unwrap().push(n))).collect();
    peers.into_iter().for_each(|peer| peer.join());
    // The other ways run meanwhile.
    assert!(LIST.read().unwrap().len() >= before + 5);
}

fn unsized_data(on: Way) {
    let shown: Arc<RwLock<dyn Display + Send + Sync>> = Arc::new(RwLock::new(5));
    let slice: &RwLock<[u8]> = &RwLock::new([1, 2, 3]);
    slice.write().unwrap()[1] = 9;
    assert_eq!(slice.read().unwrap()[..], [1, 9, 3]);
    let peer = on.spawn(move || shown.read().unwrap().to_string());
    assert_eq!(peer.join(), "5");
}

#[test]
fn it_prints_as_stds() {
    let (ours, stds) = (RwLock::new(5), std::sync::RwLock::new(5));
    assert_eq!(format!("{ours:?} {ours:#?}"), format!("{stds:?} {stds:#?}"));
    {
        let (_ours, _stds) = (ours.write().unwrap(), stds.write().unwrap());
        assert_eq!(format!("{ours:?}"), "RwLock { data: <locked>, poisoned: false, .. }");
        assert_eq!(format!("{_ours:?} {_ours}"), format!("{_stds:?} {_stds}"));
    }
    {
        let (_ours, _stds) = (ours.read().unwrap(), stds.read().unwrap());
        assert_eq!(format!("{ours:?} {_ours:?} {_ours}"), format!("{stds:?} {_stds:?} {_stds}"));
    }
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _guards = (ours.write(), stds.write());
        resume_unwind(Box::new(()));
    }));
    assert_eq!(format!("{ours:?}"), format!("{stds:?}"));
}

#[test]
fn it_is_two_words_and_the_data() {
    assert_eq!(size_of::<RwLock<()>>(), 2 * size_of::<usize>());
    assert_eq!(size_of::<RwLock<u64>>(), 3 * size_of::<usize>());
    type Guards<'a> = (RwLockReadGuard<'a, u8>, RwLockWriteGuard<'a, u8>);
    type Stds<'a> = (std::sync::RwLockReadGuard<'a, u8>, std::sync::RwLockWriteGuard<'a, u8>);
    assert_eq!(size_of::<Guards<'_>>(), size_of::<Stds<'_>>());
}

/// As many guards as std's has room for, and no more. Each takes nanoseconds, where the compiler optimises.
#[test]
fn there_may_be_as_many_readers_as_with_stds() {
    const MOST: usize = (1 << 30) - 2;
    if cfg!(debug_assertions) {
        return println!("skipped: it would take a minute");
    }
    let _watchdog = Watchdog::new(10 * LIMIT, "it takes some seconds");
    let lock = RwLock::new(5);
    for _ in 0..MOST {
        std::mem::forget(lock.read().unwrap());
    }
    for _ in 0..2 {
        let read = AssertUnwindSafe(|| drop(lock.read()));
        let panic = catch_unwind(read).expect_err("there is no room");
        assert_eq!(panic.downcast_ref(), Some(&"too many active read locks on RwLock"));
    }
    assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
    assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
    assert_eq!(lock.into_inner().unwrap(), 5);
}
