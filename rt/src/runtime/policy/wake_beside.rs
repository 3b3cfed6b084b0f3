//! Whether a task that wakes another goes on for long.
//!
//! A woken task waits in the LIFO slot until its waker suspends. Mostly that is at once: a request is
//! sent, and the answer waited for. Then the woken task is best run next, on the same worker. But a
//! stage of a pipeline passes something on and computes the next. The task that it woke could run
//! beside it, if a worker has nothing to do. To wake one costs a system call, so each worker finds
//! out by trial which of the two its tasks do:
//!
//! - While there are idle workers, one wake of [`PERIOD`] is timed, until the next switch. If that took
//!   long enough to be worth a system call, or if a LIFO slot was taken over, the next woken tasks are
//!   published at once.
//! - Each of these wakes is timed. The first that was not worth it ends that.
//!
//! So a publication in vain follows on a wait in vain of the same length, and a system call is never
//! more than half of the loss. (Competitive, like spinning before a lock: Karlin, Li, Manasse and
//! Owicki, "Empirical studies of competitive spinning".)

use std::cell::Cell;
use std::time::{Duration, Instant};

/// About the cost of waking a worker.
const WORTH_A_WAKE: Duration = Duration::from_micros(5);

/// One wake of so many is timed, as long as none was worth a system call.
const PERIOD: u32 = 64;

/// When a worker times wakes. The outcome is in [`Published`](crate::runtime::remote::Published),
/// because other workers that take over a LIFO slot change it too.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    /// Wakes that are not looked at before the next that is.
    skips: Cell<u32>,
    /// The time of the wake that is being timed.
    woke_at: Cell<Option<Instant>>,
}

impl Timing {
    /// Counts a wake. Returns `true` if it is to be looked at.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        let skips = self.skips.get();
        self.skips.set(skips.saturating_sub(1));
        skips == 0
    }

    /// Looks at each wake from now on, or only at one of [`PERIOD`].
    pub(crate) fn look_at_each(&self, each: bool) {
        self.skips.set(if each { 0 } else { PERIOD - 1 });
    }

    /// Begins to time a wake. Returns `false` if another is being timed.
    pub(crate) fn begin(&self) -> bool {
        let begins = self.woke_at.get().is_none();
        if begins {
            self.woke_at.set(Some(Instant::now()));
        }
        begins
    }

    /// The waker has suspended. Returns whether the wake that was timed, if any, was worth a system
    /// call.
    pub(crate) fn end(&self) -> Option<bool> {
        let beside = self.woke_at.take()?.elapsed() >= WORTH_A_WAKE;
        self.look_at_each(beside);
        Some(beside)
    }
}
