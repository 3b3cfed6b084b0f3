//! The join state: the references to a task's control block, and whether its result is there.
//!
//! Invariants:
//! - The word counts references: one for the running task until it is done, one for its
//!   `JoinHandle`, one for each `Thread` handle. The thread that takes the count to zero frees the
//!   slot.
//! - `DONE` is set once, by the worker, after the last switch away from the task's stack. The same
//!   step gives up the task's own reference. Before `DONE` the result belongs to the task, which
//!   drops it if the `JoinHandle` is gone (`DETACHED`). After `DONE` it belongs to the holder of
//!   the `JoinHandle`.
//! - So a task is alive (has not finished) while there are references and no `DONE`. The word tells
//!   this for any slot at any time, also for a slot that has no task or is just being given one:
//!   every access to the word is atomic, from [`JoinState::begin`] on, and the word of a slot
//!   without a task is zero or has `DONE`.
//! - `JOINER` is set at most once, by the holder of the `JoinHandle`, after it wrote the joiner's
//!   waiter. The finisher reads the waiter only if `JOINER` was set before `DONE`.
//! - `TIMED` is set by the holder of the `JoinHandle` after it has noted a joiner with a deadline
//!   elsewhere (`runtime/timed_joiners.rs`). It is never cleared. Such a joiner may leave before
//!   the task ends, so its waiter is not left in the task, which the finisher must not touch after
//!   `DONE`.

use crate::loom::{AtomicUsize, Ordering, fence};

/// The task has finished. Its result, if not taken, is in its cell.
const DONE: usize = 1;

/// A joiner has registered.
const JOINER: usize = 1 << 1;

/// The `JoinHandle` was dropped before the task finished.
const DETACHED: usize = 1 << 2;

/// A joiner with a deadline may have been noted.
const TIMED: usize = 1 << 3;

/// One reference.
const REF: usize = 1 << 4;

/// The duty of the worker of a finishing task.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Detached: no handle will take the result, and nothing has changed. The task drops the
    /// result, if it has not, and is then [ended](JoinState::end).
    Detached,
    /// The result is handed over and the reference given up.
    Handed {
        /// Wake the registered joiner.
        joiner: bool,
        /// Wake the joiner with a deadline, if one is noted.
        timed: bool,
        /// That was the last reference: free the slot.
        last: bool,
    },
}

/// The duty of a task's dropped handle.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detach {
    /// The task has not finished, and drops its result itself. The reference is given up.
    Running,
    /// The task has finished: drop the result, then give up the reference.
    Done,
}

#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct JoinState(AtomicUsize);

impl JoinState {
    /// Starts with two references: the task's own and its handle's. The task is complete, and any
    /// thread may find it from here on.
    #[inline(always)]
    pub(crate) fn begin(&self) {
        self.0.store(2 * REF, Ordering::Release);
    }

    /// Creates a state that has begun, for models.
    #[cfg(all(test, loom))]
    pub(crate) fn begun() -> Self {
        let word = Self(AtomicUsize::new(0));
        word.begin();
        word
    }

    /// Returns `true` if there is a task here that has not finished.
    pub(crate) fn is_alive(&self) -> bool {
        let word = self.0.load(Ordering::Acquire);
        word & DONE == 0 && word / REF > 0
    }

    /// Adds a reference. The caller holds one.
    pub(crate) fn retain(&self) {
        let before = self.0.fetch_add(REF, Ordering::Relaxed);
        // A leak in a loop must not wrap around to a count that frees.
        if before > usize::MAX / 2 {
            std::process::abort();
        }
    }

    /// Gives up one reference. Returns `true` if it was the last.
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        let before = self.0.fetch_sub(REF, Ordering::Release);
        if before / REF == 1 {
            fence(Ordering::Acquire);
            return true;
        }
        false
    }

    /// Marks a task done whose result no handle took, and gives up its reference. Returns `true` if
    /// it was the last.
    #[must_use]
    pub(crate) fn end(&self) -> bool {
        let before = self.0.fetch_add(DONE.wrapping_sub(REF), Ordering::AcqRel);
        debug_assert_eq!(before & DONE, 0, "finished twice");
        before / REF == 1
    }

    /// Returns `true` if the caller, which holds a reference, holds the only one.
    #[inline]
    pub(crate) fn is_unique(&self) -> bool {
        self.0.load(Ordering::Acquire) / REF == 1
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) & DONE != 0
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.0.load(Ordering::Acquire) & DETACHED != 0
    }

    /// Marks the task done and gives up its reference, unless it is detached. After `Handed` the
    /// task must not be touched, except to wake its joiner, or to free it if the reference was the
    /// last.
    pub(crate) fn finish(&self) -> Finish {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            debug_assert_eq!(word & DONE, 0, "finished twice");
            if word & DETACHED != 0 {
                return Finish::Detached;
            }
            let done = (word | DONE) - REF;
            match self.0.compare_exchange_weak(word, done, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    let (joiner, timed) = (word & JOINER != 0, word & TIMED != 0);
                    return Finish::Handed { joiner, timed, last: word / REF == 1 };
                }
                Err(now) => word = now,
            }
        }
    }

    /// Does the same as [`finish`](Self::finish) with a plain store, for a task to which only its
    /// handle's holder has a reference, while that holder cannot run. Returns `true` if the task
    /// was in that state: it is now done, with its handle alive and no joiner.
    ///
    /// The caller guarantees that the holder of the `JoinHandle` does not run.
    #[must_use]
    #[inline]
    pub(crate) fn finish_alone(&self) -> bool {
        // Only a holder of a reference changes the word. These two references are the task's own,
        // which is ours, and the handle's.
        let alone = self.0.load(Ordering::Acquire) == 2 * REF;
        if alone {
            self.0.store(REF | DONE, Ordering::Release);
        }
        alone
    }

    /// Announces the joiner. Returns `false` if the task is done, so that there is nothing to wait
    /// for.
    #[must_use]
    pub(crate) fn register_joiner(&self) -> bool {
        // Release: publishes the waiter that was written before. Acquire: the result, if done.
        self.0.fetch_or(JOINER, Ordering::AcqRel) & DONE == 0
    }

    /// Announces a joiner with a deadline, which was noted before. Returns `false` if the task is
    /// done.
    #[must_use]
    pub(crate) fn announce_timed(&self) -> bool {
        // As in `register_joiner`. The note is also passed on by the lock of its place.
        self.0.fetch_or(TIMED, Ordering::AcqRel) & DONE == 0
    }

    /// Gives up the `JoinHandle` without joining.
    pub(crate) fn detach(&self) -> Detach {
        let mut word = self.0.load(Ordering::Acquire);
        while word & DONE == 0 {
            match self.0.compare_exchange_weak(
                word,
                (word | DETACHED) - REF,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Detach::Running,
                Err(now) => word = now,
            }
        }
        Detach::Done
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// A task reduced to its join state. Counts how often the result was dropped or taken, and how
    /// often the slot was freed.
    struct Ended {
        word: JoinState,
        results: AtomicUsize,
        frees: AtomicUsize,
    }

    impl Ended {
        fn new() -> Arc<Self> {
            let (results, frees) = (AtomicUsize::new(0), AtomicUsize::new(0));
            Arc::new(Self { word: JoinState::begun(), results, frees })
        }

        fn settle_result(&self) {
            self.results.fetch_add(1, Ordering::Relaxed);
        }

        fn free(&self) {
            self.frees.fetch_add(1, Ordering::Relaxed);
        }

        fn release(&self) {
            if self.word.release() {
                self.free();
            }
        }

        /// Finishes like the worker. Returns `true` if the joiner must be woken.
        fn finish(&self) -> bool {
            match self.word.finish() {
                Finish::Detached => {
                    self.settle_result();
                    if self.word.end() {
                        self.free();
                    }
                    false
                }
                Finish::Handed { joiner, timed, last } => {
                    if last {
                        self.free();
                    }
                    joiner || timed
                }
            }
        }

        /// Drops the handle like `JoinHandle`.
        fn drop_handle(&self) {
            if self.word.detach() == Detach::Done {
                self.settle_result();
                self.release();
            }
        }

        fn assert_settled(&self) {
            assert_eq!(self.results.load(Ordering::Relaxed), 1, "the result");
            assert_eq!(self.frees.load(Ordering::Relaxed), 1, "the slot");
            assert!(!self.word.is_alive());
        }
    }

    #[test]
    fn detach_and_finish_settle_once() {
        loom::model(|| {
            let task = Ended::new();
            let handle = {
                let task = Arc::clone(&task);
                thread::spawn(move || task.drop_handle())
            };
            assert!(!task.finish());
            handle.join().unwrap();
            task.assert_settled();
        });
    }

    #[test]
    fn a_joiner_is_woken_or_finds_it_done() {
        loom::model(|| {
            let task = Ended::new();
            let joiner = {
                let task = Arc::clone(&task);
                thread::spawn(move || task.word.register_joiner())
            };
            let wakes = task.finish();
            let waits = joiner.join().unwrap();
            assert_eq!(wakes, waits, "a joiner is woken if and only if it waits");
            assert!(task.word.is_done() && task.word.is_unique());
            task.settle_result();
            task.release();
            task.assert_settled();
        });
    }

    /// The plain store of `finish_alone` must not undo a change by the holder of a `Thread` handle.
    #[test]
    fn finishing_alone_minds_thread_handles() {
        loom::model(|| {
            let task = Ended::new();
            task.word.retain();
            let other = {
                let task = Arc::clone(&task);
                thread::spawn(move || task.release())
            };
            if !task.word.finish_alone() {
                assert!(!task.finish());
            }
            other.join().unwrap();
            // The handle's holder runs again.
            assert!(task.word.is_done() && task.word.is_unique());
            task.settle_result();
            task.release();
            task.assert_settled();
        });
    }

    #[test]
    fn a_thread_handle_keeps_the_slot() {
        loom::model(|| {
            let task = Ended::new();
            task.word.retain();
            let other = {
                let task = Arc::clone(&task);
                thread::spawn(move || task.release())
            };
            let handle = {
                let task = Arc::clone(&task);
                thread::spawn(move || task.drop_handle())
            };
            task.finish();
            other.join().unwrap();
            handle.join().unwrap();
            task.assert_settled();
        });
    }
}
