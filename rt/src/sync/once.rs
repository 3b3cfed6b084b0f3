//! `Once`, as std's: the queue's word, whose flags are the state, and who runs.
//!
//! ```text
//!            call                  returned
//!   (none) --------> RUNNING --------------------> DONE
//!                      | ^
//!             panicked v | call_once_force
//!                    POISONED
//! ```
//!
//! The word is taken for every change, so those who wait for `RUNNING` to end are in the queue when it does,
//! and all of them are woken. `DONE` is final, and looked at without taking the word.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;

use crate::loom::{AtomicU64, Ordering, const_unless_loom};
use crate::sync::word::{Flag, Place, QueueWord, Taken};
use crate::task::wait_info::Reason;
use crate::wait::park::{self, Wait, may_suspend};
use crate::wait::queue::WOKEN;

const RUNNING: Flag = Flag::A;
const DONE: Flag = Flag::B;
const POISONED: Flag = Flag::C;

/// Runs something once, whoever comes first, as [`std::sync::Once`].
///
/// Who comes while it runs waits: green threads are parked, OS threads blocked. What runs may suspend.
///
/// If it panics, the `Once` is poisoned: [`call_once`](Once::call_once) panics from then on, and
/// [`call_once_force`](Once::call_once_force) tries again.
///
/// # Examples
///
/// ```
/// use gthread::sync::Once;
///
/// static START: Once = Once::new();
///
/// gthread::scope(|s| {
///     for _ in 0..3 {
///         s.spawn(|| START.call_once(|| println!("once")));
///     }
/// });
/// assert!(START.is_completed());
/// ```
pub struct Once {
    queue: QueueWord,
    /// The thread that runs it, while one does: written by itself, and read with the word taken.
    runner: AtomicU64,
}

// As std: a panic is known by the poison.
impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// What [`Once::call_once_force`] tells its closure. As [`std::sync::OnceState`].
pub struct OnceState {
    poisoned: bool,
    /// Not `Sync`, as std's.
    _not_sync: Cell<()>,
}

/// A [`Once`] that has not run, as [`std::sync::ONCE_INIT`].
#[cfg(not(loom))]
#[deprecated(note = "replaced by `Once::new()`, as in std")]
#[expect(clippy::declare_interior_mutable_const, reason = "to initialize statics with")]
pub const ONCE_INIT: Once = Once::new();

impl Once {
    const_unless_loom! {
        /// One that has not run.
        #[expect(clippy::new_without_default, reason = "std's has no `Default`")]
        #[must_use]
        #[inline]
        pub const fn new() -> Self {
            Self { queue: QueueWord::new(), runner: AtomicU64::new(0) }
        }
    }

    /// Runs `f`, unless it, or what another call brought, has run or does. When this returns, it has run to its
    /// end, and what it did is visible. Waits for whoever runs it: parks the green thread, a suspension point,
    /// or blocks the OS thread.
    ///
    /// # Panics
    ///
    /// If it panicked before. If it is being run by this very thread: then there is nothing to wait for.
    #[inline]
    #[track_caller]
    pub fn call_once<F: FnOnce()>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(false, &mut |_| f.take().expect("run once")(), Location::caller());
        }
    }

    /// As [`call_once`](Once::call_once), but tries again if it panicked before, which the closure can see.
    ///
    /// # Panics
    ///
    /// If it is being run by this very thread.
    #[inline]
    #[track_caller]
    pub fn call_once_force<F: FnOnce(&OnceState)>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(true, &mut |state| f.take().expect("run once")(state), Location::caller());
        }
    }

    /// Whether it has run to its end. Never blocks; if true, what it did is visible.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.queue.glance(Ordering::Acquire).has(DONE)
    }

    /// Waits until it has run, whoever runs it, and whenever that begins. Parks the green thread, a suspension
    /// point, or blocks the OS thread.
    ///
    /// # Panics
    ///
    /// If it panicked, before or meanwhile. If it is being run by this very thread.
    #[inline]
    #[track_caller]
    pub fn wait(&self) {
        if !self.is_completed() {
            self.wait_at(false, Location::caller());
        }
    }

    /// As [`wait`](Once::wait), but if it panicked waits for one who tries again.
    ///
    /// # Panics
    ///
    /// If it is being run by this very thread.
    #[inline]
    #[track_caller]
    pub fn wait_force(&self) {
        if !self.is_completed() {
            self.wait_at(true, Location::caller());
        }
    }

    /// Runs it, or waits for who does.
    #[cold]
    #[track_caller]
    fn call(&self, force: bool, f: &mut dyn FnMut(&OnceState), site: &'static Location<'static>) {
        may_suspend(site);
        loop {
            let mut queue = self.queue.take();
            if queue.has(DONE) {
                return;
            }
            if queue.has(RUNNING) {
                self.wait_in(queue, site);
                continue;
            }
            let poisoned = queue.has(POISONED);
            if poisoned && !force {
                drop(queue);
                panic!("Once instance has previously been poisoned");
            }
            queue.clear(POISONED);
            queue.set(RUNNING);
            self.runner.store(park::thread_id().get(), Ordering::Relaxed);
            drop(queue);

            let mut ending = Ending { once: self, state: POISONED };
            f(&OnceState { poisoned, _not_sync: Cell::new(()) });
            ending.state = DONE;
            return;
        }
    }

    #[cold]
    #[track_caller]
    fn wait_at(&self, force: bool, site: &'static Location<'static>) {
        may_suspend(site);
        loop {
            let queue = self.queue.take();
            if queue.has(DONE) {
                return;
            }
            if queue.has(POISONED) && !force {
                drop(queue);
                panic!("Once instance has previously been poisoned");
            }
            self.wait_in(queue, site);
        }
    }

    /// Waits for the next end of a run.
    #[track_caller]
    fn wait_in(&self, queue: Taken<'_>, site: &'static Location<'static>) {
        let me = |runner: u64| NonZeroU64::new(runner) == Some(park::thread_id());
        if queue.has(RUNNING) && me(self.runner.load(Ordering::Relaxed)) {
            drop(queue);
            panic!(
                "a Once, OnceLock or LazyLock that is being initialised is waited for by the thread that \
                 initialises it; the closure must do without what it is to make"
            );
        }
        let (mut queue, wait) = Wait::in_queue(queue, None, site);
        let mut place = Place::new(wait.waiter(), 0);
        // SAFETY: the place stays in this frame until it is claimed: there is no deadline.
        unsafe { queue.push(NonNull::from(&mut place)) };
        wait.park_unlocking(queue, Reason::Once, None, site);
    }
}

/// Ends a run, also one that panics.
struct Ending<'a> {
    once: &'a Once,
    state: Flag,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut queue = self.once.queue.take();
        queue.clear(RUNNING);
        queue.set(self.state);
        queue.wake_many(usize::MAX, WOKEN);
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl OnceState {
    /// Whether it panicked before.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl fmt::Debug for OnceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceState").field("poisoned", &self.is_poisoned()).finish()
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    struct Shared {
        once: Once,
        /// How often it ran to its end.
        number: Checked<usize>,
    }

    impl Shared {
        fn new() -> Arc<Self> {
            Arc::new(Self { once: Once::new(), number: Checked::new(0) })
        }

        fn run(&self) {
            // SAFETY: one runs at a time, and nobody reads before; loom checks both.
            self.number.with_mut(|number| unsafe { *number += 1 });
        }

        fn call(&self) {
            self.once.call_once(|| self.run());
            self.assert_done();
        }

        fn assert_done(&self) {
            // SAFETY: as above.
            assert_eq!(self.number.with(|number| unsafe { *number }), 1);
        }
    }

    /// All these at once, each in a thread of its own; a lost wake would be a deadlock.
    fn check(preemptions: usize, threads: &'static [fn(&Shared)]) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(move || {
            let shared = Shared::new();
            let others: Vec<_> = threads[1..]
                .iter()
                .map(|run| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || run(&shared))
                })
                .collect();
            threads[0](&shared);
            others.into_iter().for_each(|other| other.join().unwrap());
            assert!(shared.once.is_completed());
            shared.assert_done();
            let queue = shared.once.queue.take();
            assert!(queue.first().is_none() && !queue.has(RUNNING) && !queue.has(POISONED));
        });
    }

    #[test]
    fn two_callers() {
        check(3, &[Shared::call, Shared::call]);
    }

    #[test]
    fn three_callers() {
        check(1, &[Shared::call, Shared::call, Shared::call]);
    }

    /// What one that only looks sees as completed it sees as a whole.
    #[test]
    fn a_caller_one_that_waits_and_one_that_looks() {
        check(
            2,
            &[
                Shared::call,
                |shared| {
                    shared.once.wait();
                    shared.assert_done();
                },
                |shared| {
                    if shared.once.is_completed() {
                        shared.assert_done();
                    }
                },
            ],
        );
    }

    /// Panics, unless it was done, and tries again.
    fn panic_and_call(shared: &Shared) {
        let run = || shared.once.call_once_force(|_| resume_unwind(Box::new(())));
        let _ = catch_unwind(AssertUnwindSafe(run));
        shared.once.call_once_force(|_| shared.run());
    }

    /// Whoever waits for a run that panics is woken by it, to try again ...
    #[test]
    fn a_run_that_panics_and_one_that_tries_again() {
        check(
            2,
            &[panic_and_call, |shared| {
                shared.once.call_once_force(|_| shared.run());
                shared.assert_done();
            }],
        );
    }

    /// ... or to go on waiting.
    #[test]
    fn a_run_that_panics_and_one_that_waits() {
        check(
            2,
            &[panic_and_call, |shared| {
                shared.once.wait_force();
                shared.assert_done();
            }],
        );
    }
}
