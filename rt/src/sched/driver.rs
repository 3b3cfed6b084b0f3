//! What an idle worker sleeps in: today the timers, later also I/O readiness.
//!
//! Timers belong to the scheduler, not to threads: one ordered map under a lock, and the earliest
//! deadline in an atomic beside it, so that a busy worker sees without the lock that nothing is due.
//!
//! Who fires them: busy workers look every few picks; of the sleeping workers one, the *keeper*, sleeps
//! only until the earliest deadline; while any worker runs the monitor also sleeps no longer than that.
//! Whoever inserts a new earliest deadline tells keeper and monitor, so that they sleep less.
//!
//! Invariant: a green thread is registered here at most once, from before it commits to sleep until it
//! has removed itself or was fired; firing claims it under the lock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::prim::{AtomicU64, AtomicUsize, Mutex, Ordering, fence, lock};
use crate::task::state::TIMED_OUT;
use crate::task::{Waiter, Wake};

/// Names a registered timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey {
    deadline: Instant,
    /// Tells equal deadlines apart, first come first served.
    sequence: u64,
}

#[derive(Debug)]
struct Timers {
    queue: BTreeMap<TimerKey, Waiter>,
    next_sequence: u64,
}

#[derive(Debug)]
pub(super) struct Driver {
    timers: Mutex<Timers>,
    /// The earliest deadline, in nanoseconds since `epoch`, or `NEVER`. Written under the lock.
    earliest: AtomicU64,
    epoch: Instant,
    /// The sleeping worker that keeps the timers, or `NOBODY`.
    keeper: AtomicUsize,
}

const NEVER: u64 = u64::MAX;
const NOBODY: usize = usize::MAX;

/// Whom to tell of a new earliest deadline.
#[must_use]
pub(super) enum Tell {
    Nobody,
    Keeper(u32),
    Monitor,
}

impl Driver {
    pub(super) fn new() -> Self {
        Self {
            timers: Mutex::new(Timers { queue: BTreeMap::new(), next_sequence: 0 }),
            earliest: AtomicU64::new(NEVER),
            epoch: Instant::now(),
            keeper: AtomicUsize::new(NOBODY),
        }
    }

    /// Registers an armed wait to be claimed with `TIMED_OUT` at `deadline`.
    pub(super) fn insert(&self, deadline: Instant, waiter: Waiter) -> (TimerKey, Tell) {
        let mut timers = lock(&self.timers);
        let key = TimerKey { deadline, sequence: timers.next_sequence };
        timers.next_sequence += 1;
        timers.queue.insert(key, waiter);
        let earliest = self.nanos(deadline);
        if earliest >= self.earliest.load(Ordering::Relaxed) {
            return (key, Tell::Nobody);
        }
        self.earliest.store(earliest, Ordering::Relaxed);
        drop(timers);
        // With the fence in `keep`: we see the keeper, or it sees the new deadline.
        fence(Ordering::SeqCst);
        let tell = match self.keeper.load(Ordering::Relaxed) {
            NOBODY => Tell::Monitor,
            keeper => Tell::Keeper(keeper as u32),
        };
        (key, tell)
    }

    /// Withdraws a timer, if it has not fired. Afterwards the driver does not know the waiter.
    pub(super) fn remove(&self, key: TimerKey) {
        let mut timers = lock(&self.timers);
        if timers.queue.remove(&key).is_some() {
            self.update_earliest(&timers);
        }
    }

    /// Whether a timer is due. Looks at the clock only if there are timers.
    pub(super) fn is_due(&self) -> bool {
        let earliest = self.earliest.load(Ordering::Relaxed);
        earliest != NEVER && self.nanos(Instant::now()) >= earliest
    }

    /// Claims every wait that is due. The caller wakes them.
    pub(super) fn fire(&self) -> Vec<Wake> {
        let mut wakes = Vec::new();
        let now = Instant::now();
        let mut timers = lock(&self.timers);
        while let Some(entry) = timers.queue.first_entry() {
            if entry.key().deadline > now {
                break;
            }
            let waiter = entry.remove();
            // SAFETY: it is registered here, and we hold the lock under which it would leave.
            wakes.extend(unsafe { waiter.claim(TIMED_OUT) });
        }
        self.update_earliest(&timers);
        wakes
    }

    /// The earliest deadline.
    pub(super) fn earliest(&self) -> Option<Instant> {
        match self.earliest.load(Ordering::Relaxed) {
            NEVER => None,
            nanos => Some(self.epoch + Duration::from_nanos(nanos)),
        }
    }

    /// Makes `worker` the keeper if there is none: true if it now is.
    pub(super) fn keep(&self, worker: u32) -> bool {
        let kept = self
            .keeper
            .compare_exchange(NOBODY, worker as usize, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        fence(Ordering::SeqCst);
        kept
    }

    /// The keeper has woken up.
    pub(super) fn unkeep(&self) {
        self.keeper.store(NOBODY, Ordering::Relaxed);
    }

    /// Whether some sleeping worker keeps the timers.
    pub(super) fn is_kept(&self) -> bool {
        fence(Ordering::SeqCst);
        self.keeper.load(Ordering::Relaxed) != NOBODY
    }

    fn update_earliest(&self, timers: &Timers) {
        let earliest =
            timers.queue.first_key_value().map_or(NEVER, |(key, _)| self.nanos(key.deadline));
        self.earliest.store(earliest, Ordering::Relaxed);
    }

    fn nanos(&self, instant: Instant) -> u64 {
        let nanos = instant.saturating_duration_since(self.epoch).as_nanos();
        // 584 years after the start is as good as never, but not never.
        u64::try_from(nanos).unwrap_or(NEVER - 1)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::task::OsThread;
    use std::ptr::NonNull;
    use std::sync::Arc;

    #[test]
    fn timers_fire_in_order_and_cancelled_ones_do_not() {
        let driver = Driver::new();
        let threads: Vec<_> = (0..3).map(|_| OsThread::current()).collect();
        let me = &threads[0];
        me.wait.arm();
        let waiter = Waiter::Os(NonNull::from(&**me));
        let now = Instant::now();
        let (late, _) = driver.insert(now + Duration::from_secs(60), waiter);
        assert!(!driver.is_due());
        let (soon, tell) = driver.insert(now, waiter);
        assert!(matches!(tell, Tell::Monitor));
        assert!(driver.is_due());
        assert_eq!(driver.earliest().map(|at| at <= Instant::now()), Some(true));
        driver.remove(soon);
        assert!(!driver.is_due());
        assert!(driver.fire().is_empty());
        let (_, tell) = driver.insert(now, waiter);
        assert!(matches!(tell, Tell::Monitor));
        assert!(matches!(driver.fire()[..], [Wake::Awake]));
        assert_eq!(me.wait.selected(), Some(TIMED_OUT));
        driver.remove(late);
        assert!(driver.earliest().is_none());
        drop(Arc::clone(me));
    }

    #[test]
    fn a_far_deadline_is_not_mistaken_for_none() {
        let driver = Driver::new();
        let me = OsThread::current();
        me.wait.arm();
        let far = Instant::now() + Duration::from_secs(1 << 40);
        let (key, _) = driver.insert(far, Waiter::Os(NonNull::from(&*me)));
        assert!(driver.earliest().is_some());
        driver.remove(key);
        let _ = me.wait.cancel();
    }
}
