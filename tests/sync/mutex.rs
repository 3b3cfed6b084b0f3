//! `Mutex`: what std documents of its own, on every kind of thread.

use std::collections::VecDeque;
use std::fmt::Display;
use std::mem::size_of;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, TryLockError};

use gthread::sync::{Mutex, MutexGuard};
use gthread_tests::{Drops, Flag, Way, every_way, every_way_crowded, unhelped};

every_way!(
    one_at_a_time,
    the_data_are_kept_and_given_back,
    try_lock_does_not_wait,
    a_panic_poisons,
    a_guard_that_is_made_while_unwinding_does_not_poison,
    a_poisoned_lock_works_and_may_be_cured,
    a_poisoned_lock_still_excludes,
    the_lock_is_held_over_suspension_points,
    a_guard_is_forgotten,
    all_wake_that_have_come,
    statics_are_shared,
    unsized_data,
    the_last_reference_goes_right_after_unlocking,
);
every_way_crowded!(additions_add_up);

fn one_at_a_time(on: Way) {
    const PEERS: usize = 6;
    let inside = Arc::new((Mutex::new(()), AtomicUsize::new(0)));
    let peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let inside = Arc::clone(&inside);
            on.spawn(move || {
                for n in 0..60 {
                    let _guard = inside.0.lock().unwrap();
                    assert_eq!(inside.1.fetch_add(1, Ordering::SeqCst), 0);
                    if n % 3 == 0 {
                        on.yield_now();
                    }
                    assert_eq!(inside.1.fetch_sub(1, Ordering::SeqCst), 1);
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
}

fn additions_add_up(on: Way) {
    const PEERS: usize = 20;
    const EACH: usize = 500;
    let total = Arc::new(Mutex::new(0));
    let peers: Vec<_> = (0..PEERS)
        .map(|id| {
            let total = Arc::clone(&total);
            on.spawn(move || {
                for n in 0..EACH {
                    *total.lock().unwrap() += 1;
                    if (n + id) % 7 == 0 {
                        on.yield_now();
                    }
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
    assert_eq!(*total.lock().unwrap(), PEERS * EACH);
}

fn the_data_are_kept_and_given_back(_: Way) {
    let drops = Drops::new();
    let mut mutex = Mutex::new((drops.token(), 1));
    mutex.lock().unwrap().1 += 1;
    mutex.get_mut().unwrap().1 += 1;
    assert_eq!(drops.count(), 0);
    let (token, number) = mutex.into_inner().unwrap();
    assert_eq!(number, 3);
    assert_eq!(drops.count(), 0);
    drop(token);
    assert_eq!(drops.count(), 1);
    drop(Mutex::new(drops.token()));
    assert_eq!(drops.count(), 2);
    assert_eq!(*Mutex::from(5).lock().unwrap(), 5);
    assert_eq!(Mutex::<String>::default().into_inner().unwrap(), "");
}

fn try_lock_does_not_wait(on: Way) {
    let mutex = Arc::new(Mutex::new(1));
    let guard = mutex.try_lock().unwrap();
    assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
    let peer = {
        let mutex = Arc::clone(&mutex);
        on.spawn(move || matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)))
    };
    assert!(peer.join());
    drop(guard);
    assert_eq!(*mutex.try_lock().unwrap(), 1);
}

/// Panics in a peer that holds the lock; the message does not appear.
fn poison<T: Send + 'static>(on: Way, mutex: &Arc<Mutex<T>>) {
    let mutex = Arc::clone(mutex);
    let peer = on.spawn(move || {
        let _guard = mutex.lock().unwrap();
        resume_unwind(Box::new("poison"));
    });
    let _: Result<(), _> = peer.try_join();
}

fn a_panic_poisons(on: Way) {
    let mutex = Arc::new(Mutex::new(7));
    assert!(!mutex.is_poisoned());
    poison(on, &mutex);
    assert!(mutex.is_poisoned());
    let error = mutex.lock().unwrap_err();
    assert!(error.to_string().contains("poisoned"));
    assert_eq!(**error.get_ref(), 7);
    drop(error);
    assert!(matches!(mutex.try_lock(), Err(TryLockError::Poisoned(_))));
    let mut mutex = Arc::into_inner(mutex).unwrap();
    assert_eq!(**mutex.get_mut().unwrap_err().get_ref(), 7);
    assert_eq!(mutex.into_inner().unwrap_err().into_inner(), 7);
}

fn a_guard_that_is_made_while_unwinding_does_not_poison(on: Way) {
    struct LocksInDrop(Arc<Mutex<u8>>);
    impl Drop for LocksInDrop {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            *self.0.lock().unwrap() += 1;
        }
    }
    let mutex = Arc::new(Mutex::new(0));
    let bomb = LocksInDrop(Arc::clone(&mutex));
    let peer = on.spawn(move || {
        let _bomb = bomb;
        resume_unwind(Box::new(()));
    });
    let _: Result<(), _> = peer.try_join();
    assert_eq!(*mutex.lock().unwrap(), 1);
}

fn a_poisoned_lock_works_and_may_be_cured(on: Way) {
    let mutex = Arc::new(Mutex::new(0));
    poison(on, &mutex);
    for n in 0..3 {
        let mut guard = mutex.lock().unwrap_err().into_inner();
        assert_eq!(*guard, n);
        *guard += 1;
    }
    // A guard that lives through a panic which is caught does not know.
    let guard = mutex.lock().unwrap_err().into_inner();
    let caught = catch_unwind(AssertUnwindSafe(|| resume_unwind(Box::new(()))));
    assert!(caught.is_err());
    mutex.clear_poison();
    drop(guard);
    assert!(!mutex.is_poisoned());
    assert_eq!(*mutex.lock().unwrap(), 3);
    poison(on, &mutex);
    assert!(mutex.is_poisoned(), "and poisoned again");
}

fn a_poisoned_lock_still_excludes(on: Way) {
    let mutex = Arc::new(Mutex::new(0));
    poison(on, &mutex);
    let peers: Vec<_> = (0..8)
        .map(|_| {
            let mutex = Arc::clone(&mutex);
            on.spawn(move || {
                for _ in 0..50 {
                    let mut guard = mutex.lock().unwrap_err().into_inner();
                    let before = *guard;
                    on.yield_now();
                    *guard = before + 1;
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
    assert_eq!(*mutex.lock().unwrap_err().into_inner(), 400);
}

/// A guard may come back on another OS thread than it was made on, and poison there.
fn the_lock_is_held_over_suspension_points(on: Way) {
    let mutex = Arc::new(Mutex::new(0));
    let peers: Vec<_> = (0..8)
        .map(|id| {
            let mutex = Arc::clone(&mutex);
            on.spawn(move || {
                let mut guard = mutex.lock().unwrap_or_else(|error| error.into_inner());
                for _ in 0..20 {
                    on.spawn(|| ()).join();
                    on.yield_now();
                }
                *guard += 1;
                if id == 3 {
                    resume_unwind(Box::new(()));
                }
            })
        })
        .collect();
    let panics = peers.into_iter().map(|peer| usize::from(peer.try_join().is_err())).sum::<usize>();
    assert_eq!(panics, 1);
    assert_eq!(**mutex.lock().unwrap_err().get_ref(), 8);
}

fn a_guard_is_forgotten(on: Way) {
    let mutex = Arc::new(Mutex::new(1));
    std::mem::forget(mutex.lock().unwrap());
    let peer = {
        let mutex = Arc::clone(&mutex);
        on.spawn(move || matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)))
    };
    assert!(peer.join(), "it stays locked");
    assert_eq!(Arc::into_inner(mutex).unwrap().into_inner().unwrap(), 1);
}

/// Those who wait get the lock in the order in which they came, when nobody barges in.
#[test]
fn it_wakes_in_the_order_of_coming() {
    // When one has come it is waiting, since nobody else runs.
    let order = unhelped(|runtime| runtime.run(|| order_of_waking(Way::green(1))));
    assert_eq!(order, [0, 1, 2, 3, 4, 5]);
}

/// Where many run, in whatever order they got there.
fn all_wake_that_have_come(on: Way) {
    let mut order = order_of_waking(on);
    order.sort_unstable();
    assert_eq!(order, [0, 1, 2, 3, 4, 5]);
}

fn order_of_waking(on: Way) -> Vec<u32> {
    let order = Arc::new((Mutex::new(VecDeque::new()), Mutex::new(())));
    let held = order.1.lock().unwrap();
    let peers: Vec<_> = (0..6)
        .map(|id| {
            let (order, came) = (Arc::clone(&order), Flag::new());
            let peer = {
                let came = came.clone();
                on.spawn(move || {
                    came.raise();
                    let _held = order.1.lock().unwrap();
                    order.0.lock().unwrap().push_back(id);
                })
            };
            on.until(|| came.is_up());
            // It has come as far as its lock, most likely.
            on.lull();
            peer
        })
        .collect();
    drop(held);
    peers.into_iter().for_each(|peer| peer.join());
    let order = order.0.lock().unwrap();
    order.iter().copied().collect()
}

fn statics_are_shared(on: Way) {
    static LIST: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let before = LIST.lock().unwrap().len();
    let peers: Vec<_> = (0..5).map(|n| on.spawn(move || LIST.lock().unwrap().push(n))).collect();
    peers.into_iter().for_each(|peer| peer.join());
    // The other ways run meanwhile.
    assert!(LIST.lock().unwrap().len() >= before + 5);
}

fn unsized_data(on: Way) {
    let shown: Arc<Mutex<dyn Display + Send>> = Arc::new(Mutex::new(5));
    let slice: &Mutex<[u8]> = &Mutex::new([1, 2, 3]);
    slice.lock().unwrap()[1] = 9;
    assert_eq!(slice.lock().unwrap()[..], [1, 9, 3]);
    let peer = on.spawn(move || shown.lock().unwrap().to_string());
    assert_eq!(peer.join(), "5");
}

/// Who unlocks does not touch the lock once another may have freed it.
fn the_last_reference_goes_right_after_unlocking(on: Way) {
    for _ in 0..100 {
        let mutex = Arc::new(Mutex::new(Box::new(1)));
        let peers: Vec<_> = (0..3)
            .map(|_| {
                let mutex = Arc::clone(&mutex);
                on.spawn(move || **mutex.lock().unwrap() += 1)
            })
            .collect();
        drop(mutex);
        peers.into_iter().for_each(|peer| peer.join());
    }
}

#[test]
fn it_prints_as_stds() {
    let (ours, stds) = (Mutex::new(5), std::sync::Mutex::new(5));
    assert_eq!(format!("{ours:?} {ours:#?}"), format!("{stds:?} {stds:#?}"));
    {
        let (_ours, _stds) = (ours.lock().unwrap(), stds.lock().unwrap());
        assert_eq!(format!("{ours:?}"), "Mutex { data: <locked>, poisoned: false, .. }");
        assert_eq!(format!("{_ours:?} {_ours}"), format!("{_stds:?} {_stds}"));
    }
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _guards = (ours.lock(), stds.lock());
        resume_unwind(Box::new(()));
    }));
    assert_eq!(format!("{ours:?}"), format!("{stds:?}"));
    assert_eq!(format!("{:?}", ours.lock()), format!("{:?}", stds.lock()));
}

#[test]
fn it_is_two_words_and_the_data() {
    assert_eq!(size_of::<Mutex<()>>(), 2 * size_of::<usize>());
    assert_eq!(size_of::<Mutex<u64>>(), 3 * size_of::<usize>());
    assert!(size_of::<MutexGuard<'_, u8>>() <= size_of::<std::sync::MutexGuard<'_, u8>>());
}

/// A guard that is made on a green thread and one of an OS thread contend for the same lock, while the OS
/// thread under the green one does other things.
#[test]
fn a_worker_goes_on_while_its_green_threads_wait() {
    let runtime = gthread_tests::runtime(1);
    let (mutex, ran) = (Arc::new(Mutex::new(())), Arc::new(AtomicBool::new(false)));
    let guard = mutex.lock().unwrap();
    let waits = {
        let mutex = Arc::clone(&mutex);
        runtime.spawn(move || drop(mutex.lock().unwrap()))
    };
    let other = {
        let ran = Arc::clone(&ran);
        runtime.spawn(move || ran.store(true, Ordering::Release))
    };
    gthread_tests::watchdog(gthread_tests::LIMIT, || other.join().unwrap());
    assert!(ran.load(Ordering::Acquire) && !waits.is_finished());
    drop(guard);
    gthread_tests::watchdog(gthread_tests::LIMIT, || waits.join().unwrap());
}
