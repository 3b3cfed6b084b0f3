//! What an idle worker sleeps in: today the timers, later also I/O readiness.
//!
//! Each worker has the timers of the green threads that began to wait on it ([`Timers`]): a queue under a
//! lock, and its earliest deadline in an atomic beside it, so that whether one is due costs no lock.
//! Withdrawing one takes the lock of the worker that has it.
//!
//! Who fires them: a worker its own, every few picks; all that are due, before it searches for work and
//! when it wakes up, and now and then besides. Of the sleeping workers one, the *keeper*, sleeps only
//! until the earliest deadline of all; and the monitor sees to what the workers are too busy for. Who of
//! the two sleeps until when, and who tells them of a new timer, is in [`watch`](super::watch).
//!
//! Invariants:
//! - A green thread has one timer at most, from before it commits to sleep until it has removed it or
//!   was fired; firing claims it under the lock.
//! - A worker inserts into its own timers only. Between an insertion and the next thing that the worker
//!   does, which is to go to sleep, or to run another thread after having told of it, no timer is
//!   inserted there that the first could hide.

use std::cell::LazyCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::remote::Remote;
use super::timers::{Handle, NEVER, Queue, When};
use super::watch::{GRACE, Tell, Watch};
use super::worker::Worker;
use super::{Sched, current, wake};
use crate::prim::{AtomicU64, Ordering};
use crate::spin::{SpinGuard, SpinLock};
use crate::task::state::TIMED_OUT;
use crate::task::{Waiter, Wake};

/// Timers fired in one go: then others get the lock, and what was woken can run.
const BATCH: usize = 64;

/// Names a registered timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerKey {
    /// The worker that has it.
    worker: u32,
    handle: Handle,
}

/// The timers of one worker.
#[derive(Debug)]
pub(super) struct Timers {
    queue: SpinLock<Queue>,
    /// The earliest deadline, or `NEVER`. Written under the lock.
    earliest: AtomicU64,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { queue: SpinLock::new(Queue::new()), earliest: AtomicU64::new(NEVER) }
    }

    fn earliest(&self) -> When {
        self.earliest.load(Ordering::Relaxed)
    }

    /// Registers an armed wait to be claimed with `TIMED_OUT`. Tells whether no other is due before.
    fn insert(&self, when: When, waiter: Waiter) -> (Handle, bool) {
        let mut queue = self.queue.lock();
        let handle = queue.insert(when, waiter);
        let first = when < self.earliest();
        if first {
            self.earliest.store(when, Ordering::Relaxed);
        }
        (handle, first)
    }

    /// Withdraws a timer whose wait was not ended by it. Afterwards the driver does not know the waiter.
    fn remove(&self, handle: Handle) {
        let mut queue = self.queue.lock();
        queue.remove(handle);
        self.leave(queue);
    }

    /// Ends waits that are due, up to a batch: how many.
    #[cold]
    fn fire(&self, now: When, wake: &mut impl FnMut(Wake)) -> usize {
        let mut queue = self.queue.lock();
        let mut handles = [0; BATCH];
        let mut due = 0;
        while let Some(handle) = handles.get_mut(due) {
            let Some(popped) = queue.pop_due(now) else { break };
            *handle = popped;
            due += 1;
        }
        // Of a million that sleep no thread is in any cache: each is fetched while the processor is at the others.
        let waiters = handles[..due].iter().map(|&handle| queue.waiter(handle));
        waiters.for_each(Waiter::prefetch);
        let mut wakes = [const { None }; BATCH];
        for (&handle, wake) in handles[..due].iter().zip(&mut wakes) {
            // SAFETY: it was registered here, and its thread withdraws under the lock that we hold.
            *wake = unsafe { queue.waiter(handle).claim(TIMED_OUT) };
            if wake.is_some() {
                queue.release(handle);
            }
            // Else something else has ended the wait, and the thread comes to withdraw the timer.
        }
        self.leave(queue);
        wakes.into_iter().take(due).flatten().for_each(wake);
        due
    }

    fn leave(&self, mut queue: SpinGuard<'_, Queue>) {
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

/// Of which timers a worker has to tell the keeper or the monitor, before it turns to another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untold {
    Nothing,
    /// Its own.
    Own,
    /// Those that it has kept: all.
    All,
}

/// What all workers' timers have in common.
#[derive(Debug)]
pub(super) struct Driver {
    epoch: Instant,
    watch: Watch,
}

impl Driver {
    pub(super) fn new() -> Self {
        Self { epoch: Instant::now(), watch: Watch::new() }
    }

    fn when(&self, instant: Instant) -> When {
        let nanos = instant.saturating_duration_since(self.epoch).as_nanos();
        // 584 years after the start is as good as never, but not never.
        When::try_from(nanos).unwrap_or(NEVER - 1)
    }

    /// Nanoseconds since the start.
    pub(super) fn now(&self) -> When {
        self.when(Instant::now())
    }

    fn instant(&self, when: When) -> Option<Instant> {
        (when != NEVER).then(|| self.epoch + Duration::from_nanos(when))
    }
}

/// The driver's part of the scheduler.
impl Sched {
    /// Registers an armed wait of the green thread that calls, to time out.
    pub(crate) fn insert_timer(&self, deadline: Instant, waiter: Waiter) -> TimerKey {
        let when = self.driver.when(deadline);
        current::with(|worker| {
            let worker = worker.expect("a green thread runs on a worker");
            debug_assert!(worker.serves(self));
            let (handle, first) = worker.core.remote.timers.insert(when, waiter);
            if first && worker.untold.get() == Untold::Nothing {
                worker.untold.set(Untold::Own);
            }
            TimerKey { worker: worker.index(), handle }
        })
    }

    /// Withdraws a timer that did not end its wait.
    pub(crate) fn remove_timer(&self, key: TimerKey) {
        self.remote(key.worker).timers.remove(key.handle);
    }

    /// Whether anybody waits for a time.
    pub(super) fn has_timers(&self) -> bool {
        self.earliest() != NEVER
    }

    /// The earliest deadline of all.
    fn earliest(&self) -> When {
        self.workers().map(|worker| worker.timers.earliest()).min().unwrap_or(NEVER)
    }

    /// Fires the timers of some workers that have been due for some time, up to a batch of each: how many.
    fn fire<'a>(
        &self,
        workers: impl Iterator<Item = &'a Arc<Remote>>,
        grace: When,
        mut wake: impl FnMut(Wake),
    ) -> usize {
        // The clock is read only if there are timers.
        let now = LazyCell::new(|| self.driver.now().saturating_sub(grace));
        let mut fired = 0;
        for timers in workers.map(|remote| &remote.timers) {
            let earliest = timers.earliest();
            if earliest != NEVER && earliest <= *now {
                fired += timers.fire(*now, &mut wake);
            }
        }
        fired
    }

    /// What the monitor does about timers that the workers are too busy for.
    pub(super) fn fire_late_timers(&self) {
        self.fire(self.workers(), GRACE, wake);
    }

    /// Makes the green threads runnable whose timers at this worker are due, for any worker.
    pub(super) fn inject_due(&self, worker: &Arc<Remote>) {
        let inject = |fired| match fired {
            Wake::Green(task) => self.inject(task),
            other => wake(other),
        };
        self.fire(std::iter::once(worker), 0, inject);
    }

    /// Returns `true` if a timer is due. Looks at the clock only if there are timers.
    pub(super) fn is_timer_due(&self) -> bool {
        let earliest = self.earliest();
        earliest != NEVER && earliest <= self.driver.now()
    }

    /// The monitor goes to sleep. Gives until when, `other` at the latest. To be undone with
    /// [`stop_watching`](Self::stop_watching).
    pub(super) fn watch_timers(&self, other: Option<Instant>) -> Option<Instant> {
        let other = other.map_or(NEVER, |at| self.driver.when(at));
        self.driver.instant(self.driver.watch.watch(other, || self.earliest()))
    }

    /// The monitor is awake.
    pub(super) fn stop_watching(&self) {
        self.driver.watch.unwatch();
    }
}

/// The driver's part of a worker.
impl Worker {
    /// Fires timers that are due, this worker's own or all workers': how many.
    pub(super) fn fire_timers(&self, all: bool) -> usize {
        // In the order of their deadlines: not to the hand-off slot, where the last would go first.
        let wake = |fired| match fired {
            Wake::Green(task) => self.push_ready(task),
            other => wake(other),
        };
        if all {
            self.sched.fire(self.sched.workers(), 0, wake)
        } else {
            self.sched.fire(std::iter::once(&self.core.remote), 0, wake)
        }
    }

    /// Tells of timers that are due before anybody would wake for them. Before the worker turns to
    /// another green thread, which may take long.
    #[inline]
    pub(super) fn tell_of_timers(&self) {
        if self.untold.get() != Untold::Nothing {
            self.tell();
        }
    }

    #[cold]
    fn tell(&self) {
        let when = match self.untold.replace(Untold::Nothing) {
            Untold::Nothing => NEVER,
            Untold::Own => self.core.remote.timers.earliest(),
            Untold::All => self.sched.earliest(),
        };
        if when == NEVER {
            return;
        }
        match self.sched.driver.watch.tell(when) {
            Tell::Nobody => {}
            Tell::Keeper(worker) => self.sched.remote(worker).parker.unpark(),
            Tell::Monitor => self.sched.monitor.rouse(),
        }
    }

    /// The worker goes to sleep. Gives until when it may, if it is to be the keeper.
    pub(super) fn keep_timers(&self) -> Option<Instant> {
        let sched = &self.sched;
        let until = sched.driver.watch.keep(self.index(), || sched.earliest());
        self.untold.set(Untold::Nothing);
        until.and_then(|until| sched.driver.instant(until))
    }

    /// The worker is awake, and if it was the keeper it will have to tell.
    pub(super) fn unkeep_timers(&self) {
        if self.sched.driver.watch.unkeep(self.index()) {
            self.untold.set(Untold::All);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::task::OsThread;
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

        // Due, but something else has ended the wait: the timer is its owner's to withdraw.
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
