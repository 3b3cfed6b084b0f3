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
//! - Who takes what the monitor has moved on judges that in the same way, and the monitor pauses (`pause`).

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::worker::Worker;

/// Whoever has work for so long after a rescue has not done it in vain.
const WORTH_A_RESCUE: Duration = Duration::from_micros(20);
/// One less is log2 of the most searches in a row in which nobody is rescued.
const MOST_FAILURES: u32 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rescuer {
    Worker,
    Monitor,
}

/// Whether a rescue was worth it, and whose it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    rescuer: Rescuer,
    was_worth_it: bool,
}

/// What a worker knows of its rescues.
#[derive(Debug, Default)]
pub(super) struct Rescues {
    /// When it last did, since it was out of work.
    last: Cell<Option<(Instant, Rescuer)>>,
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
    pub(super) fn note(&self, now: Instant, rescuer: Rescuer) {
        self.last.set(Some((now, rescuer)));
        self.met_lock.set(false);
    }

    /// Whether one was noted that was not judged yet.
    pub(super) fn is_judging(&self) -> bool {
        self.last.get().is_some()
    }

    /// The worker is out of work. What to think of a rescue since it last was.
    fn judge(&self, now: Instant) -> Option<Verdict> {
        let (last, rescuer) = self.last.take()?;
        let was_worth_it = !self.met_lock.get() || now - last >= WORTH_A_RESCUE;
        if rescuer == Rescuer::Worker {
            let failures = self.failures.get();
            let failures = match was_worth_it {
                true => failures.saturating_sub(1),
                false => MOST_FAILURES.min(failures + 1),
            };
            self.failures.set(failures);
            self.skips.set((1 << failures.saturating_sub(1)) - 1);
        }
        Some(Verdict { rescuer, was_worth_it })
    }
}

impl Worker {
    /// The running task has to wait for a lock.
    pub(super) fn note_lock_met(&self) {
        self.rescues.met_lock.set(true);
    }

    /// It is out of work.
    pub(super) fn judge_rescue(&self, now: Instant) {
        if let Some(Verdict { rescuer: Rescuer::Monitor, was_worth_it }) = self.rescues.judge(now) {
            self.sched.rescue_pause.judge(was_worth_it, now);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn rescue(rescues: &Rescues, met_lock: bool, had_work: Duration) {
        let now = Instant::now();
        rescues.note(now, Rescuer::Worker);
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
    fn what_the_monitor_does_is_judged_and_does_not_count() {
        let (rescues, now) = (Rescues::default(), Instant::now());
        for (met_lock, was_worth_it) in [(true, false), (false, true), (true, false)] {
            rescues.note(now, Rescuer::Monitor);
            rescues.met_lock.set(met_lock);
            let verdict = Verdict { rescuer: Rescuer::Monitor, was_worth_it };
            assert_eq!(rescues.judge(now), Some(verdict));
            assert_eq!(skipped(&rescues), 0);
        }
    }

    #[test]
    fn who_was_out_of_work_without_a_rescue_has_learnt_nothing() {
        let rescues = Rescues::default();
        (0..2).for_each(|_| rescue(&rescues, true, Duration::ZERO));
        assert_eq!(rescues.judge(Instant::now()), None);
        assert_eq!(skipped(&rescues), 1);
    }
}
