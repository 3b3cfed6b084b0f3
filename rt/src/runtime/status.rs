//! The status word of a worker: what it is doing, and whether a dump wants it to stop.
//!
//! Invariants:
//! - The worker itself moves between the states; the monitor too moves it from `NORMAL` to `RETAKEN`.
//! - `ASKED` is set and cleared by whoever dumps, with the world's lock held; `HELD` by the worker, under the
//!   gate's lock, while it waits there. `INJECTOR_TURN` is set by the monitor, and cleared by the worker; `TIMED` is the
//!   worker's. No change of state loses them.
//! - A worker whose state is `SLEEPING` is in no task, and picks before it runs one.

use std::sync::atomic::compiler_fence;

use crate::loom::{AtomicUsize, Ordering};
use crate::util::barrier;

/// Running tasks, or looking for some.
pub(crate) const NORMAL: usize = 0;

/// In `blocking`, by its own account: not counted as running.
pub(crate) const BLOCKING: usize = 1;

/// Found stuck in one task by the monitor, or expected to be (`hogs.rs`): not counted as running until it picks again.
pub(crate) const RETAKEN: usize = 2;

/// Asleep, or about to be, or not started, or ended.
pub(crate) const SLEEPING: usize = 3;

const STATE: usize = 0b11;

/// To wait at the gate instead of picking.
const ASKED: usize = 1 << 2;

/// Waits at the gate.
const HELD: usize = 1 << 3;

/// Injected tasks wait, and nobody is free for them.
const INJECTOR_TURN: usize = 1 << 5;

/// The worker times how long it is until its next pick.
const TIMED: usize = 1 << 6;

/// Always set where a heavy barrier does not serve for two, so that the worker attends to every pick, and
/// fences there.
const FENCES: usize = 1 << 4;

#[derive(Debug)]
pub(crate) struct Status(AtomicUsize);

impl Status {
    /// Of a worker that has not started.
    pub(crate) fn new() -> Self {
        let fences = if barrier::is_asymmetric() { 0 } else { FENCES };
        Self(AtomicUsize::new(SLEEPING | fences))
    }

    /// Whether it runs, and there is nothing to attend to before a pick: one load, after what the caller
    /// did before as after a light barrier, if it attends when it must ([`Status::is_asked`]). What a dump
    /// did that is over happened before.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        compiler_fence(Ordering::SeqCst);
        self.0.load(Ordering::Acquire) == NORMAL
    }

    /// [`Status::is_plain`], after a barrier of the caller's.
    #[inline]
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.0.load(Ordering::Acquire) & !(FENCES | TIMED) == NORMAL
    }

    /// One of the constants above.
    #[inline]
    pub(crate) fn state(&self) -> usize {
        self.0.load(Ordering::Acquire) & STATE
    }

    /// Moves on to `state`: the one before. By the worker.
    pub(crate) fn enter(&self, state: usize) -> usize {
        let change = |word: usize| Some((word & !STATE) | state);
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, change);
        before.expect("the change is always made") & STATE
    }

    /// Marks a worker that is stuck: false if it is not. By the monitor.
    #[must_use]
    pub(crate) fn retake(&self) -> bool {
        let change = |word: usize| {
            (word & !(FENCES | INJECTOR_TURN | TIMED) == NORMAL).then_some(word | RETAKEN)
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, change).is_ok()
    }

    /// By the monitor.
    pub(crate) fn injector_turn(&self) {
        self.0.fetch_or(INJECTOR_TURN, Ordering::Relaxed);
    }

    pub(crate) fn wants_injector_turn(&self) -> bool {
        self.0.load(Ordering::Relaxed) & INJECTOR_TURN != 0
    }

    /// By the worker.
    pub(crate) fn take_injector_turn(&self) {
        self.0.fetch_and(!INJECTOR_TURN, Ordering::Relaxed);
    }

    /// By the worker.
    pub(crate) fn time(&self) {
        self.0.fetch_or(TIMED, Ordering::Relaxed);
    }

    pub(crate) fn is_timed(&self) -> bool {
        self.0.load(Ordering::Relaxed) & TIMED != 0
    }

    /// By the worker.
    pub(crate) fn take_timed(&self) {
        self.0.fetch_and(!TIMED, Ordering::Relaxed);
    }

    pub(crate) fn ask(&self) {
        self.0.fetch_or(ASKED, Ordering::SeqCst);
    }

    /// Whether it is to stop. After a light barrier.
    pub(crate) fn is_asked(&self) -> bool {
        barrier::light();
        self.0.load(Ordering::Acquire) & ASKED != 0
    }

    pub(crate) fn unask(&self) {
        self.0.fetch_and(!ASKED, Ordering::Release);
    }

    pub(crate) fn set_held(&self, held: bool) {
        if held {
            self.0.fetch_or(HELD, Ordering::AcqRel);
        } else {
            self.0.fetch_and(!HELD, Ordering::AcqRel);
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.0.load(Ordering::Acquire) & HELD != 0
    }
}
