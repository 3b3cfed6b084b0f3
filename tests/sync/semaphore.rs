//! `Semaphore`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gthread::sync::{Barrier, OwnedSemaphorePermit, Semaphore};
use gthread_tests::{Flag, LONG, SHORT, Way, every_way, every_way_crowded};

every_way!(
    no_more_at_once_than_permits,
    permits_are_counted,
    try_acquire_does_not_wait,
    who_asks_for_many_is_not_overtaken,
    permits_that_are_added_go_to_those_who_wait,
    a_timeout_ends_the_wait,
    one_that_times_out_lets_others_by,
    a_permit_that_is_forgotten_does_not_come_back,
    a_permit_goes_to_another_thread,
    a_permit_comes_back_from_a_panic,
    statics_are_shared,
    owned_permits_keep_the_semaphore,
    owned_permits_are_waited_for,
);
every_way_crowded!(timeouts_and_permits_cross);

fn no_more_at_once_than_permits(on: Way) {
    const PERMITS: usize = 3;
    let shared = Arc::new((Semaphore::new(PERMITS), AtomicUsize::new(0), AtomicUsize::new(0)));
    let all_at_once = Arc::new(Barrier::new(PERMITS));
    let peers: Vec<_> = (0..10)
        .map(|n| {
            let (shared, all_at_once) = (Arc::clone(&shared), Arc::clone(&all_at_once));
            on.spawn(move || {
                for turn in 0..30 {
                    let _permit = shared.0.acquire();
                    let inside = shared.1.fetch_add(1, Ordering::SeqCst) + 1;
                    shared.2.fetch_max(inside, Ordering::SeqCst);
                    // So many are inside once.
                    if n < PERMITS && turn == 0 {
                        all_at_once.wait();
                    }
                    on.yield_now();
                    shared.1.fetch_sub(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
    assert_eq!(shared.2.load(Ordering::SeqCst), PERMITS);
    assert_eq!(shared.0.available_permits(), PERMITS);
}

fn permits_are_counted(_: Way) {
    let semaphore = Semaphore::new(5);
    let two = semaphore.acquire_many(2);
    assert_eq!((two.num_permits(), semaphore.available_permits()), (2, 3));
    let none = semaphore.acquire_many(0);
    assert_eq!(semaphore.available_permits(), 3);
    drop((two, none));
    semaphore.add_permits(0);
    semaphore.add_permits(4);
    assert_eq!(semaphore.available_permits(), 9);
}

fn try_acquire_does_not_wait(on: Way) {
    let semaphore = Arc::new(Semaphore::new(2));
    let first = semaphore.try_acquire().unwrap();
    assert!(semaphore.try_acquire_many(2).is_none());
    let second = semaphore.try_acquire().unwrap();
    let peer = {
        let semaphore = Arc::clone(&semaphore);
        on.spawn(move || semaphore.try_acquire().is_none())
    };
    assert!(peer.join());
    drop((first, second));
    assert_eq!(semaphore.try_acquire_many(2).unwrap().num_permits(), 2);
    assert!(semaphore.try_acquire_many(Semaphore::MAX_PERMITS).is_none());
}

/// While somebody waits for many, those who want few queue behind, though there are enough for them.
fn who_asks_for_many_is_not_overtaken(on: Way) {
    let semaphore = Arc::new(Semaphore::new(3));
    let held = semaphore.acquire();
    let many = {
        let semaphore = Arc::clone(&semaphore);
        on.spawn(move || drop(semaphore.acquire_many(3)))
    };
    on.until(|| semaphore.try_acquire().is_none());
    let came = Flag::new();
    let one = {
        let (semaphore, came) = (Arc::clone(&semaphore), came.clone());
        on.spawn(move || {
            came.raise();
            drop(semaphore.acquire());
        })
    };
    on.until(|| came.is_up());
    on.lull();
    assert!(!one.is_finished() && !many.is_finished());
    assert_eq!(semaphore.available_permits(), 2);
    drop(held);
    many.join();
    one.join();
    assert_eq!(semaphore.available_permits(), 3);
}

/// More than are woken at a time.
fn permits_that_are_added_go_to_those_who_wait(on: Way) {
    let count = if on.is_parallel() { 36 } else { 70 };
    let semaphore = Arc::new(Semaphore::new(0));
    let peers: Vec<_> = (0..count)
        .map(|_| {
            let semaphore = Arc::clone(&semaphore);
            on.spawn(move || semaphore.acquire().forget())
        })
        .collect();
    on.lull();
    semaphore.add_permits(count);
    peers.into_iter().for_each(|peer| peer.join());
    assert_eq!(semaphore.available_permits(), 0);
}

fn a_timeout_ends_the_wait(on: Way) {
    let semaphore = Arc::new(Semaphore::new(1));
    let held = semaphore.acquire();
    let start = Instant::now();
    assert!(semaphore.acquire_timeout(SHORT).is_none());
    assert!(start.elapsed() >= SHORT);
    assert!(semaphore.acquire_timeout(Duration::ZERO).is_none());
    for timeout in [LONG, Duration::MAX] {
        let semaphore = Arc::clone(&semaphore);
        let peer = {
            let semaphore = Arc::clone(&semaphore);
            on.spawn(move || semaphore.acquire_timeout(timeout).map(|permit| permit.forget()))
        };
        on.lull();
        semaphore.add_permits(1);
        assert!(peer.join().is_some());
    }
    drop(held);
    assert_eq!(semaphore.available_permits(), 1);
    assert!(semaphore.acquire_many_timeout(1, SHORT).is_some());
}

/// The first in the queue wants more than there is, and gives up: those behind get what is there.
fn one_that_times_out_lets_others_by(on: Way) {
    let semaphore = Arc::new(Semaphore::new(2));
    let many = {
        let semaphore = Arc::clone(&semaphore);
        on.spawn(move || semaphore.acquire_many_timeout(3, 5 * SHORT).is_none())
    };
    // Waits, or has given up by now.
    on.until(|| semaphore.try_acquire().is_none() || many.is_finished());
    let one = {
        let semaphore = Arc::clone(&semaphore);
        on.spawn(move || drop(semaphore.acquire()))
    };
    one.join();
    assert!(many.join());
    assert_eq!(semaphore.available_permits(), 2);
}

fn a_permit_that_is_forgotten_does_not_come_back(_: Way) {
    let semaphore = Semaphore::new(3);
    semaphore.acquire().forget();
    semaphore.try_acquire_many(2).unwrap().forget();
    assert!(semaphore.try_acquire().is_none());
    semaphore.add_permits(1);
    assert!(semaphore.try_acquire().is_some());
}

fn a_permit_goes_to_another_thread(on: Way) {
    let semaphore: &'static Semaphore = Box::leak(Box::new(Semaphore::new(1)));
    let permit = semaphore.acquire();
    let waits = on.spawn(|| drop(semaphore.acquire()));
    on.lull();
    on.spawn(move || drop(permit)).join();
    waits.join();
}

fn a_permit_comes_back_from_a_panic(on: Way) {
    let semaphore = Arc::new(Semaphore::new(1));
    let peer = {
        let semaphore = Arc::clone(&semaphore);
        on.spawn(move || {
            let _permit = semaphore.acquire();
            std::panic::resume_unwind(Box::new(()));
        })
    };
    let _: Result<(), _> = peer.try_join();
    drop(semaphore.acquire());
}

/// Nothing is lost with those who give up, and nobody waits while there is enough.
fn timeouts_and_permits_cross(on: Way) {
    const PERMITS: usize = 4;
    let semaphore = Arc::new(Semaphore::new(PERMITS));
    let peers: Vec<_> = (0..10)
        .map(|id| {
            let semaphore = Arc::clone(&semaphore);
            on.spawn(move || {
                for n in 0..40 {
                    let many = (id + n) % PERMITS + 1;
                    let timeout = Duration::from_micros(if n % 2 == 0 { 5 } else { 2_000_000 });
                    let permit = semaphore.acquire_many_timeout(many, timeout);
                    if n % 3 == 0 {
                        on.yield_now();
                    }
                    drop(permit);
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
    assert_eq!(semaphore.try_acquire_many(PERMITS).unwrap().num_permits(), PERMITS);
}

fn statics_are_shared(on: Way) {
    static SEMAPHORE: Semaphore = Semaphore::new(1);
    let permit = SEMAPHORE.acquire();
    let peer = on.spawn(|| drop(SEMAPHORE.acquire()));
    drop(permit);
    peer.join();
}

fn owned_permits_keep_the_semaphore(on: Way) {
    let semaphore = Arc::new(Semaphore::new(4));
    let one = Arc::clone(&semaphore).acquire_owned();
    let two = Arc::clone(&semaphore).acquire_many_owned(2);
    let none = Arc::clone(&semaphore).try_acquire_many_owned(0).unwrap();
    assert_eq!((one.num_permits(), two.num_permits(), none.num_permits()), (1, 2, 0));
    assert_eq!(semaphore.available_permits(), 1);
    assert!(Arc::clone(&semaphore).try_acquire_many_owned(2).is_none());
    let last = Arc::clone(&semaphore).try_acquire_owned().unwrap();
    assert!(Arc::clone(&semaphore).try_acquire_owned().is_none());
    assert!(Arc::clone(&semaphore).acquire_owned_timeout(SHORT).is_none());
    assert!(Arc::clone(&semaphore).acquire_many_owned_timeout(2, Duration::ZERO).is_none());
    last.forget();
    // Those who were refused have not kept it.
    let weak = Arc::downgrade(&semaphore);
    assert_eq!(weak.strong_count(), 4);
    drop((semaphore, none));
    on.spawn(move || drop((one, two))).join();
    assert_eq!(weak.strong_count(), 0);
}

fn owned_permits_are_waited_for(on: Way) {
    let semaphore = Arc::new(Semaphore::new(1));
    let held = Arc::clone(&semaphore).acquire_owned();
    type Acquire = fn(Arc<Semaphore>) -> Option<OwnedSemaphorePermit>;
    let ways: [Acquire; 6] = [
        |semaphore| Some(semaphore.acquire_owned()),
        |semaphore| Some(semaphore.acquire_many_owned(1)),
        |semaphore| semaphore.acquire_owned_timeout(LONG),
        |semaphore| semaphore.acquire_owned_timeout(Duration::MAX),
        |semaphore| semaphore.acquire_many_owned_timeout(1, LONG),
        |semaphore| semaphore.acquire_many_owned_timeout(1, Duration::MAX),
    ];
    let peers = ways.map(|acquire| {
        let semaphore = Arc::clone(&semaphore);
        on.spawn(move || drop(acquire(semaphore).unwrap()))
    });
    on.lull();
    assert!(peers.iter().all(|peer| !peer.is_finished()));
    drop(held);
    peers.into_iter().for_each(|peer| peer.join());
    assert_eq!((semaphore.available_permits(), Arc::strong_count(&semaphore)), (1, 1));
}

#[test]
fn too_many_permits() {
    let panics = |f: &dyn Fn()| catch_unwind(AssertUnwindSafe(f)).is_err();
    assert!(panics(&|| drop(Semaphore::new(Semaphore::MAX_PERMITS + 1))));
    let full = Semaphore::new(Semaphore::MAX_PERMITS);
    assert!(panics(&|| full.add_permits(1)) && panics(&|| full.add_permits(usize::MAX)));
    assert_eq!(full.available_permits(), Semaphore::MAX_PERMITS, "none was added");
    assert_eq!(format!("{:?}", Semaphore::new(3)), "Semaphore { available_permits: 3, .. }");
}
