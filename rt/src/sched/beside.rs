//! Whether who wakes somebody goes on for long.
//!
//! A woken task waits in the hand-off until the one that woke it suspends. Mostly that is at once: a request is sent,
//! and the answer waited for. Then it is best run next, here, and by nobody else. But a stage of a pipeline passes
//! something on and computes the next, and what it woke could run beside it, if a worker has nothing to do. To wake one
//! costs a system call, so each worker finds out by trial which of the two its tasks do:
//!
//! - While a worker is hungry, one wake of some is timed, until the next pick. If that took long enough to be worth a
//!   system call, or if another has had to rescue a hand-off, those who are woken next are exposed at once.
//! - Each of these wakes is timed. The first that was not worth it ends that.
//!
//! So one that is exposed in vain follows on one that waited in vain for as long, and a system call is never more than
//! half of what is lost. (Competitive, as spinning before a lock is: Karlin, Li, Manasse and Owicki, "Empirical studies
//! of competitive spinning".)

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::worker::Worker;

/// What it costs to have a worker woken, about.
const WORTH_A_WAKE: Duration = Duration::from_micros(5);
/// One wake of so many is timed, as long as none was worth it.
const PERIOD: u32 = 64;

/// When a worker times wakes. What came of it is in [`Own`](super::remote::Own).
#[derive(Debug, Default)]
pub(super) struct Timing {
    /// Wakes that are not looked at before the next that is.
    skips: Cell<u32>,
    /// When the wake was that is being timed.
    woke_at: Cell<Option<Instant>>,
}

impl Timing {
    /// To look at each wake from now on, or only at one of some.
    fn look_at_each(&self, each: bool) {
        self.skips.set(if each { 0 } else { PERIOD - 1 });
    }
}

impl Worker {
    /// Whether the task that is being woken should be run by another worker.
    #[inline]
    pub(super) fn wakes_beside(&self) -> bool {
        match self.timing.skips.get() {
            0 => self.look_at_wake(),
            left => {
                self.timing.skips.set(left - 1);
                false
            }
        }
    }

    #[cold]
    fn look_at_wake(&self) -> bool {
        let Self { timing, core, .. } = self;
        let beside = core.remote.own.wakes_beside();
        timing.look_at_each(beside);
        // A worker that wakes somebody between two tasks is about to pick.
        if self.running().is_none() || !self.sched.idle.is_hungry() {
            return false;
        }
        if timing.woke_at.get().is_none() {
            timing.woke_at.set(Some(Instant::now()));
            core.remote.own.status.time();
        }
        beside
    }

    /// The task that woke another has suspended.
    pub(super) fn judge_wake(&self) {
        let Self { timing, core, .. } = self;
        core.remote.own.status.take_timed();
        if let Some(woke_at) = timing.woke_at.take() {
            let beside = woke_at.elapsed() >= WORTH_A_WAKE;
            core.remote.own.set_wakes_beside(beside);
            timing.look_at_each(beside);
        }
    }
}
