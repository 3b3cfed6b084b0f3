//! Whether it is worth it that other workers take ready tasks.
//!
//! Tasks that soon wait for each other again run fastest on one worker. A thief that takes one of them
//! brings its stack over, is out of work after a moment, and brings the next one back. Other tasks wait
//! seldom, and a worker that has taken one has work from then on. A trial finds out which kind a task
//! is, like for lone continuations (`queue/run_queue.rs`):
//!
//! - A publication was worth it if for some time neither the worker nor the thief was out of work.
//! - Otherwise all workers are *quiet*: they publish no ready tasks, for twice as long after each
//!   publication in vain.
//! - During the quiet time each worker measures how long its tasks run until they wait. It can do so
//!   only then, because otherwise bringing stacks over is a part of that time. A worker whose tasks run
//!   for long publishes all the same.
//!
//! A worker that does not move on is taken over as ever. So these are hints, and only time depends on
//! them.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Both workers must have work for this long.
const WORTH_A_THEFT: Duration = Duration::from_micros(20);

/// Tasks run for long if they do so on average over a stretch, in several stretches in a row. (An
/// interrupt may fall into one of them, and the first begins with stacks that were brought over.)
const LONG: Duration = Duration::from_nanos(400);
const STRETCH: Duration = Duration::from_micros(8);
const STRETCHES: u32 = 3;

/// How long that then holds.
const LONG_HOLDS: Duration = Duration::from_millis(8);

/// A worker reads the clock with each chance to publish, or with one of so many if chances are
/// frequent.
const MOST_UNTIMED: u32 = 16;

/// The trials of a worker. Whether one is on is in
/// [`Published`](crate::runtime::remote::Published).
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    /// The decision for the next `skips` chances, without a look at the clock.
    shares: Cell<bool>,
    skips: Cell<u32>,
    /// Since when others may take ready tasks here.
    published_at: Cell<Option<Instant>>,
    /// Since when this worker has what it took, and from which other.
    taken: Cell<Option<(Instant, u32)>>,
    stretches: Stretches,
    /// Tasks run for long here, until then.
    long_until: Cell<Option<Instant>>,
}

/// A decision about a chance to publish, and about how many more.
pub(crate) type Decision = (bool, u32);

impl Sharing {
    /// Returns `true` if the worker is to publish. Asks `decide` if there is no decision yet.
    #[inline]
    pub(crate) fn next(&self, decide: impl FnOnce() -> Decision) -> bool {
        match self.skips.get() {
            0 => {
                let (shares, skips) = decide();
                self.shares.set(shares);
                self.skips.set(skips);
                shares
            }
            left => {
                self.skips.set(left - 1);
                self.shares.get()
            }
        }
    }

    /// Decides, `quiet` being the pause of all workers, if there is one, and `task_switches` the
    /// worker's count so far. Returns `None` if a trial is to begin, which this notes.
    pub(crate) fn decide(
        &self,
        now: Instant,
        quiet: Option<u64>,
        task_switches: u64,
    ) -> Option<Decision> {
        if self.long_until.get().is_some_and(|until| now < until) {
            return Some((true, MOST_UNTIMED - 1));
        }
        let Some(quiet) = quiet else {
            self.published_at.set(Some(now));
            return None;
        };
        let long = self.stretches.look(quiet, now, task_switches);
        if long {
            self.long_until.set(Some(now + LONG_HOLDS));
        }
        Some((long, self.stretches.untimed.get() - 1))
    }

    /// The worker, being out of work, has taken ready tasks of `victim`, which is on trial.
    pub(crate) fn note_theft(&self, victim: u32) {
        self.taken.set(Some((Instant::now(), victim)));
    }

    /// The worker, number `me`, is out of work. Returns the workers whose trials may end with that,
    /// each with whether it was worth it.
    pub(crate) fn end_trials(&self, me: u32, now: Instant) -> impl Iterator<Item = (u32, bool)> {
        let own = self.published_at.take().map(|since| (since, me));
        let trials = own.into_iter().chain(self.taken.take());
        trials.map(move |(since, worker)| {
            (worker, now.saturating_duration_since(since) >= WORTH_A_THEFT)
        })
    }

    /// The worker was out of work for `waited`, which does not count as a run of its tasks.
    pub(crate) fn note_wait(&self, waited: Duration) {
        let began = &self.stretches.began;
        began.set(began.get().map(|(since, task_switches)| (since + waited, task_switches)));
    }
}

/// Measures how long tasks run while all workers are quiet.
#[derive(Debug, Default)]
struct Stretches {
    /// The quiet time of this stretch, by its end.
    quiet: Cell<u64>,
    /// When the stretch began, without the time that the worker was out of work, and the count of
    /// switches then.
    began: Cell<Option<(Instant, u64)>>,
    /// The chance, counted from now on, at which to look again.
    untimed: Cell<u32>,
    /// The number of stretches in a row, up to the last, in which tasks ran for long.
    long: Cell<u32>,
}

impl Stretches {
    /// Goes on measuring, or begins with the first call in a quiet time. Returns `true` if tasks
    /// were found to run for long.
    fn look(&self, quiet: u64, now: Instant, task_switches: u64) -> bool {
        if self.quiet.replace(quiet) != quiet {
            self.began.set(None);
            self.untimed.set(1);
        }
        let Some((began, before)) = self.began.get() else {
            self.began.set(Some((now, task_switches)));
            return false;
        };
        let took = now.saturating_duration_since(began);
        if took < STRETCH {
            self.untimed.set(MOST_UNTIMED.min(2 * self.untimed.get()));
        } else {
            let is_long =
                took.as_nanos() as u64 >= LONG.as_nanos() as u64 * (task_switches - before);
            self.long.set(if is_long { self.long.get() + 1 } else { 0 });
            self.began.set(Some((now, task_switches)));
            self.untimed.set(1.max(self.untimed.get() / 2));
        }
        self.long.get() >= STRETCHES
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Looks with each chance that comes up to the time when tasks are found to run for long, if they are.
    fn found_long(ran: Duration, ends: &[Duration]) -> Option<Duration> {
        let (stretches, start) = (Stretches::default(), Instant::now());
        let mut skips = 0;
        let mut task_switches = 0;
        while ran * task_switches < *ends.last().unwrap() {
            let at = ran * task_switches;
            if skips == 0 {
                let quiet = ends.iter().position(|end| at < *end).unwrap() as u64 + 1;
                if stretches.look(quiet, start + at, u64::from(task_switches)) {
                    return Some(at);
                }
                skips = stretches.untimed.get();
            }
            skips -= 1;
            task_switches += 1;
        }
        None
    }

    #[test]
    fn tasks_that_run_for_long_are_told_from_others() {
        let ends = [4, 8, 16, 2000].map(|ends| ends * STRETCH);
        assert_eq!(found_long(LONG / 10, &ends), None);
        assert_eq!(found_long(LONG * 9 / 10, &ends), None);
        assert!(found_long(LONG, &ends).unwrap() < 8 * STRETCH);
        assert!(found_long(LONG * 10, &ends).unwrap() < 8 * STRETCH);
        // So long that there are some in a whole quiet only.
        assert!(found_long(3 * STRETCH, &ends).unwrap() < 16 * STRETCH);
    }
}
