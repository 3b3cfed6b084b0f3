//! The counters of workers.
//!
//! Each counter is written by one worker, with a load and a store, and read by any thread. So no
//! two workers write to one cache line. A reader sees each counter as it was at some moment, but
//! not all of them at the same moment.

use crate::loom::{AtomicU64, Ordering};

/// The counters of one worker. Those that users see are also in [`WorkerMetrics`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) task_switches: Counter,
    /// Moves of the worker other than task switches: it has woken many threads, or deferred a job.
    /// Only for `Remote::moves`.
    pub(crate) turns: Counter,
    pub(crate) ticks: Counter,
    /// Tasks that were taken from the injector.
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
    /// Adds one. Called only by the counter's worker.
    #[inline]
    pub(crate) fn count(&self) {
        self.0.store(self.get() + 1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one worker, or the sums of several. [`Metrics`](crate::Metrics) explains each.
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
    /// Returns the sums of these counts and another worker's.
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
