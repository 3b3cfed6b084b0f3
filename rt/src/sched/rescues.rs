//! Whether to rescue what is private to a worker that seems to be stuck.
//!
//! A worker that is out of work and searches takes tasks of one that has not picked for ten microseconds (`README.md`
//! §6). If that one computes, this is what it should do. But it may as well be in a loop that locks and unlocks, fast because
//! nobody else does; and what is private to it are threads that wait for their turn at that lock. Whoever runs
//! one of them makes the lock travel between two processors, and is out of work again when it has to wait. So this is
//! found out by trial, as for lone continuations (`queues`):
//!
//! - A rescue was not worth it if after it the worker is out of work within 20 µs, and one of those that it ran has had to
//!   wait for a lock.
//! - After a second one, each doubles the number of searches in which it rescues nobody, and each that was worth it
//!   halves it. Then there is still the monitor, which moves such tasks on too, later.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::worker::Worker;

/// Whoever has work for so long after a rescue has not done it in vain.
const WORTH_A_RESCUE: Duration = Duration::from_micros(20);
/// One less is log2 of the most searches in a row in which nobody is rescued.
const MOST_FAILURES: u32 = 8;

/// What a worker knows of its rescues.
#[derive(Debug, Default)]
pub(super) struct Rescues {
    /// When it last did, since it was out of work.
    last: Cell<Option<Instant>>,
    /// A task has had to wait for a lock since then.
    met_lock: Cell<bool>,
    /// How many more were not worth it than were.
    failures: Cell<u32>,
    /// Searches left in which it does not.
    skips: Cell<u32>,
}

impl Rescues {
    /// A search begins: whether to rescue somebody in it.
    pub(super) fn may(&self) -> bool {
        let skips = self.skips.get();
        self.skips.set(skips.saturating_sub(1));
        skips == 0
    }

    /// Somebody was rescued.
    pub(super) fn note(&self, now: Instant) {
        self.last.set(Some(now));
        self.met_lock.set(false);
    }

    /// The worker is out of work.
    pub(super) fn judge(&self, now: Instant) {
        let Some(last) = self.last.take() else { return };
        let in_vain = self.met_lock.get() && now - last < WORTH_A_RESCUE;
        let failures = self.failures.get();
        let failures =
            if in_vain { MOST_FAILURES.min(failures + 1) } else { failures.saturating_sub(1) };
        self.failures.set(failures);
        self.skips.set((1 << failures.saturating_sub(1)) - 1);
    }
}

impl Worker {
    /// The running task has to wait for a lock.
    pub(super) fn note_lock_met(&self) {
        self.rescues.met_lock.set(true);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn rescue(rescues: &Rescues, met_lock: bool, had_work: Duration) {
        let now = Instant::now();
        rescues.note(now);
        rescues.met_lock.set(met_lock);
        rescues.judge(now + had_work);
    }

    /// In how many searches nobody is rescued.
    fn skipped(rescues: &Rescues) -> usize {
        std::iter::repeat_with(|| rescues.may()).take_while(|may| !may).count()
    }

    #[test]
    fn only_a_lock_makes_a_short_rescue_one_in_vain() {
        let rescues = Rescues::default();
        for (met_lock, had_work) in
            [(false, Duration::ZERO), (true, WORTH_A_RESCUE), (false, WORTH_A_RESCUE)]
        {
            (0..10).for_each(|_| rescue(&rescues, met_lock, had_work));
            assert_eq!(skipped(&rescues), 0);
        }
    }

    #[test]
    fn each_in_vain_but_the_first_doubles_the_pause_and_others_halve_it() {
        let rescues = Rescues::default();
        for skips in [0, 1, 3, 7, 15, 31, 63, 127, 127] {
            rescue(&rescues, true, Duration::ZERO);
            assert_eq!(skipped(&rescues), skips);
            assert_eq!(skipped(&rescues), 0, "it is tried again");
        }
        for skips in [63, 31, 15, 7, 3, 1, 0, 0] {
            rescue(&rescues, true, WORTH_A_RESCUE);
            assert_eq!(skipped(&rescues), skips);
        }
    }

    #[test]
    fn who_was_out_of_work_without_a_rescue_has_learnt_nothing() {
        let rescues = Rescues::default();
        (0..2).for_each(|_| rescue(&rescues, true, Duration::ZERO));
        rescues.judge(Instant::now());
        assert_eq!(skipped(&rescues), 1);
    }
}
