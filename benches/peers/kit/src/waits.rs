//! How long something waited, many times over: counts in buckets, so that billions fit.

use std::time::Duration;

/// Buckets for each power of two: a percentile is at most a 32nd too high.
const STEPS: u64 = 32;

/// A histogram of times in nanoseconds.
#[derive(Clone, Debug)]
pub struct Waits {
    /// The first `STEPS` count single nanoseconds; then `STEPS` for each power of two.
    buckets: Vec<u64>,
    count: u64,
    worst: u64,
}

impl Default for Waits {
    fn default() -> Self {
        Self { buckets: vec![0; bucket(u64::MAX) + 1], count: 0, worst: 0 }
    }
}

impl Waits {
    /// Counts one wait.
    pub fn add(&mut self, wait: Duration) {
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(wait)] += 1;
        self.count += 1;
        self.worst = self.worst.max(wait);
    }

    /// Counts in those of another.
    pub fn merge(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(mine, theirs)| *mine += theirs);
        self.count += other.count;
        self.worst = self.worst.max(other.worst);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    pub fn worst(&self) -> u64 {
        self.worst
    }

    /// What such a share of the waits does not exceed, rounded up to a bucket's end.
    pub fn percentile(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        let reached = self.buckets.iter().position(|&count| {
            below += count;
            below >= rank
        });
        reached.map_or(self.worst, |bucket| last_of(bucket).min(self.worst))
    }
}

fn bucket(wait: u64) -> usize {
    if wait < STEPS {
        return wait as usize;
    }
    // The highest bit says the power, the STEPS.ilog2() bits below it the step.
    let shift = wait.ilog2() - STEPS.ilog2();
    (u64::from(shift) * STEPS + (wait >> shift)) as usize
}

/// The longest wait that a bucket counts.
fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let step = bucket % STEPS + STEPS;
    (((u128::from(step) + 1) << shift) - 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other() {
        let mut bucket_before = 0;
        for wait in (0..100_000).chain((17..64).map(|bits| 1 << bits)).chain([u64::MAX]) {
            let here = bucket(wait);
            assert!(last_of(here) >= wait, "{wait}");
            assert!(here == 0 || last_of(here - 1) < wait, "{wait}");
            assert!(here >= bucket_before && (wait > 100_000 || here <= bucket_before + 1));
            assert!(last_of(here) - wait <= wait / STEPS, "{wait}");
            bucket_before = here;
        }
    }

    #[test]
    fn percentiles() {
        let mut waits = Waits::default();
        (1..=1000).for_each(|ns| waits.add(Duration::from_nanos(ns)));
        let mut more = Waits::default();
        more.add(Duration::from_secs(1));
        waits.merge(&more);
        assert_eq!((waits.count(), waits.worst()), (1001, 1_000_000_000));
        assert!((500..=516).contains(&waits.percentile(0.5)));
        assert!((991..=1023).contains(&waits.percentile(0.99)));
        assert_eq!(waits.percentile(1.0), 1_000_000_000);
    }
}
