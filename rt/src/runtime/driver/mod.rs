//! What an idle worker sleeps in: the timers, and I/O readiness ([`poller`]).
//!
//! Each worker has the timers of the green threads that began to wait on it ([`Timers`]): a queue
//! under a lock, and its earliest deadline in an atomic beside it, so that looking for a due timer
//! takes no lock. Withdrawing a timer takes the lock of the worker that has it.
//!
//! A worker fires its own timers every few task switches. It fires all that are due before it
//! searches for work, when it wakes up, and now and then besides. One of the sleeping workers, the
//! *keeper*, sleeps only until the earliest deadline of all. Sysmon fires timers that the workers
//! are too busy for. [`keeper`] decides which of the two sleeps until when, and which is notified
//! of a new timer.
//!
//! Invariants:
//! - A green thread has at most one timer, from before it commits to sleep until it has removed the
//!   timer or was fired; firing claims the wait under the lock.
//! - A worker inserts into its own timers only. After an insertion the worker either goes to sleep,
//!   or runs another thread after it has notified of the timer. Until then no timer is inserted
//!   there that the first could hide.

pub(crate) mod heap;
pub(crate) mod keeper;
#[cfg_attr(not(feature = "io"), path = "no_poller.rs")]
pub(crate) mod poller;
pub(crate) mod timer_queue;

use std::time::{Duration, Instant};

use crate::loom::{AtomicU64, Ordering};
use crate::runtime::driver::heap::{Handle, NEVER, When};
use crate::runtime::driver::keeper::Watch;
use crate::runtime::driver::timer_queue::Queue;
use crate::task::header::{Waiter, Wake};
use crate::task::wait_state::TIMED_OUT;
use crate::util::spin_lock::{SpinGuard, SpinLock};

/// How many timers are fired under one hold of the lock. Then others get the lock, and the woken
/// threads can run.
const BATCH: usize = 64;

/// Names a registered timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerKey {
    /// The worker that has it.
    pub(crate) worker: u32,
    pub(crate) handle: Handle,
}

/// The timers of one worker.
#[derive(Debug)]
pub(crate) struct Timers {
    queue: SpinLock<Queue>,
    /// The earliest deadline, or `NEVER`. Written under the lock.
    earliest: AtomicU64,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self { queue: SpinLock::new(Queue::new()), earliest: AtomicU64::new(NEVER) }
    }

    pub(crate) fn earliest(&self) -> When {
        self.earliest.load(Ordering::Relaxed)
    }

    /// Registers an armed wait to be claimed with `TIMED_OUT`. Also returns `true` if no other
    /// timer here is due before.
    pub(crate) fn insert(&self, when: When, waiter: Waiter) -> (Handle, bool) {
        let mut queue = self.queue.lock();
        let handle = queue.insert(when, waiter);
        let first = when < self.earliest();
        if first {
            self.earliest.store(when, Ordering::Relaxed);
        }
        (handle, first)
    }

    /// Withdraws a timer that did not end its wait. Afterwards the driver does not know the waiter.
    pub(crate) fn remove(&self, handle: Handle) {
        let mut queue = self.queue.lock();
        queue.remove(handle);
        self.leave(queue);
    }

    /// Ends waits that are due, up to a batch. Returns how many timers were due.
    #[cold]
    pub(crate) fn fire(&self, now: When, wake: &mut impl FnMut(Wake)) -> usize {
        let mut queue = self.queue.lock();
        let mut handles = [0; BATCH];
        let mut due = 0;
        while let Some(handle) = handles.get_mut(due) {
            let Some(popped) = queue.pop_due(now) else { break };
            *handle = popped;
            due += 1;
        }
        // Of very many sleeping threads none is in any cache: each is prefetched while the
        // processor handles the others.
        let waiters = handles[..due].iter().map(|&handle| queue.waiter(handle));
        waiters.for_each(Waiter::prefetch);
        let mut wakes = [const { None }; BATCH];
        for (&handle, wake) in handles[..due].iter().zip(&mut wakes) {
            // SAFETY: it was registered here, and its thread withdraws under the lock that we hold.
            *wake = unsafe { queue.waiter(handle).claim(TIMED_OUT) };
            if wake.is_some() {
                queue.release(handle);
            }
            // Otherwise something else has ended the wait, and the thread comes to withdraw the
            // timer.
        }
        self.leave(queue);
        wakes.into_iter().take(due).flatten().for_each(wake);
        due
    }

    pub(crate) fn leave(&self, mut queue: SpinGuard<'_, Queue>) {
        let earliest = queue.earliest();
        if earliest != self.earliest() {
            self.earliest.store(earliest, Ordering::Relaxed);
        }
        // Memory is freed without the lock.
        let waste = queue.is_waste().then(|| std::mem::replace(&mut *queue, Queue::new()));
        drop(queue);
        drop(waste);
    }
}

/// The timers of which a worker has to notify the keeper or sysmon before it turns to another
/// thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unannounced {
    Nothing,
    /// The worker's own timers.
    Own,
    /// All timers, because the worker was the keeper.
    All,
}

/// What the timers of all workers have in common.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) epoch: Instant,
    pub(crate) watch: Watch,
}

impl Driver {
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now(), watch: Watch::new() }
    }

    pub(crate) fn when(&self, instant: Instant) -> When {
        let nanos = instant.saturating_duration_since(self.epoch).as_nanos();
        // A deadline 584 years after the start is as good as never, but is not `NEVER`.
        When::try_from(nanos).unwrap_or(NEVER - 1)
    }

    /// Returns the nanoseconds since the start.
    pub(crate) fn now(&self) -> When {
        self.when(Instant::now())
    }

    pub(crate) fn instant(&self, when: When) -> Option<Instant> {
        (when != NEVER).then(|| self.epoch + Duration::from_nanos(when))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::task::os_thread::OsThread;
    use std::ptr::NonNull;

    #[test]
    fn timers_fire_in_order_and_withdrawn_ones_do_not() {
        let timers = Timers::new();
        let me = OsThread::current();
        me.wait.arm();
        let waiter = Waiter::Os(NonNull::from(&*me));
        let fire = |now| {
            let mut wakes = Vec::new();
            let fired = timers.fire(now, &mut |wake| wakes.push(wake));
            (fired, wakes)
        };

        let (late, first) = timers.insert(60, waiter);
        assert!(first);
        let (soon, first) = timers.insert(10, waiter);
        assert!(first && timers.earliest() == 10);
        let (middle, first) = timers.insert(20, waiter);
        assert!(!first);
        timers.remove(soon);
        assert_eq!(timers.earliest(), 20);
        assert!(matches!(fire(19), (0, wakes) if wakes.is_empty()));
        assert!(matches!(fire(20), (1, wakes) if matches!(wakes[..], [Wake::Awake])));
        assert_eq!(me.wait.selected(), Some(TIMED_OUT));
        assert_eq!(timers.earliest(), 60);

        // Due, but something else has ended the wait: its owner withdraws the timer.
        assert!(matches!(fire(60), (1, wakes) if wakes.is_empty()));
        assert_eq!(timers.earliest(), NEVER);
        timers.remove(late);
        let (again, _) = timers.insert(70, waiter);
        assert!(again == late || again == middle || again == soon, "handles are used again");
        timers.remove(again);
    }

    #[test]
    fn a_far_deadline_is_not_mistaken_for_none() {
        let driver = Driver::new();
        let far = driver.when(Instant::now() + Duration::from_secs(1 << 40));
        assert!(far < NEVER && driver.instant(far).is_some());
        assert_eq!(driver.instant(NEVER), None);
    }
}
