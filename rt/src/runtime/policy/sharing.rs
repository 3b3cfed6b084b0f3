//! Whether it is worth it that others take some of what is ready.
//!
//! Tasks that soon wait for each other again are run fastest by one worker: whoever takes one of them brings its stack
//! over, is out of work after a moment, and brings the next one back. Others wait seldom, and a worker that has taken one
//! has work from then on. Which it is, is found out by trial, as for lone continuations (`queue/run_queue.rs`):
//!
//! - What a worker lets others take was worth it, if for some time neither it nor who took of it was out of work.
//! - If not, all workers are *quiet*: they let nobody take anything, for twice as long each time that this happens again.
//! - Meanwhile each sees how long its tasks run until they wait. Only then it can: otherwise bringing stacks over is a part
//!   of that. One whose tasks run for long lets others take them all the same.
//!
//! A worker that does not move on is taken over as ever, so all of this are hints: nothing hangs on them but time.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// For so long both must have work.
pub(crate) const WORTH_A_THEFT: Duration = Duration::from_micros(20);

/// Tasks run for long if it is so much, on average over a stretch, in so many stretches in a row. (In one an interrupt may
/// come; and the first begins with stacks that were brought over before.)
const LONG: Duration = Duration::from_nanos(400);

const STRETCH: Duration = Duration::from_micros(8);

const STRETCHES: u32 = 3;

/// For how long that then holds.
pub(crate) const LONG_HOLDS: Duration = Duration::from_millis(8);

/// A worker looks at the clock with each chance to let others take something, or with one of so many if they come often.
pub(crate) const MOST_UNTIMED: u32 = 16;

/// What a worker knows of its trials. Whether one is on is in [`Published`](crate::runtime::remote::Published).
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    /// What is done with the next chances, so many, without a look at the clock.
    pub(crate) shares: Cell<bool>,
    pub(crate) skips: Cell<u32>,
    /// Since when others may take what is ready here, and since when this worker has what it took, from which other.
    pub(crate) published_at: Cell<Option<Instant>>,
    pub(crate) taken: Cell<Option<(Instant, u32)>>,
    pub(crate) stretches: Stretches,
    /// Tasks run for long here, until then.
    pub(crate) long_until: Cell<Option<Instant>>,
}

/// How long tasks run while all are quiet.
#[derive(Debug, Default)]
pub(crate) struct Stretches {
    /// The quiet of this one, by its end.
    pub(crate) quiet: Cell<u64>,
    /// When it began, less what the worker was out of work meanwhile, and how many switches there were before.
    pub(crate) began: Cell<Option<(Instant, u64)>>,
    /// With which chance from now on to look again.
    pub(crate) untimed: Cell<u32>,
    /// How many in a row, up to the one before, were of tasks that run for long.
    pub(crate) long: Cell<u32>,
}

impl Stretches {
    /// Begins with the first call in each quiet. True if tasks were found to run for long.
    pub(crate) fn look(&self, quiet: u64, now: Instant, task_switches: u64) -> bool {
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
