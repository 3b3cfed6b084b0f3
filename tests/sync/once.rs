//! `Once`, `OnceLock` and `LazyLock`: what std documents of its own, on every kind of thread.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread::sync::{LazyLock, Once, OnceLock};
use gthread_tests::{Drops, Flag, Way, every_way};

every_way!(
    it_runs_once_and_all_see_it,
    who_comes_meanwhile_waits,
    a_panic_poisons,
    force_tries_again,
    those_who_wait_for_one_that_panics_are_told,
    wait_waits_for_whoever_comes,
    wait_force_outlasts_poison,
    reentrance_panics_instead_of_hanging,
    another_once_within_is_no_reentrance,
    a_value_is_written_once,
    get_or_init_runs_one_of_many,
    a_failed_init_leaves_it_empty,
    wait_for_a_value,
    set_waits_for_who_writes,
    reentrant_init_panics_and_leaves_it_empty,
    lazy_is_made_at_first_use,
    lazy_that_panics_is_poisoned,
    lazy_that_uses_itself_panics,
    statics_are_shared,
);

/// A panic without a message.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("quietly"))
}

fn panics<T>(f: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

// ---- Once -------------------------------------------------------------------------------------

fn it_runs_once_and_all_see_it(on: Way) {
    for _ in 0..20 {
        let shared = Arc::new((Once::new(), AtomicUsize::new(0)));
        let peers: Vec<_> = (0..6)
            .map(|_| {
                let shared = Arc::clone(&shared);
                on.spawn(move || {
                    shared.0.call_once(|| {
                        on.yield_now();
                        let before = shared.1.load(Ordering::Relaxed);
                        shared.1.store(before + 1, Ordering::Relaxed);
                    });
                    assert!(shared.0.is_completed());
                    shared.1.load(Ordering::Relaxed)
                })
            })
            .collect();
        assert!(peers.into_iter().all(|peer| peer.join() == 1));
    }
}

fn who_comes_meanwhile_waits(on: Way) {
    let (once, inside, go_on) = (Arc::new(Once::new()), Flag::new(), Flag::new());
    let runs = {
        let (once, inside, go_on) = (Arc::clone(&once), inside.clone(), go_on.clone());
        on.spawn(move || {
            once.call_once(|| {
                inside.raise();
                on.until(|| go_on.is_up());
            });
        })
    };
    on.until(|| inside.is_up());
    // More than are woken at a time.
    let count = if on.is_parallel() { 36 } else { 70 };
    let waits: Vec<_> = (0..count)
        .map(|_| {
            let once = Arc::clone(&once);
            on.spawn(move || once.call_once(|| unreachable!("it runs once")))
        })
        .collect();
    on.lull();
    assert!(!once.is_completed() && waits.iter().all(|peer| !peer.is_finished()));
    go_on.raise();
    runs.join();
    waits.into_iter().for_each(|peer| peer.join());
}

fn a_panic_poisons(on: Way) {
    let once = Arc::new(Once::new());
    let peer = {
        let once = Arc::clone(&once);
        on.spawn(move || once.call_once(|| panic_quietly()))
    };
    assert!(peer.try_join().is_err());
    assert!(!once.is_completed());
    assert!(panics(|| once.call_once(|| unreachable!("poisoned"))));
    assert!(panics(|| once.wait()));
}

fn force_tries_again(_: Way) {
    let once = Once::new();
    let mut states = Vec::new();
    for _ in 0..2 {
        assert!(panics(|| once.call_once_force(|state| {
            states.push(state.is_poisoned());
            panic_quietly();
        })));
    }
    once.call_once_force(|state| states.push(state.is_poisoned()));
    once.call_once_force(|_| unreachable!("done"));
    once.call_once(|| unreachable!("done, and no longer poisoned"));
    assert_eq!(states, [false, true, true]);
    Once::new().call_once_force(|state| assert!(!state.is_poisoned()));
}

fn those_who_wait_for_one_that_panics_are_told(on: Way) {
    let (once, inside, go_on) = (Arc::new(Once::new()), Flag::new(), Flag::new());
    let runs = {
        let (once, inside, go_on) = (Arc::clone(&once), inside.clone(), go_on.clone());
        on.spawn(move || {
            once.call_once(|| {
                inside.raise();
                on.until(|| go_on.is_up());
                panic_quietly();
            });
        })
    };
    on.until(|| inside.is_up());
    let peers = [true, false].map(|calls| {
        let once = Arc::clone(&once);
        on.spawn(move || panics(|| if calls { once.call_once(|| ()) } else { once.wait() }))
    });
    on.lull();
    go_on.raise();
    assert!(runs.try_join().is_err());
    assert_eq!(peers.map(|peer| peer.join()), [true, true]);
}

fn wait_waits_for_whoever_comes(on: Way) {
    let once = Arc::new(Once::new());
    let waits: Vec<_> = (0..3)
        .map(|n| {
            let once = Arc::clone(&once);
            on.spawn(move || if n == 0 { once.wait_force() } else { once.wait() })
        })
        .collect();
    on.lull();
    assert!(waits.iter().all(|peer| !peer.is_finished()));
    once.call_once(|| on.yield_now());
    waits.into_iter().for_each(|peer| peer.join());
    once.wait();
    once.wait_force();
}

fn wait_force_outlasts_poison(on: Way) {
    let once = Arc::new(Once::new());
    let waits = {
        let once = Arc::clone(&once);
        on.spawn(move || once.wait_force())
    };
    on.lull();
    assert!(panics(|| once.call_once(|| panic_quietly())));
    on.lull();
    assert!(!waits.is_finished());
    once.call_once_force(|state| assert!(state.is_poisoned()));
    waits.join();
}

fn reentrance_panics_instead_of_hanging(on: Way) {
    let once = Arc::new(Once::new());
    let peer = {
        let once = Arc::clone(&once);
        on.spawn(move || {
            once.call_once(|| {
                // Also after it may have moved to another OS thread.
                for _ in 0..5 {
                    on.yield_now();
                }
                assert!(panics(|| once.wait()) && panics(|| once.wait_force()));
                assert!(panics(|| once.call_once_force(|_| unreachable!("within"))));
                once.call_once(|| unreachable!("within"));
            });
        })
    };
    let payload = peer.try_join().unwrap_err();
    assert!(payload.downcast_ref::<&str>().unwrap().contains("being initialised"));
    assert!(panics(|| once.call_once(|| ())), "the panic went through, and poisoned");
}

fn another_once_within_is_no_reentrance(on: Way) {
    let onces = Arc::new([Once::new(), Once::new()]);
    let ran = {
        let onces = Arc::clone(&onces);
        on.spawn(move || {
            let mut ran = 0;
            onces[0].call_once(|| onces[1].call_once(|| ran += 1));
            ran
        })
    };
    assert_eq!(ran.join(), 1);
    // Another thread, started from within, waits.
    let once = Arc::new(Once::new());
    let mut peer = None;
    once.call_once(|| {
        let once = Arc::clone(&once);
        peer = Some(on.spawn(move || once.call_once(|| unreachable!("it runs"))));
        on.lull();
    });
    peer.unwrap().join();
}

// ---- OnceLock ---------------------------------------------------------------------------------

fn a_value_is_written_once(_: Way) {
    let drops = Drops::new();
    let mut cell = OnceLock::new();
    assert!(cell.get().is_none() && cell.get_mut().is_none() && cell.take().is_none());
    assert!(cell.set((1, drops.token())).is_ok());
    let (refused, _) = cell.set((2, drops.token())).unwrap_err();
    assert_eq!((refused, drops.count()), (2, 1));
    assert_eq!(cell.get_or_init(|| unreachable!("it is there")).0, 1);
    cell.get_mut().unwrap().0 = 3;
    assert_eq!(cell.get().unwrap().0, 3);
    let (taken, token) = cell.take().unwrap();
    assert_eq!(taken, 3);
    // Empty, and to be written again.
    assert!(cell.get().is_none());
    cell.get_or_init(|| (4, token));
    assert_eq!(cell.wait().0, 4);
    assert_eq!(drops.count(), 1);
    drop(cell);
    assert_eq!(drops.count(), 2);
    assert!(OnceLock::<u8>::new().into_inner().is_none());
    assert_eq!(OnceLock::from(5).into_inner(), Some(5));
}

fn get_or_init_runs_one_of_many(on: Way) {
    for _ in 0..20 {
        let shared = Arc::new((OnceLock::new(), AtomicUsize::new(0)));
        let peers: Vec<_> = (0..6)
            .map(|id| {
                let shared = Arc::clone(&shared);
                on.spawn(move || {
                    *shared
                        .0
                        .get_or_init(|| {
                            on.yield_now();
                            shared.1.fetch_add(1, Ordering::Relaxed);
                            Box::new(id)
                        })
                        .as_ref()
                })
            })
            .collect();
        let seen: Vec<usize> = peers.into_iter().map(|peer| peer.join()).collect();
        assert!(seen.iter().all(|&id| id == seen[0]));
        assert_eq!(shared.1.load(Ordering::Relaxed), 1);
    }
}

fn a_failed_init_leaves_it_empty(on: Way) {
    let cell = Arc::new(OnceLock::new());
    let peer = {
        let cell = Arc::clone(&cell);
        on.spawn(move || {
            cell.get_or_init(|| panic_quietly());
        })
    };
    assert!(peer.try_join().is_err());
    assert!(cell.get().is_none());
    assert_eq!(*cell.get_or_init(|| 2), 2);
}

fn wait_for_a_value(on: Way) {
    let cell = Arc::new(OnceLock::new());
    let waits: Vec<_> = (0..5)
        .map(|_| {
            let cell = Arc::clone(&cell);
            on.spawn(move || *cell.wait())
        })
        .collect();
    on.lull();
    // Not disturbed by one that fails.
    assert!(panics(|| cell.get_or_init(|| panic_quietly())));
    on.lull();
    assert!(waits.iter().all(|peer| !peer.is_finished()));
    cell.set(7).unwrap();
    assert!(waits.into_iter().all(|peer| peer.join() == 7));
}

fn set_waits_for_who_writes(on: Way) {
    let (cell, inside, go_on) = (Arc::new(OnceLock::new()), Flag::new(), Flag::new());
    let writes = {
        let (cell, inside, go_on) = (Arc::clone(&cell), inside.clone(), go_on.clone());
        on.spawn(move || {
            *cell.get_or_init(|| {
                inside.raise();
                on.until(|| go_on.is_up());
                1
            })
        })
    };
    on.until(|| inside.is_up());
    assert!(cell.get().is_none());
    let sets = {
        let cell = Arc::clone(&cell);
        on.spawn(move || cell.set(2))
    };
    on.lull();
    assert!(!sets.is_finished());
    go_on.raise();
    assert_eq!(writes.join(), 1);
    assert_eq!(sets.join(), Err(2));
}

fn reentrant_init_panics_and_leaves_it_empty(on: Way) {
    let cell = Arc::new(OnceLock::new());
    let peer = {
        let cell = Arc::clone(&cell);
        on.spawn(move || {
            cell.get_or_init(|| *cell.get_or_init(|| 1) + 1);
        })
    };
    assert!(peer.try_join().is_err());
    assert_eq!(cell.get(), None);
    assert_eq!(*cell.get_or_init(|| 3), 3);
}

// ---- LazyLock ---------------------------------------------------------------------------------

fn lazy_is_made_at_first_use(on: Way) {
    let made = Arc::new(AtomicUsize::new(0));
    let mut lazy = {
        let made = Arc::clone(&made);
        LazyLock::new(move || {
            on.yield_now();
            made.fetch_add(1, Ordering::Relaxed);
            vec![1, 2]
        })
    };
    assert!(LazyLock::get(&lazy).is_none() && LazyLock::get_mut(&mut lazy).is_none());
    assert_eq!(made.load(Ordering::Relaxed), 0);
    on.scope(|scope| {
        let peers = [0; 4].map(|_| scope.spawn(|| lazy.len()));
        assert!(peers.into_iter().all(|peer| peer.join() == 2));
    });
    assert_eq!(made.load(Ordering::Relaxed), 1);
    lazy.push(3);
    LazyLock::force_mut(&mut lazy).push(4);
    assert_eq!(LazyLock::force(&lazy)[..], [1, 2, 3, 4]);
    assert_eq!(LazyLock::get(&lazy).unwrap().len(), 4);
    assert_eq!(LazyLock::get_mut(&mut lazy).unwrap().len(), 4);
    let mut unused = LazyLock::new(|| 1);
    *unused += 1;
    assert_eq!(*unused, 2);
    assert_eq!(*LazyLock::<String>::default(), "");
}

fn lazy_that_panics_is_poisoned(on: Way) {
    let drops = Drops::new();
    let token = drops.token();
    let mut lazy: LazyLock<u8, _> = LazyLock::new(move || {
        let _token = token;
        panic_quietly()
    });
    on.scope(|scope| {
        let peer = scope.spawn(|| panics(|| *lazy));
        assert!(peer.join());
    });
    assert_eq!(drops.count(), 1);
    assert!(LazyLock::get(&lazy).is_none());
    let message = catch_unwind(AssertUnwindSafe(|| *LazyLock::force(&lazy))).unwrap_err();
    assert_eq!(
        *message.downcast_ref::<&str>().unwrap(),
        "LazyLock instance has previously been poisoned"
    );
    assert!(panics(|| *LazyLock::force_mut(&mut lazy)));
    assert!(LazyLock::get_mut(&mut lazy).is_none());
}

fn lazy_that_uses_itself_panics(on: Way) {
    static LAZY: LazyLock<u8> = LazyLock::new(|| *LAZY + 1);
    assert!(on.spawn(|| *LAZY).try_join().is_err());
}

fn statics_are_shared(on: Way) {
    static ONCE: Once = Once::new();
    static CELL: OnceLock<usize> = OnceLock::new();
    static LAZY: LazyLock<Vec<usize>> = LazyLock::new(|| vec![CELL.wait() + 1]);
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let peers: Vec<_> = (0..4)
        .map(|n| {
            on.spawn(move || {
                ONCE.call_once(|| {
                    RUNS.fetch_add(1, Ordering::Relaxed);
                });
                if n == 3 {
                    CELL.get_or_init(|| 7);
                }
                LAZY[0]
            })
        })
        .collect();
    assert!(peers.into_iter().all(|peer| peer.join() == 8));
    assert_eq!(RUNS.load(Ordering::Relaxed), 1);
}

#[test]
fn they_print_and_compare_as_stds() {
    assert_eq!(format!("{:?}", Once::new()), format!("{:?}", std::sync::Once::new()));
    let (ours, stds) = (OnceLock::new(), std::sync::OnceLock::new());
    assert_eq!(format!("{ours:?}"), format!("{stds:?}"));
    assert_eq!(ours, OnceLock::default());
    ours.set("x").unwrap();
    stds.set("x").unwrap();
    assert_eq!(format!("{ours:?} {ours:#?}"), format!("{stds:?} {stds:#?}"));
    assert_ne!(ours, OnceLock::default());
    assert_eq!(ours, ours.clone());
    let (ours, stds) = (LazyLock::new(|| 5), std::sync::LazyLock::new(|| 5));
    assert_eq!(format!("{ours:?}"), format!("{stds:?}"));
    assert_eq!((*ours, *stds), (5, 5));
    assert_eq!(format!("{ours:?}"), format!("{stds:?}"));
    Once::new().call_once_force(|ours| {
        std::sync::Once::new()
            .call_once_force(|stds| assert_eq!(format!("{ours:?}"), format!("{stds:?}")));
    });
}
