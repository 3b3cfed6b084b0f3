//! Whether who wakes somebody goes on for long.
//!
//! A woken task waits in the LIFO slot until the one that woke it suspends. Mostly that is at once: a request is sent,
//! and the answer waited for. Then it is best run next, here, and by nobody else. But a stage of a pipeline passes
//! something on and computes the next, and what it woke could run beside it, if a worker has nothing to do. To wake one
//! costs a system call, so each worker finds out by trial which of the two its tasks do:
//!
//! - While there are idle workers, one wake of some is timed, until the next switch. If that took long enough to be worth a
//!   system call, or if another has had to take over a LIFO slot, those who are woken next are published at once.
//! - Each of these wakes is timed. The first that was not worth it ends that.
//!
//! So one that is published in vain follows on one that waited in vain for as long, and a system call is never more than
//! half of what is lost. (Competitive, as spinning before a lock is: Karlin, Li, Manasse and Owicki, "Empirical studies
//! of competitive spinning".)

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What it costs to have a worker woken, about.
pub(crate) const WORTH_A_WAKE: Duration = Duration::from_micros(5);

/// One wake of so many is timed, as long as none was worth it.
const PERIOD: u32 = 64;

/// When a worker times wakes. What came of it is in [`Published`](crate::runtime::remote::Published).
#[derive(Debug, Default)]
pub(crate) struct Timing {
    /// Wakes that are not looked at before the next that is.
    pub(crate) skips: Cell<u32>,
    /// When the wake was that is being timed.
    pub(crate) woke_at: Cell<Option<Instant>>,
}

impl Timing {
    /// To look at each wake from now on, or only at one of some.
    pub(crate) fn look_at_each(&self, each: bool) {
        self.skips.set(if each { 0 } else { PERIOD - 1 });
    }
}
