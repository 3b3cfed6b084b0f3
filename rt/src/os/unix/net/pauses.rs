//! Trying again, where the kernel does not report that it is worth it.
//!
//! Not in `blocking`: a thread that another green thread is to help on would keep an OS thread, and
//! with too many of them the other would get none.

use std::panic::Location;
use std::time::Duration;

use crate::time::sleep_for;
use crate::wait::park::yield_at;

/// So often only other threads get their turns: one of them may be the peer.
const YIELDS: u32 = 2;
const SHORTEST: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(10);

/// The pauses between the attempts of one operation.
pub(super) struct Pauses {
    yields: u32,
    next: Duration,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self { yields: YIELDS, next: SHORTEST }
    }

    /// Pauses, for no longer than `limit`.
    pub(super) fn pause(&mut self, limit: Duration, site: &'static Location<'static>) {
        if self.yields > 0 {
            self.yields -= 1;
            return yield_at(site);
        }
        sleep_for(self.next.min(limit), site);
        self.next = (2 * self.next).min(LONGEST);
    }
}
