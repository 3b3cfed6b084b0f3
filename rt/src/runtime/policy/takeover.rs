//! Whether a takeover of a stuck worker's private tasks was worth it.
//!
//! A searching worker takes over private tasks of a worker that has not moved on for 10 µs (`README.md`
//! §6), and sysmon does the same for workers that are stuck for longer. If the stuck worker computes,
//! this is right. But it may as well run a loop that locks and unlocks, fast because no other worker
//! touches the lock, and its private tasks wait for their turns at that lock. Running one of them
//! elsewhere makes the lock's cache line travel between two processors, and the thief is out of work
//! again as soon as the task waits.
//!
//! So each takeover is judged. It was in vain if within 20 µs the thief is out of work again and a task
//! that it ran had to wait for a lock. Then all takeovers, except those of retaken workers, pause
//! ([`Pause`](super::pause::Pause)), for a millisecond at most.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A thief that has work for this long after a takeover did not take over in vain.
const WORTH_A_TAKEOVER: Duration = Duration::from_micros(20);

/// The takeover that a worker has profited from last, until it is judged.
#[derive(Debug, Default)]
pub(crate) struct LastTakeover {
    at: Cell<Option<Instant>>,
    /// A task has had to wait for a lock since then.
    met_lock: Cell<bool>,
}

impl LastTakeover {
    /// Notes a takeover, unless an earlier one is still to be judged.
    pub(crate) fn note(&self, now: Instant) {
        if self.at.get().is_none() {
            self.at.set(Some(now));
            self.met_lock.set(false);
        }
    }

    /// A task of the worker has to wait for a lock.
    pub(crate) fn note_lock_met(&self) {
        self.met_lock.set(true);
    }

    /// The worker is out of work. Returns whether the takeover since it last was, if any, was worth it.
    pub(crate) fn judge(&self, now: Instant) -> Option<bool> {
        let at = self.at.take()?;
        Some(!self.met_lock.get() || now - at >= WORTH_A_TAKEOVER)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_makes_a_short_takeover_one_in_vain() {
        let (takeover, now) = (LastTakeover::default(), Instant::now());
        for (met_lock, had_work, was_worth_it) in [
            (false, Duration::ZERO, true),
            (false, WORTH_A_TAKEOVER, true),
            (true, WORTH_A_TAKEOVER, true),
            (true, Duration::ZERO, false),
        ] {
            takeover.note(now);
            takeover.met_lock.set(met_lock);
            assert_eq!(takeover.judge(now + had_work), Some(was_worth_it));
            assert_eq!(takeover.judge(now + had_work), None, "judged once");
        }
    }
}
