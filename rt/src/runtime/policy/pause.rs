//! A pause after a trial that was in vain.

use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use crate::loom::{AtomicU32, AtomicU64, Ordering};

/// The first pause, and log2 of the longest as a multiple of it.
const FIRST: Duration = Duration::from_micros(16);
const MOST_DOUBLINGS: u32 = 6;

/// The current or last pause, and the length of the next: twice as long after each trial in vain, half
/// as long after each other. Hints, which any thread gives and reads.
#[derive(Debug)]
pub(crate) struct Pause {
    start: Instant,
    /// The end of the pause, in nanoseconds after `start`.
    until: CachePadded<AtomicU64>,
    doublings: AtomicU32,
}

impl Pause {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            until: CachePadded::new(AtomicU64::new(0)),
            doublings: AtomicU32::new(0),
        }
    }

    /// Returns the end of the pause, as a number that no other pause has, or `None` if it is over.
    pub(crate) fn until(&self, now: Instant) -> Option<u64> {
        let until = self.until.load(Ordering::Relaxed);
        (self.nanos(now) < until).then_some(until)
    }

    /// Notes the outcome of a trial.
    pub(crate) fn judge(&self, was_worth_it: bool, now: Instant) {
        let doublings = self.doublings.load(Ordering::Relaxed);
        if was_worth_it {
            self.doublings.store(doublings.saturating_sub(1), Ordering::Relaxed);
        } else if self.until(now).is_none() {
            self.until.store(self.nanos(now + FIRST * (1 << doublings)), Ordering::Relaxed);
            self.doublings.store(MOST_DOUBLINGS.min(doublings + 1), Ordering::Relaxed);
        }
    }

    fn nanos(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_nanos() as u64
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    #[test]
    fn a_pause_is_longer_each_time() {
        let pause = Pause::new();
        let mut now = pause.start;
        assert_eq!(pause.until(now), None);
        for doublings in [0, 1, 2, 3, 4, 5, 6, 6] {
            pause.judge(false, now);
            // Others that were on trial then change nothing.
            pause.judge(false, now + MICROSECOND);
            let end = now + FIRST * (1 << doublings);
            assert_eq!(pause.until(end - MICROSECOND), Some(pause.nanos(end)));
            assert_eq!(pause.until(end), None);
            now = end;
        }
        pause.judge(true, now);
        assert_eq!(pause.until(now), None);
        pause.judge(false, now);
        assert!(pause.until(now + FIRST * 31).is_some());
        assert_eq!(pause.until(now + FIRST * 32), None);
    }
}
