//! The status word of a worker: its state, and the requests that it attends to before its next
//! task.
//!
//! Invariants:
//! - The worker itself moves between the states; sysmon moves it from `NORMAL` to `RETAKEN` as
//!   well.
//! - `ASKED` is set and cleared by the thread that takes a dump, with the lock of the stopped world
//!   held. `HELD` is set and cleared by the worker, under the gate's lock, while it waits there.
//!   `INJECTOR_TURN` is set by sysmon and cleared by the worker. `TIMED` belongs to the worker. No
//!   change of state loses these flags.
//! - A worker in the state `SLEEPING` is in no task, and calls `next_task` before it runs one.

use std::sync::atomic::compiler_fence;

use crate::loom::{AtomicUsize, Ordering};
use crate::util::barrier;

/// Runs tasks, or looks for some.
pub(crate) const NORMAL: usize = 0;

/// Inside `blocking`: not counted as running.
pub(crate) const BLOCKING: usize = 1;

/// Retaken by sysmon because it is stuck in a task, or by itself for a CPU-bound task
/// (`cpu_bound.rs`): not counted as running until its next task switch.
pub(crate) const RETAKEN: usize = 2;

/// Asleep, about to sleep, not started, or ended.
pub(crate) const SLEEPING: usize = 3;

const STATE: usize = 0b11;

/// Asked to wait at the gate instead of taking its next task.
const ASKED: usize = 1 << 2;

/// Waits at the gate.
const HELD: usize = 1 << 3;

/// Injected tasks wait, and no worker is free for them.
const INJECTOR_TURN: usize = 1 << 5;

/// The worker measures the time until its next task switch.
const TIMED: usize = 1 << 6;

/// Set for ever if a heavy barrier does not order both sides. The worker then attends to every task
/// switch, and fences there.
const FENCES: usize = 1 << 4;

#[derive(Debug)]
pub(crate) struct Status(AtomicUsize);

impl Status {
    /// Creates the status of a worker that has not started.
    pub(crate) fn new() -> Self {
        let fences = if barrier::is_asymmetric() { 0 } else { FENCES };
        Self(AtomicUsize::new(SLEEPING | fences))
    }

    /// Returns `true` if the worker runs and has nothing to attend to before its next task.
    /// One load. It comes after what the caller did before, like a light barrier, provided that the
    /// caller attends when it must ([`Status::is_asked`]). Everything that a finished dump did
    /// happened before.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        compiler_fence(Ordering::SeqCst);
        self.0.load(Ordering::Acquire) == NORMAL
    }

    /// Like [`Status::is_plain`], for a caller that has passed a barrier itself.
    #[inline]
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.0.load(Ordering::Acquire) & !(FENCES | TIMED) == NORMAL
    }

    /// Returns the state, one of the constants above.
    #[inline]
    pub(crate) fn state(&self) -> usize {
        self.0.load(Ordering::Acquire) & STATE
    }

    /// Moves to `state` and returns the state before. Called by the worker.
    pub(crate) fn enter(&self, state: usize) -> usize {
        let change = |word: usize| Some((word & !STATE) | state);
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, change);
        before.expect("the change is always made") & STATE
    }

    /// Marks a stuck worker as retaken. Returns `false` if it is not in the state `NORMAL`, or if a
    /// dump has asked for it. Called by sysmon.
    #[must_use]
    pub(crate) fn retake(&self) -> bool {
        let change = |word: usize| {
            (word & !(FENCES | INJECTOR_TURN | TIMED) == NORMAL).then_some(word | RETAKEN)
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, change).is_ok()
    }

    /// Asks for an injector turn. Called by sysmon.
    pub(crate) fn injector_turn(&self) {
        self.0.fetch_or(INJECTOR_TURN, Ordering::Relaxed);
    }

    pub(crate) fn wants_injector_turn(&self) -> bool {
        self.0.load(Ordering::Relaxed) & INJECTOR_TURN != 0
    }

    /// Clears the request for an injector turn. Called by the worker.
    pub(crate) fn take_injector_turn(&self) {
        self.0.fetch_and(!INJECTOR_TURN, Ordering::Relaxed);
    }

    /// Notes that the time until the next task switch is measured. Called by the worker.
    pub(crate) fn time(&self) {
        self.0.fetch_or(TIMED, Ordering::Relaxed);
    }

    pub(crate) fn is_timed(&self) -> bool {
        self.0.load(Ordering::Relaxed) & TIMED != 0
    }

    /// Clears the note of [`Status::time`]. Called by the worker.
    pub(crate) fn take_timed(&self) {
        self.0.fetch_and(!TIMED, Ordering::Relaxed);
    }

    pub(crate) fn ask(&self) {
        self.0.fetch_or(ASKED, Ordering::SeqCst);
    }

    /// Returns `true` if the worker is asked to stop. Passes a light barrier first.
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
