//! Whether an OS thread that has to wait stays awake for some microseconds first.
//!
//! What it waits for often happens within the time that it takes to fall asleep: if two threads pass messages to and fro,
//! each on a processor of its own, staying awake is twenty times as fast. But where others want the processor it keeps them
//! from getting on, among them perhaps the one that is waited for. How many there are the system does not say; how long a
//! yield takes does: it returns at once if nobody wants the processor.
//!
//! So a thread yields, and looks, until it has what it waits for or has looked for long enough. Each time that this was in vain, or
//! that a yield took long, doubles the number of waits in which it does not.

use std::hint;
use std::thread;
use std::time::{Duration, Instant};

use crate::prim::{AtomicU32, Ordering};

/// How often a thread yields at most. In between it looks, ever more often: 127 times in all, which takes three to ten
/// microseconds.
const YIELDS: u32 = 7;
/// A yield that takes so long has let another thread run.
const LONG: Duration = Duration::from_micros(3);
/// One less is how many waits in a row the thread goes to sleep at once, at most.
const MOST_SKIPS: u32 = 512;

/// What a thread knows of its own waits. No other uses it.
#[derive(Debug)]
pub(super) struct Linger {
    /// In how many waits from now on it goes to sleep at once.
    skips: AtomicU32,
    /// How many it will be the next time.
    next: AtomicU32,
}

impl Linger {
    pub(super) fn new() -> Self {
        Self { skips: AtomicU32::new(0), next: AtomicU32::new(0) }
    }

    /// Stays awake for a little while if that is likely to pay. Gives what `look` gives, if it gives something.
    pub(super) fn look<T>(&self, look: impl Fn() -> Option<T>) -> Option<T> {
        if !self.may() {
            return None;
        }
        let (found, paid) = stay_awake(look);
        self.judge(paid);
        found
    }

    /// A wait begins: whether to stay awake.
    fn may(&self) -> bool {
        let skips = self.skips.load(Ordering::Relaxed);
        self.skips.store(skips.saturating_sub(1), Ordering::Relaxed);
        skips == 0
    }

    /// It has stayed awake, and that has paid or not.
    fn judge(&self, paid: bool) {
        let skips = if paid { 0 } else { self.next.load(Ordering::Relaxed) };
        self.skips.store(skips, Ordering::Relaxed);
        let next = if paid { 0 } else { (2 * skips + 1).min(MOST_SKIPS - 1) };
        self.next.store(next, Ordering::Relaxed);
    }
}

/// Looks for some microseconds: what it finds, and whether that cost no other thread anything.
fn stay_awake<T>(look: impl Fn() -> Option<T>) -> (Option<T>, bool) {
    for round in 0..YIELDS {
        let before = Instant::now();
        thread::yield_now();
        if before.elapsed() >= LONG {
            return (look(), false);
        }
        for _ in 0..1_u32 << round {
            if let Some(found) = look() {
                return (Some(found), true);
            }
            hint::spin_loop();
        }
    }
    (None, false)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// In how many waits it goes to sleep at once.
    fn skipped(linger: &Linger) -> usize {
        std::iter::repeat_with(|| linger.may()).take_while(|may| !may).count()
    }

    #[test]
    fn each_time_in_vain_doubles_the_pause_and_one_that_paid_ends_it() {
        for _ in 0..2 {
            let linger = Linger::new();
            for skips in [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 511] {
                assert_eq!(skipped(&linger), 0);
                linger.judge(false);
                assert_eq!(skipped(&linger), skips);
            }
            linger.judge(true);
            assert_eq!(skipped(&linger), 0);
        }
    }

    #[test]
    fn it_looks_for_a_while_and_no_longer() {
        let looks = std::cell::Cell::new(0);
        let count = || {
            looks.set(looks.get() + 1);
            None::<()>
        };
        assert_eq!(stay_awake(count), (None, false));
        assert!(looks.get() > 0 && looks.get() < 1 << YIELDS);
        assert_eq!(stay_awake(|| Some(1)).0, Some(1));
    }
}
