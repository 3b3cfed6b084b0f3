//! Whether it is worth it that others take what is ready.
//!
//! Tasks that soon wait for each other again are run fastest by one worker: whoever takes one of them brings its stack
//! over, is out of work after a moment, and brings the next one back. Others wait seldom, and a worker that has taken one
//! is busy for good. Which it is, is found out by trial, as for lone continuations (`queues`):
//!
//! - An offer to whoever is hungry was worth it if those who gave and took were both busy for some time from then on.
//! - If not, all workers are *quiet*: they make no offers for a while, twice as long each time that this happens again.
//! - Meanwhile each sees for how long its picks run, which it could not if others took some, because bringing stacks over
//!   is a part of that then. Tasks that run long are offered all the same.
//!
//! A worker that does not move on is rescued as ever. All of this are hints, and any of it may be lost.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use super::worker::Worker;
use crate::prim::{AtomicU32, AtomicU64, Ordering};

/// For so long both must be busy.
const WORTH_A_THEFT: Duration = Duration::from_micros(20);
/// Tasks that run for so long at a time are long.
const LONG: Duration = Duration::from_nanos(400);
/// How long workers are quiet the first time, and log2 of how many times as long at most.
const QUIET: Duration = Duration::from_micros(16);
const MOST: u32 = 6;
/// A worker looks at the clock with one of so many chances to make an offer.
const UNTIMED: u32 = 16;
const STRETCH: Duration = Duration::from_micros(8);
const HOLDS: Duration = Duration::from_millis(8);

/// What the workers of a scheduler know together.
pub(super) struct Offers {
    start: Instant,
    /// In nanoseconds from the start.
    until: CachePadded<AtomicU64>,
    /// log2 of how many times as long as the first the next quiet is.
    times: AtomicU32,
}

impl Offers {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            until: CachePadded::new(AtomicU64::new(0)),
            times: AtomicU32::new(0),
        }
    }

    fn nanos(&self, now: Instant) -> u64 {
        (now - self.start).as_nanos() as u64
    }

    /// The end of the quiet, if it is not over.
    fn until(&self, now: Instant) -> Option<u64> {
        let until = self.until.load(Ordering::Relaxed);
        (self.nanos(now) < until).then_some(until)
    }

    /// Says what came of an offer.
    fn judge(&self, worth_it: bool, now: Instant) {
        let times = self.times.load(Ordering::Relaxed);
        if worth_it {
            self.times.store(times.saturating_sub(1), Ordering::Relaxed);
        } else if self.until(now).is_none() {
            let until = self.nanos(now + QUIET * (1 << times));
            self.until.store(until, Ordering::Relaxed);
            self.times.store(MOST.min(times + 1), Ordering::Relaxed);
        }
    }
}

/// An offer: a hint for who takes of it.
#[derive(Debug)]
pub(super) struct Offer(AtomicU32);

/// None is made, or it is settled what came of it.
const SETTLED: u32 = 0;
/// Nothing was taken yet.
const OPEN: u32 = 1;
const TAKEN: u32 = 2;

impl Offer {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(SETTLED))
    }

    fn is_settled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == SETTLED
    }

    fn set(&self, state: u32) {
        self.0.store(state, Ordering::Relaxed);
    }
}

/// What a worker knows of its own.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Chances to pass without a look at the clock, and what to do with them.
    skips: Cell<u32>,
    shares: Cell<bool>,
    /// The quiet in which picks are measured.
    quiet: Cell<u64>,
    /// Since when, and from which pick on.
    measured: Cell<Option<(Instant, u64)>>,
    looks: Cell<u32>,
    /// Stretches in a row with long picks.
    long: Cell<u32>,
    long_until: Cell<Option<Instant>>,
    /// When the last offer was made.
    offered: Cell<Option<Instant>>,
    /// From whom something was taken, and when.
    taken: Cell<Option<(u32, Instant)>>,
}

impl Worker {
    /// Whether to let others take what is ready, now that somebody is hungry.
    pub(super) fn shares(&self) -> bool {
        let Self { sharing, core, .. } = self;
        let skips = sharing.skips.get();
        if skips > 0 {
            sharing.skips.set(skips - 1);
            return sharing.shares.get();
        }
        let offer = &core.remote.own.offer;
        if !offer.is_settled() {
            return true;
        }
        let now = Instant::now();
        if sharing.long_until.get().is_some_and(|until| now < until) {
            sharing.skips.set(UNTIMED - 1);
            sharing.shares.set(true);
            return true;
        }
        if let Some(quiet) = self.sched.offers.until(now) {
            let shares = self.runs_long(quiet, now);
            if shares {
                sharing.long_until.set(Some(now + HOLDS));
            }
            sharing.shares.set(shares);
            return shares;
        }
        sharing.offered.set(Some(now));
        offer.set(OPEN);
        true
    }

    fn runs_long(&self, quiet: u64, now: Instant) -> bool {
        let sharing = &self.sharing;
        let picks = self.counters().picks.get();
        if sharing.quiet.replace(quiet) != quiet {
            sharing.measured.set(Some((now, picks)));
            sharing.looks.set(1);
            return false;
        }
        let looks = UNTIMED.min(2 * sharing.looks.get());
        sharing.looks.set(looks);
        sharing.skips.set(looks - 1);
        if let Some((since, before)) = sharing.measured.get() {
            let took = now.saturating_duration_since(since);
            if took >= STRETCH {
                let long = took >= LONG * (picks - before) as u32;
                sharing.long.set(if long { sharing.long.get() + 1 } else { 0 });
                sharing.measured.set(Some((now, picks)));
            }
        }
        sharing.long.get() >= 3
    }

    /// Ready tasks of another worker were taken.
    pub(super) fn note_theft(&self, victim: u32) {
        self.sched.remote(victim).own.offer.set(TAKEN);
        self.sharing.taken.set(Some((victim, Instant::now())));
    }

    /// This worker is out of work.
    pub(super) fn judge_offers(&self, now: Instant) {
        let Self { sharing, sched, core, .. } = self;
        if let Some(offered) = sharing.offered.take() {
            self.settle(&core.remote.own.offer, offered, now);
        }
        if let Some((victim, taken)) = sharing.taken.take() {
            self.settle(&sched.remote(victim).own.offer, taken, now);
        }
    }

    /// It was out of work for so long.
    pub(super) fn note_wait(&self, waited: Duration) {
        let measured = self.sharing.measured.get();
        self.sharing.measured.set(measured.map(|(since, picks)| (since + waited, picks)));
    }

    fn settle(&self, offer: &Offer, since: Instant, now: Instant) {
        if !offer.is_settled() {
            offer.set(SETTLED);
            self.sched.offers.judge(now - since >= WORTH_A_THEFT, now);
        }
    }
}
