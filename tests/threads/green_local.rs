//! Variables of which every thread, green or not, has its own: std's rules for `thread_local!`, and what
//! green threads add. (When values are dropped: `green_local_drops.rs`.)

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use gthread::{ThreadId, green_local};
use gthread_tests::{LIMIT, Way, every_way, for_workers, os_thread_id, runtime, watchdog};

every_way!(
    each_thread_has_its_own,
    it_is_initialized_at_the_first_use_and_once,
    cells_and_ref_cells_have_shorter_ways,
    set_does_not_initialize_first,
    an_initialization_that_panics_is_tried_again,
    an_initialization_may_use_others_and_itself,
    many_variables_in_one_thread,
    a_reference_outlasts_a_wait,
    a_value_need_not_be_send,
);

green_local! {
    /// Has a comment.
    static COUNT: Cell<u32> = const { Cell::new(7) };
    static NAMES: RefCell<Vec<String>> = RefCell::new(vec!["first".to_owned()]);
}

fn each_thread_has_its_own(on: Way) {
    let peers: Vec<_> = (0..10)
        .map(|n| {
            on.spawn(move || {
                for step in 0..5 {
                    assert_eq!(COUNT.get(), 7 + step * n);
                    on.yield_now();
                    COUNT.set(COUNT.get() + n);
                    on.sleep(Duration::from_micros(u64::from(n * 10)));
                }
                COUNT.get()
            })
        })
        .collect();
    let results: Vec<_> = peers.into_iter().map(|peer| peer.join()).collect();
    assert_eq!(results, (0..10).map(|n| 7 + 5 * n).collect::<Vec<_>>());
}

fn it_is_initialized_at_the_first_use_and_once(on: Way) {
    static MADE: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());
    green_local! {
        static ID: ThreadId = {
            let id = gthread::current().id();
            MADE.lock().unwrap().push(id);
            id
        }
    }
    let made = |id| MADE.lock().unwrap().iter().filter(|made| **made == id).count();
    let peers: Vec<_> = (0..4)
        .map(|_| {
            on.spawn(move || {
                let id = gthread::current().id();
                assert_eq!(made(id), 0);
                for _ in 0..3 {
                    assert_eq!(ID.with(|id| *id), id);
                    on.yield_now();
                }
                assert_eq!(made(id), 1);
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
}

fn cells_and_ref_cells_have_shorter_ways(on: Way) {
    green_local! {
        static CELL: Cell<Option<u8>> = Cell::new(Some(1));
        static REF_CELL: RefCell<Option<u8>> = RefCell::new(Some(1))
    }
    on.spawn(|| {
        assert_eq!((CELL.get(), CELL.replace(Some(2)), CELL.take()), (Some(1), Some(1), Some(2)));
        CELL.set(Some(3));
        assert_eq!((CELL.get(), CELL.with(Cell::get)), (Some(3), Some(3)));

        assert_eq!((REF_CELL.replace(Some(2)), REF_CELL.take()), (Some(1), Some(2)));
        REF_CELL.set(Some(3));
        REF_CELL.with_borrow_mut(|value| *value = value.map(|n| n + 1));
        assert_eq!(REF_CELL.with_borrow(|value| *value), Some(4));
        assert_eq!(REF_CELL.try_with(|cell| cell.borrow().is_some()), Ok(true));
    })
    .join();
}

fn set_does_not_initialize_first(on: Way) {
    green_local! {
        static CELL: Cell<u8> = panic!("initialized");
        static REF_CELL: RefCell<u8> = panic!("initialized");
    }
    on.spawn(|| {
        CELL.set(1);
        REF_CELL.set(2);
        assert_eq!((CELL.get(), REF_CELL.with_borrow(|n| *n)), (1, 2));
    })
    .join();
}

fn an_initialization_that_panics_is_tried_again(on: Way) {
    green_local! {
        static TRIES: Cell<u32> = const { Cell::new(0) };
        static SHY: u32 = {
            TRIES.set(TRIES.get() + 1);
            assert!(TRIES.get() > 1, "not yet");
            TRIES.get()
        };
    }
    on.spawn(|| {
        assert!(std::panic::catch_unwind(|| SHY.with(|n| *n)).is_err());
        assert_eq!(SHY.with(|n| *n), 2);
        assert_eq!(SHY.with(|n| *n), 2);
    })
    .join();
}

fn an_initialization_may_use_others_and_itself(on: Way) {
    green_local! {
        static INNER: u32 = 20;
        static OUTER: u32 = INNER.with(|n| n + 1);
        static DEPTH: Cell<u32> = const { Cell::new(0) };
        /// The innermost is it.
        static SELF: u32 = {
            DEPTH.set(DEPTH.get() + 1);
            let depth = DEPTH.get();
            if depth < 3 { SELF.with(|n| *n) + 10 } else { depth }
        };
    }
    on.spawn(|| {
        assert_eq!(OUTER.with(|n| *n), 21);
        assert_eq!(SELF.with(|n| *n), 3);
        assert_eq!(SELF.with(|n| *n), 3);
    })
    .join();
}

fn many_variables_in_one_thread(on: Way) {
    macro_rules! variables {
        ($($name:ident)*) => {
            green_local! { $(static $name: Cell<usize> = const { Cell::new(0) };)* }
            static ALL: &[&gthread::LocalKey<Cell<usize>>] = &[$(&$name),*];
        };
    }
    variables! {
        A0 A1 A2 A3 A4 A5 A6 A7 A8 A9 B0 B1 B2 B3 B4 B5 B6 B7 B8 B9 C0 C1 C2 C3 C4 C5 C6 C7 C8 C9
    }
    on.spawn(move || {
        for round in 0..3 {
            for (n, variable) in ALL.iter().enumerate() {
                assert_eq!(variable.replace(n * (round + 1)), n * round);
                on.yield_now();
            }
        }
    })
    .join();
}

fn a_reference_outlasts_a_wait(on: Way) {
    let peers: Vec<_> = (0..8_u32)
        .map(|n| {
            on.spawn(move || {
                NAMES.with_borrow_mut(|names| {
                    for step in 0..20 {
                        names.push(format!("{n} {step}"));
                        if step % 5 == 0 {
                            on.sleep(Duration::from_micros(50));
                        } else {
                            on.yield_now();
                        }
                    }
                });
                NAMES.take()
            })
        })
        .collect();
    for (n, peer) in peers.into_iter().enumerate() {
        let names = peer.join();
        assert_eq!(names[0], "first");
        assert!(names[1..].iter().enumerate().all(|(step, name)| *name == format!("{n} {step}")));
        assert_eq!(names.len(), 21);
    }
}

fn a_value_need_not_be_send(on: Way) {
    green_local! {
        static SHARED: Rc<Cell<u64>> = Rc::default();
    }
    let peers: Vec<_> = (0..8)
        .map(|_| {
            on.spawn(move || {
                let mut held = Vec::new();
                for step in 1..=50 {
                    let mine = SHARED.with(Rc::clone);
                    mine.set(mine.get() + 1);
                    held.push(mine);
                    if step % 10 == 0 {
                        on.sleep(Duration::from_micros(20))
                    } else {
                        on.yield_now()
                    }
                }
                SHARED.with(|shared| (Rc::strong_count(shared), shared.get()))
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| assert_eq!(peer.join(), (51, 50)));
}

/// The value goes with the green thread, and not with the OS thread.
#[test]
fn it_follows_its_thread_to_other_os_threads() {
    for_workers(|runtime| {
        let moved = runtime.run(|| {
            let threads: Vec<_> = (0..50_u32)
                .map(|n| {
                    gthread::go!(move || {
                        COUNT.set(n);
                        let mut moved = 0;
                        let mut here = os_thread_id();
                        for _ in 0..100 {
                            gthread::sleep(Duration::from_micros(10));
                            assert_eq!(COUNT.get(), n);
                            moved +=
                                u32::from(std::mem::replace(&mut here, os_thread_id()) != here);
                        }
                        moved
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>()
        });
        println!("moved {moved} times");
    });
}

/// A worker's OS thread is a thread of its own; and so is a green thread inside `blocking`, on a temporary
/// stack, pinned.
#[test]
fn wherever_a_green_thread_runs_it_is_its_own() {
    watchdog(LIMIT, || {
        let runtime = runtime(1);
        COUNT.set(1);
        runtime.run(|| {
            assert_eq!(COUNT.get(), 7);
            COUNT.set(2);
            gthread::blocking(|| assert_eq!(COUNT.replace(3), 2));
            gthread::with_stack(1 << 20, || assert_eq!(COUNT.replace(4), 3));
            let child = gthread::Builder::new().pinned(true).spawn(|| COUNT.get()).unwrap();
            assert_eq!((child.join().unwrap(), COUNT.get()), (7, 4));
        });
        assert_eq!(COUNT.get(), 1);
    });
}
