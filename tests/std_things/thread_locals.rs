//! What becomes of a `thread_local!` across a suspension, as docs/soundness.md tells it.
//!
//! The first test is an experiment. It asserts what gthread itself relies on, and prints what the compiler in
//! use makes of the rest: nothing there is promised either way, and a table that changes with the
//! optimisation level is the point. (`cargo test --release --test std_things -- --nocapture experiment`)

use std::cell::{Cell, RefCell};

use gthread::{Builder, Runtime, go, yield_now};
use gthread_tests::{LIMIT, os_thread_id, unhelped, watchdog};

thread_local! {
    /// Holds the id of its OS thread.
    static CONST: Cell<i64> = const { Cell::new(0) };
    /// The same, made at its first use.
    static LAZY: RefCell<i64> = RefCell::new(os_thread_id());
}

/// A runtime in which a thread that yields comes back on another OS thread.
fn moving() -> Runtime {
    Runtime::builder().workers(2).chaos(1).build().unwrap()
}

// ---- how to look at a thread-local ------------------------------------------------------------

#[inline(always)]
fn address() -> usize {
    CONST.with(|value| std::ptr::from_ref(value) as usize)
}

/// Never inlined, but all that it does is to compute an address: the compiler finds out, and does not call it
/// again.
#[inline(never)]
fn address_by_call() -> usize {
    address()
}

/// A use of a variable that needs its address.
#[inline(never)]
fn look(value: &Cell<i64>) -> i64 {
    value.get()
}

/// Never inlined, and what it gives comes from memory: what gthread does with its own (`runtime/context.rs`).
#[inline(never)]
fn load_by_call() -> i64 {
    CONST.with(Cell::get)
}

#[inline(never)]
fn store_by_call(value: i64) {
    CONST.with(|place| place.set(value));
}

// ---- the experiment ---------------------------------------------------------------------------

/// How often a way to look was wrong, of the times that the thread had moved.
struct Row {
    way: &'static str,
    moved: u32,
    wrong: u32,
}

/// Looks before and after a suspension, in one function, which `look` is inlined into. `is_wrong` gets what it
/// has seen before and after, and the OS thread it is on.
macro_rules! row {
    ($way:literal, $look:expr, $is_wrong:expr) => {{
        #[inline(never)]
        fn before_and_after() -> (i64, i64) {
            let before = $look;
            yield_now();
            (before, $look)
        }
        let is_wrong: fn(i64, i64, i64) -> bool = $is_wrong;
        let mut row = Row { way: $way, moved: 0, wrong: 0 };
        // The watchdog ends it if the thread does not move.
        while row.moved < 500 {
            let here = os_thread_id();
            store_by_call(here);
            let (before, after) = before_and_after();
            let there = os_thread_id();
            if there != here {
                row.moved += 1;
                row.wrong += u32::from(is_wrong(before, after, there));
            }
        }
        row
    }};
}

#[test]
fn experiment() {
    watchdog(LIMIT, || {
        let rows = moving().run(|| {
            // So that both OS threads have their ids in place.
            for _ in 0..1000 {
                store_by_call(os_thread_id());
                yield_now();
            }
            let same: fn(i64, i64, i64) -> bool = |before, after, _| before == after;
            // A spare that has just come has none in place.
            let other: fn(i64, i64, i64) -> bool = |_, after, there| after != there && after != 0;
            [
                row!("the address, compared", address() as i64, same),
                row!("its address by a call that is never inlined", address_by_call() as i64, same),
                row!("a reference, used before and after", CONST.with(look), other),
                row!("Cell::get, inlined", CONST.get(), other),
                row!("a lazy one, borrowed before and after", LAZY.with_borrow(|id| *id), other),
                row!("loaded by a call that is never inlined", load_by_call(), other),
            ]
        });
        let level = if cfg!(debug_assertions) { "debug" } else { "optimised" };
        println!(
            "{level} build; of the times that the green thread had moved, the wrong variable:"
        );
        for Row { way, moved, wrong } in &rows {
            println!("  {way:46} {wrong:4} of {moved}");
        }
        assert_eq!(rows.last().unwrap().wrong, 0, "gthread's own way does not hold");
    });
}

// ---- what is promised -------------------------------------------------------------------------

/// What is kept in a thread-local is found by whoever runs on the OS thread next.
#[test]
fn green_threads_share_what_is_in_it() {
    let seen = unhelped(|runtime| {
        runtime.run(|| {
            store_by_call(1);
            let child = go!(|| {
                let others = load_by_call();
                store_by_call(2);
                others
            });
            (child.join().unwrap(), load_by_call())
        })
    });
    assert_eq!(seen, (1, 2), "each sees the value of the other");
}

/// With one worker nobody moves, so nothing here is unsound; and still a borrow that is held across a
/// suspension meets others.
#[test]
fn a_borrow_across_a_suspension_meets_others() {
    let refused = unhelped(|runtime| {
        runtime.run(|| {
            LAZY.with_borrow_mut(|_| {
                let other = go!(|| LAZY.with(|id| id.try_borrow().is_err()));
                other.join().unwrap()
            })
        })
    });
    assert!(refused, "borrowed twice");
}

/// Pinned, a thread has its OS thread's variables for life, by whatever way it looks.
#[test]
fn a_pinned_thread_has_the_same_variables_throughout() {
    watchdog(LIMIT, || {
        let runtime = moving();
        let pinned = || {
            let here = os_thread_id();
            store_by_call(here);
            for _ in 0..1000 {
                assert_eq!(CONST.with(look), here);
                yield_now();
                assert_eq!(CONST.with(look), here);
                assert_eq!(load_by_call(), here);
                assert_eq!(LAZY.with_borrow(|id| *id), here);
            }
        };
        // Others move through the same workers meanwhile.
        let threads: Vec<_> = (0..4)
            .map(|_| {
                runtime.run(|| {
                    drop(go!(|| (0..2000).for_each(|_| yield_now())));
                    Builder::new().pinned(true).spawn(pinned).unwrap()
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
