//! Whether the mutex that a worker's threads spin for is hot: locked and unlocked in a loop, and little else.
//!
//! Whoever spins for such a lock gets it and loses it several times a microsecond, and for each turn the lock's line travels
//! between two processors: all of them get on more slowly than one would by itself. So who would spin for a hot lock steps
//! aside: it waits at once, and whoever wakes it has it run next and not beside (`push_beside`). Another worker that searches
//! may still take it from there, and finds out whether that was worth it (`rescues`); else the monitor moves it on. Not who
//! has waited in vain so often that the lock is handed over to it: others wait for that one.
//!
//! This is found out by trial, and without a clock, which would take as long as what it measures. While a thread spins, which
//! mostly takes no longer than a line does to travel, others have their turns at the lock. If those are many, each is short,
//! and so is what is between them.

use std::cell::Cell;
use std::ptr;

use super::worker::Worker;
use crate::task::TaskRef;

/// A trial is of so many spins.
const TRIAL: u32 = 32;
/// In each spin at least so many turns of others, on the average, make a lock hot.
const HOT: u32 = 4;
/// No spin counts for more: it may have been long.
const MOST: u32 = 4 * HOT;
/// What is hot is so for so many times.
const CREDIT: u32 = 64;
/// What is not, for so many spins. (With four turns a spin, until it is steady again, as it was before the trial.)
const REST: u32 = 2_048;

/// What a worker knows of the mutex that its threads spun for last.
#[derive(Debug)]
pub(super) struct Contention {
    /// Only compared.
    lock: Cell<*const ()>,
    spins: Cell<u32>,
    turns: Cell<u32>,
    /// Spins until the next trial.
    rest: Cell<u32>,
    /// How often to step aside yet.
    credit: Cell<u32>,
}

impl Default for Contention {
    fn default() -> Self {
        let zero = || Cell::new(0);
        Self {
            lock: Cell::new(ptr::null()),
            spins: zero(),
            turns: zero(),
            rest: zero(),
            credit: zero(),
        }
    }
}

impl Contention {
    /// Somebody is to spin for this: true if it steps aside, which uses up a credit.
    fn steps_aside(&self, lock: *const ()) -> bool {
        let credit = self.credit.get();
        let aside = credit > 0 && self.lock.get() == lock;
        self.credit.set(credit - u32::from(aside));
        aside
    }

    /// Somebody has spun, and has the lock after so many turns of others, if they were counted. True if they are to be
    /// counted for the next.
    fn note(&self, lock: *const (), turns: Option<u32>) -> bool {
        if self.lock.replace(lock) != lock {
            [&self.spins, &self.turns, &self.rest, &self.credit].iter().for_each(|n| n.set(0));
        }
        if self.rest.get() > 0 {
            self.rest.set(self.rest.get() - 1);
            return false;
        }
        // Those that were not counted are none: else one that is hardly ever spun for would be on trial for ever.
        let all = self.turns.get() + turns.unwrap_or(0).min(MOST);
        let spins = self.spins.get() + 1;
        let over = spins == TRIAL;
        self.spins.set(if over { 0 } else { spins });
        self.turns.set(if over { 0 } else { all });
        if over && all >= HOT * TRIAL {
            self.credit.set(CREDIT);
        } else if over {
            self.rest.set(REST);
        }
        turns.is_none() && !over
    }
}

impl Worker {
    /// Whether the running task steps aside, which has not got this mutex at once. (Null is none, for other locks.)
    pub(crate) fn steps_aside(&self, task: TaskRef, lock: *const ()) -> bool {
        // One that is pinned has to come back to its worker in any case.
        task.pinned().is_none() && self.contention.steps_aside(lock)
    }

    /// The running thread has spun for this mutex: see [`Contention::note`].
    pub(super) fn note_spin(&self, lock: *const (), turns: Option<u32>) -> bool {
        self.contention.note(lock, turns)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LOCK: *const () = ptr::without_provenance(8);
    const OTHER: *const () = ptr::without_provenance(16);

    fn spin(contention: &Contention, spins: u32, turns: Option<u32>) {
        (0..spins).for_each(|_| _ = contention.note(LOCK, turns));
    }

    /// How many step aside.
    fn aside(contention: &Contention, lock: *const ()) -> usize {
        std::iter::repeat_with(|| contention.steps_aside(lock)).take_while(|aside| *aside).count()
    }

    #[test]
    fn who_sees_many_turns_steps_aside_for_a_while() {
        let contention = Contention::default();
        for _ in 0..3 {
            spin(&contention, TRIAL - 1, Some(HOT));
            assert_eq!(aside(&contention, LOCK), 0);
            spin(&contention, 1, Some(HOT));
            assert_eq!(aside(&contention, OTHER), 0);
            assert_eq!(aside(&contention, LOCK), CREDIT as usize);
        }
    }

    #[test]
    fn who_sees_few_turns_spins_and_looks_again_later() {
        let contention = Contention::default();
        spin(&contention, TRIAL, Some(HOT - 1));
        assert_eq!(aside(&contention, LOCK), 0);
        spin(&contention, REST + TRIAL - 1, Some(HOT));
        assert_eq!(aside(&contention, LOCK), 0);
        spin(&contention, 1, Some(HOT));
        assert_eq!(aside(&contention, LOCK), CREDIT as usize);
    }

    #[test]
    fn one_long_spin_makes_nothing_hot() {
        let contention = Contention::default();
        spin(&contention, 1, Some(8_191));
        spin(&contention, TRIAL - 1, Some(HOT - 1));
        assert_eq!(aside(&contention, LOCK), 0);
    }

    #[test]
    fn what_is_never_counted_is_not_asked_for_ever() {
        let contention = Contention::default();
        let asked = (0..REST).filter(|_| contention.note(LOCK, None)).count();
        assert_eq!(asked, TRIAL as usize - 1);
    }

    #[test]
    fn another_lock_begins_anew() {
        let contention = Contention::default();
        spin(&contention, TRIAL, Some(HOT));
        contention.note(OTHER, Some(HOT));
        assert_eq!(aside(&contention, LOCK), 0);
        assert_eq!(aside(&contention, OTHER), 0);
    }
}
