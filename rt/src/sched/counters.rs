//! What workers count.
//!
//! Each counter is written by one worker, with a load and a store, and read by anyone: nobody writes to a line that
//! others write to. A reader sees each counter as it was at some moment, not all at one.

use std::ops::AddAssign;

use crate::prim::{AtomicU64, Ordering};

/// The counters of one worker. See [`crate::WorkerMetrics`], which has the same fields, for what they count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) picks: Counter,
    pub(super) fair_picks: Counter,
    pub(super) searches: Counter,
    pub(super) steals: Counter,
    pub(super) rescues: Counter,
    pub(super) offers: Counter,
    pub(super) sleeps: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// One more. By its worker alone.
    #[inline]
    pub(super) fn count(&self) {
        self.set(self.get() + 1);
    }

    /// By its worker alone.
    #[inline]
    pub(super) fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the counters of one worker, or of all, were.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) picks: u64,
    pub(crate) fair_picks: u64,
    pub(crate) searches: u64,
    pub(crate) steals: u64,
    pub(crate) rescues: u64,
    pub(crate) offers: u64,
    pub(crate) sleeps: u64,
}

impl Counters {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            picks: self.picks.get(),
            fair_picks: self.fair_picks.get(),
            searches: self.searches.get(),
            steals: self.steals.get(),
            rescues: self.rescues.get(),
            offers: self.offers.get(),
            sleeps: self.sleeps.get(),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.picks += other.picks;
        self.fair_picks += other.fair_picks;
        self.searches += other.searches;
        self.steals += other.steals;
        self.rescues += other.rescues;
        self.offers += other.offers;
        self.sleeps += other.sleeps;
    }
}
