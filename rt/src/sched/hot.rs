//! Whether the locks that a worker's threads spin for are hot: locked and unlocked in a loop, and little else.
//!
//! Whoever spins for such a lock gets it and loses it several times a microsecond, and for each turn the lock's line travels
//! between two processors: all of them get on more slowly than one would by itself. So who would spin for a hot lock steps
//! aside: it waits at once, and whoever wakes it has it run next and not beside (`push_beside`). If another worker is out of
//! work it may still take it from there, and finds out whether that was worth it (`rescues`).
//!
//! This is found out by trial, and without a clock, which would take as long as what it measures. While a thread spins, which
//! takes about as long as a line does to travel, others have their turns at the lock. If those are many, each is short, and
//! so is what is between them.

use std::cell::Cell;

use super::worker::Worker;

/// A trial is of so many spins.
const TRIAL: u32 = 32;
/// In each spin at least so many turns of others, on the average, make a lock hot.
const HOT: u32 = 4;
/// What is hot is so for so many times.
const CREDIT: u32 = 16;
/// What is not, for so many spins.
const REST: u32 = 1_024;

/// What a worker knows of the locks that its threads spin for.
#[derive(Debug, Default)]
pub(super) struct Contention {
    spins: Cell<u32>,
    turns: Cell<u32>,
    /// Spins until the next trial.
    rest: Cell<u32>,
    /// How often to step aside yet.
    credit: Cell<u32>,
    /// The last that was to spin has stepped aside.
    aside: Cell<bool>,
}

impl Contention {
    /// Somebody is to spin: false if it steps aside.
    fn may_spin(&self) -> bool {
        let credit = self.credit.get();
        self.credit.set(credit.saturating_sub(1));
        self.aside.set(credit > 0);
        credit == 0
    }

    /// Whether it is to be found out how many turns others have while somebody spins.
    fn is_on_trial(&self) -> bool {
        let rest = self.rest.get();
        self.rest.set(rest.saturating_sub(1));
        rest == 0
    }

    /// Others have had so many turns.
    fn note(&self, turns: u32) {
        let (spins, turns) = (self.spins.get() + 1, self.turns.get() + turns);
        let over = spins == TRIAL;
        self.spins.set(if over { 0 } else { spins });
        self.turns.set(if over { 0 } else { turns });
        if over && turns >= HOT * TRIAL {
            self.credit.set(CREDIT);
        } else if over {
            self.rest.set(REST);
        }
    }
}

impl Worker {
    /// Whether the running thread, which has not got a lock at once, is to spin for it.
    pub(crate) fn may_spin(&self) -> bool {
        self.contention.may_spin()
    }

    /// The running thread has spun for a lock, and has it, after so many turns of others, if they were counted. True if
    /// they are to be counted for the next.
    pub(super) fn note_spin(&self, turns: Option<u32>) -> bool {
        let on_trial = self.contention.is_on_trial();
        if let (true, Some(turns)) = (on_trial, turns) {
            self.contention.note(turns);
        }
        on_trial && turns.is_none()
    }

    /// Whether the running thread, which is to wait for a lock, has stepped aside.
    pub(super) fn steps_aside(&self) -> bool {
        self.contention.aside.get()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// So many spins in which others have so many turns: how many step aside after that.
    fn aside_after(contention: &Contention, spins: u32, turns: u32) -> usize {
        for _ in 0..spins {
            assert!(contention.may_spin());
            if contention.is_on_trial() {
                contention.note(turns);
            }
        }
        std::iter::repeat_with(|| contention.may_spin()).take_while(|may| !may).count()
    }

    #[test]
    fn who_sees_many_turns_steps_aside_for_a_while() {
        let contention = Contention::default();
        assert_eq!(aside_after(&contention, TRIAL - 1, HOT), 0);
        assert_eq!(aside_after(&contention, 1, HOT), CREDIT as usize);
        assert!(!contention.aside.get());
        assert_eq!(aside_after(&contention, TRIAL, HOT), CREDIT as usize, "it is tried again");
    }

    #[test]
    fn who_sees_few_turns_spins_and_looks_again_later() {
        let contention = Contention::default();
        assert_eq!(aside_after(&contention, TRIAL, HOT - 1), 0);
        assert_eq!(aside_after(&contention, REST, HOT), 0, "not on trial");
        assert_eq!(aside_after(&contention, TRIAL, HOT), CREDIT as usize);
    }
}
