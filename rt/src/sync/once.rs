//! `Once`, like std's: the queue's word, with the state in its flags, and the thread that runs it.
//!
//! ```text
//!            call                  returned
//!   (none) --------> RUNNING --------------------> DONE
//!                      | ^
//!             panicked v | call_once_force
//!                    POISONED
//! ```
//!
//! The word is taken for every change. So all threads that wait for `RUNNING` to end are in the
//! queue when it ends, and all of them are woken. `DONE` is final, and is read without taking the
//! word.

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

/// Runs an initialization once, by the first thread that comes, like [`std::sync::Once`].
///
/// Threads that come while it runs wait: green threads are parked, OS threads are blocked. The
/// closure may suspend.
///
/// If the closure panics, the `Once` is poisoned: [`call_once`](Once::call_once) panics from then
/// on, and [`call_once_force`](Once::call_once_force) tries again.
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
    /// The thread that runs the closure, while there is one. Written by that thread, and read with
    /// the word taken.
    runner: AtomicU64,
}

// As in std: a panic is visible as poison.
impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// The argument of the closure of [`Once::call_once_force`], like [`std::sync::OnceState`].
pub struct OnceState {
    poisoned: bool,
    /// Not `Sync`, like std's.
    _not_sync: Cell<()>,
}

/// A [`Once`] that has not run, like [`std::sync::ONCE_INIT`].
#[cfg(not(loom))]
#[deprecated(note = "replaced by `Once::new()`, as in std")]
#[expect(clippy::declare_interior_mutable_const, reason = "to initialize statics with")]
pub const ONCE_INIT: Once = Once::new();

impl Once {
    const_unless_loom! {
        /// Creates a `Once` that has not run.
        #[expect(clippy::new_without_default, reason = "std's has no `Default`")]
        #[must_use]
        #[inline]
        pub const fn new() -> Self {
            Self { queue: QueueWord::new(), runner: AtomicU64::new(0) }
        }
    }

    /// Runs `f`, unless this or another closure has run already or is running. When this returns, a
    /// closure has run to its end, and its effects are visible.
    ///
    /// If another thread is running one, waits for it: parks the green thread, a suspension point,
    /// or blocks the OS thread.
    ///
    /// # Panics
    ///
    /// If a closure panicked before. If this very thread is running one, because it would wait for
    /// itself.
    #[inline]
    #[track_caller]
    pub fn call_once<F: FnOnce()>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(false, &mut |_| f.take().expect("run once")(), Location::caller());
        }
    }

    /// Like [`call_once`](Once::call_once), but tries again if a closure panicked before, which the
    /// new closure can query.
    ///
    /// # Panics
    ///
    /// If this very thread is running a closure.
    #[inline]
    #[track_caller]
    pub fn call_once_force<F: FnOnce(&OnceState)>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(true, &mut |state| f.take().expect("run once")(state), Location::caller());
        }
    }

    /// Returns `true` if a closure has run to its end; its effects are visible then. Never blocks.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.queue.glance(Ordering::Acquire).has(DONE)
    }

    /// Waits until a closure has run to its end, in whatever thread and whenever that begins. Parks
    /// the green thread, a suspension point, or blocks the OS thread.
    ///
    /// # Panics
    ///
    /// If a closure panicked, before or meanwhile. If this very thread is running one.
    #[inline]
    #[track_caller]
    pub fn wait(&self) {
        if !self.is_completed() {
            self.wait_at(false, Location::caller());
        }
    }

    /// Like [`wait`](Once::wait), but after a panic waits for another thread to try again.
    ///
    /// # Panics
    ///
    /// If this very thread is running a closure.
    #[inline]
    #[track_caller]
    pub fn wait_force(&self) {
        if !self.is_completed() {
            self.wait_at(true, Location::caller());
        }
    }

    /// Runs the closure, or waits for the thread that runs one.
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

    /// Waits until the current run ends.
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

/// Ends a run when it is dropped, also after a panic.
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
    /// Returns `true` if a closure panicked before.
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
        /// The number of runs that came to their end.
        number: Checked<usize>,
    }

    impl Shared {
        fn new() -> Arc<Self> {
            Arc::new(Self { once: Once::new(), number: Checked::new(0) })
        }

        fn run(&self) {
            // SAFETY: one thread runs at a time, and no thread reads before; loom checks both.
            self.number.with_mut(|number| unsafe { *number += 1 });
        }

        fn call(&self) {
            self.once.call_once(|| self.run());
            self.assert_done();
        }

        fn assert_done(&self) {
            // SAFETY: the run has ended; loom checks it.
            assert_eq!(self.number.with(|number| unsafe { *number }), 1);
        }
    }

    /// Runs all these at once, each in its own thread; a lost wake would be a deadlock.
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

    /// A thread that only looks sees all effects of a run that it sees as completed.
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

    /// Panics, unless the `Once` is done, and tries again.
    fn panic_and_call(shared: &Shared) {
        let run = || shared.once.call_once_force(|_| resume_unwind(Box::new(())));
        let _ = catch_unwind(AssertUnwindSafe(run));
        shared.once.call_once_force(|_| shared.run());
    }

    /// A thread that waits for a run that panics is woken by it, to try again ...
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
