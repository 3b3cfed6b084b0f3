//! What workers count.
//!
//! Each counter is written by one worker, with a load and a store, and read by anyone: nobody writes to a line that
//! others write to. A reader sees each counter as it was at some moment, not all at one.

use crate::loom::{AtomicU64, Ordering};

/// The counters of one worker. [`WorkerMetrics`] is what they read.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) task_switches: Counter,
    /// Turns of waking many; for sysmon only.
    pub(crate) turns: Counter,
    pub(crate) ticks: Counter,
    /// Tasks out of the injector.
    pub(crate) injected: Counter,
    pub(crate) searches: Counter,
    pub(crate) steals: Counter,
    pub(crate) takeovers: Counter,
    pub(crate) publications: Counter,
    pub(crate) sleeps: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more. By its worker alone.
    #[inline]
    pub(crate) fn count(&self) {
        self.0.store(self.get() + 1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker has counted, or several together. [`Metrics`](crate::Metrics) explains each.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
#[expect(missing_docs, reason = "explained where they are added up")]
pub struct WorkerMetrics {
    pub task_switches: u64,
    pub ticks: u64,
    pub searches: u64,
    pub steals: u64,
    pub takeovers: u64,
    pub publications: u64,
    pub sleeps: u64,
}

impl Counters {
    pub(crate) fn read(&self) -> WorkerMetrics {
        WorkerMetrics {
            task_switches: self.task_switches.get(),
            ticks: self.ticks.get(),
            searches: self.searches.get(),
            steals: self.steals.get(),
            takeovers: self.takeovers.get(),
            publications: self.publications.get(),
            sleeps: self.sleeps.get(),
        }
    }
}

impl WorkerMetrics {
    /// Together with another worker's.
    pub(crate) fn and(self, other: &Self) -> Self {
        Self {
            task_switches: self.task_switches + other.task_switches,
            ticks: self.ticks + other.ticks,
            searches: self.searches + other.searches,
            steals: self.steals + other.steals,
            takeovers: self.takeovers + other.takeovers,
            publications: self.publications + other.publications,
            sleeps: self.sleeps + other.sleeps,
        }
    }
}
