//! `Condvar`, as std's: a queue and nothing else.
//!
//! Why no notification is lost: who waits takes the word of the queue before it unlocks the mutex, and
//! releases it once it sleeps. Who locks the mutex after that, changes the condition and notifies, finds
//! the word taken or the waiter in it. That is also why `notify` may look without taking anything.
//!
//! Those who are notified lock the mutex for themselves. They are not moved to the mutex's queue instead
//! (*requeued*): green threads that were notified together run one after the other on a worker, and each
//! finds the mutex free.

use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

use crate::loom::const_unless_loom;
use crate::sync::mutex::MutexGuard;
use crate::sync::raw_mutex::RawMutex;
use crate::sync::word::{Place, QueueWord, Taken};
use crate::task::wait_info::Reason;
use crate::task::wait_state::TIMED_OUT;
use crate::wait::park::{self, Wait};
use crate::wait::queue::WOKEN;

/// A condition variable, as [`std::sync::Condvar`]: threads wait for something that others change under a
/// [`Mutex`](crate::sync::Mutex).
///
/// Green threads that wait are parked, OS threads blocked; both kinds may wait for the same one. A waiter is
/// woken by a notification, or by its timeout, and not otherwise; but others may have been quicker to lock
/// the mutex, so the condition must be looked at again, as [`wait_while`](Condvar::wait_while) does.
/// Notifications are for those who wait at that moment, the longest first; they are not kept.
///
/// Unlike std's on some platforms, it may be used with several mutexes at once.
///
/// # Examples
///
/// ```
/// use gthread::go;
/// use gthread::sync::{Condvar, Mutex};
///
/// static READY: Mutex<bool> = Mutex::new(false);
/// static CHANGED: Condvar = Condvar::new();
///
/// go!(|| {
///     *READY.lock().unwrap() = true;
///     CHANGED.notify_one();
/// });
/// let ready = CHANGED.wait_while(READY.lock().unwrap(), |ready| !*ready).unwrap();
/// assert!(*ready);
/// ```
pub struct Condvar {
    queue: QueueWord,
}

impl Condvar {
    const_unless_loom! {
        /// A condition variable that nobody waits for.
        #[must_use]
        #[inline]
        pub const fn new() -> Self {
            Self { queue: QueueWord::new() }
        }
    }

    /// Unlocks the mutex, waits for a notification, and locks the mutex again.
    ///
    /// Nothing comes between the unlocking and the waiting: a notification by whoever locks the mutex next
    /// reaches the caller. Parks the green thread, a suspension point, or blocks the OS thread.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned when it is locked again; the guard is in the error.
    #[track_caller]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let site = Location::caller();
        relocked(self.wait_until(guard, None, site).0)
    }

    /// [Waits](Condvar::wait) as long as `condition` holds: not at all, if it does not.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condvar::wait).
    #[track_caller]
    pub fn wait_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// [Waits](Condvar::wait) for no longer than `ms` milliseconds; the result is false if that was the end
    /// of it.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condvar::wait).
    #[deprecated(note = "replaced by `wait_timeout`, as in std")]
    #[track_caller]
    pub fn wait_timeout_ms<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        ms: u32,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let not_timed_out = |(guard, result): (_, WaitTimeoutResult)| (guard, !result.timed_out());
        match self.wait_timeout(guard, Duration::from_millis(u64::from(ms))) {
            Ok(pair) => Ok(not_timed_out(pair)),
            Err(error) => Err(PoisonError::new(not_timed_out(error.into_inner()))),
        }
    }

    /// [Waits](Condvar::wait) for no longer than `timeout`. Locking the mutex again may take longer.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condvar::wait).
    #[track_caller]
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        // A deadline that is not representable is not reached either.
        let deadline = Instant::now().checked_add(timeout);
        let (guard, timed_out) = self.wait_until(guard, deadline, Location::caller());
        with_result(relocked(guard), WaitTimeoutResult(timed_out))
    }

    /// [Waits](Condvar::wait) as long as `condition` holds, but for no longer than `timeout`. The result says
    /// that it timed out if the condition still held when the time was over.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condvar::wait).
    #[track_caller]
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        let deadline = Instant::now().checked_add(timeout);
        let mut timed_out = false;
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if timed_out {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            (guard, timed_out) = self.wait_until(guard, deadline, Location::caller());
            guard = match relocked(guard) {
                Ok(guard) => guard,
                poisoned => return with_result(poisoned, WaitTimeoutResult(timed_out)),
            };
        }
    }

    /// Wakes the thread that waits longest, if any does. Never blocks; whoever changes the condition may, but
    /// need not, hold the mutex.
    #[inline]
    pub fn notify_one(&self) {
        if !self.queue.is_idle() {
            self.notify(1);
        }
    }

    /// Wakes all threads that wait. Never blocks.
    #[inline]
    pub fn notify_all(&self) {
        if !self.queue.is_idle() {
            self.notify(usize::MAX);
        }
    }

    #[cold]
    fn notify(&self, most: usize) {
        self.queue.take().wake_many(most, WOKEN);
    }

    /// Unlocks, waits, locks: true if the deadline ended it.
    fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> (MutexGuard<'a, T>, bool) {
        // Panics if the thread must not wait, and then it is still a guard that is dropped.
        let (queue, wait) = Wait::in_queue(self.queue.take(), deadline, site);
        let wait = wait.interruptible();
        // While the mutex may be another's it is none: if locking it again unwinds, as in the child of a `fork` that
        // lacks the thread which has it, this thread does not unlock it.
        let guard = ManuallyDrop::new(guard);
        let timed_out = self.sleep(queue, wait, guard.raw(), deadline, site);
        let guard = ManuallyDrop::into_inner(guard);
        if timed_out && deadline.is_none() {
            // With the mutex locked, and so poisoned.
            park::interrupted(site);
        }
        (guard, timed_out)
    }

    /// Unlocks, sleeps in the queue, locks: true if the deadline ended it. If it unwinds, the mutex is not the caller's.
    #[inline(never)]
    fn sleep(
        &self,
        mut queue: Taken<'_>,
        wait: Wait,
        mutex: &RawMutex,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> bool {
        let mut place = Place::new(wait.waiter(), 0);
        let place = NonNull::from(&mut place);
        // SAFETY: the place stays in this frame until it was claimed or removed below.
        unsafe { queue.push(place) };
        // With the word taken: who notifies waits for us to sleep.
        mutex.unlock();
        let mut op = wait.park_unlocking_or_withdraw(queue, Reason::Condvar, deadline, site);
        if op == TIMED_OUT {
            // SAFETY: pushed above, and alive.
            unsafe { self.queue.take().remove(place) };
            op = wait.withdrawn();
        }
        if op == TIMED_OUT {
            mutex.lock(site);
        } else {
            mutex.relock(&self.queue, site);
        }
        op == TIMED_OUT
    }
}

/// The guard of a mutex that was unlocked and locked again.
fn relocked<T>(guard: MutexGuard<'_, T>) -> LockResult<MutexGuard<'_, T>> {
    if guard.is_poisoned() { Err(PoisonError::new(guard)) } else { Ok(guard) }
}

fn with_result<T>(
    guard: LockResult<MutexGuard<'_, T>>,
    result: WaitTimeoutResult,
) -> LockResult<(MutexGuard<'_, T>, WaitTimeoutResult)> {
    match guard {
        Ok(guard) => Ok((guard, result)),
        Err(error) => Err(PoisonError::new((error.into_inner(), result))),
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

/// Whether a wait with a timeout timed out. As [`std::sync::WaitTimeoutResult`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was over.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync::Mutex;
    use loom::sync::Arc;
    use loom::thread;

    struct Shared {
        number: Mutex<usize>,
        changed: Condvar,
    }

    impl Shared {
        fn new() -> Arc<Self> {
            Arc::new(Self { number: Mutex::new(0), changed: Condvar::new() })
        }

        fn add(&self, number: usize) {
            *self.number.lock().unwrap() += number;
        }

        fn take(&self) {
            let number = self.number.lock().unwrap();
            *self.changed.wait_while(number, |number| *number == 0).unwrap() -= 1;
        }

        /// Looks and waits once, until a deadline that has passed: true if it was notified.
        fn look_and_time_out(&self) -> bool {
            let number = self.number.lock().unwrap();
            *number == 0 && !self.changed.wait_timeout(number, Duration::ZERO).unwrap().1.0
        }

        fn assert_at_rest(&self, number: usize) {
            assert_eq!(*self.number.try_lock().expect("nobody has the mutex"), number);
            assert!(self.changed.queue.is_idle(), "nobody waits");
        }
    }

    fn spawn(shared: &Arc<Shared>, run: impl FnOnce(&Shared) + 'static) -> thread::JoinHandle<()> {
        let shared = Arc::clone(shared);
        thread::spawn(move || run(&shared))
    }

    /// With a bound, because a waiter has many steps. A lost notification would be a deadlock.
    fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(model);
    }

    #[test]
    fn notified_after_the_mutex_was_unlocked() {
        check(3, || {
            let shared = Shared::new();
            let taker = spawn(&shared, Shared::take);
            shared.add(1);
            shared.changed.notify_one();
            taker.join().unwrap();
            shared.assert_at_rest(0);
        });
    }

    #[test]
    fn notified_with_the_mutex_locked() {
        check(3, || {
            let shared = Shared::new();
            let taker = spawn(&shared, Shared::take);
            let mut number = shared.number.lock().unwrap();
            *number += 1;
            shared.changed.notify_one();
            drop(number);
            taker.join().unwrap();
            shared.assert_at_rest(0);
        });
    }

    #[test]
    fn two_are_notified_one_by_one() {
        check(1, || {
            let shared = Shared::new();
            let takers = [(); 2].map(|()| spawn(&shared, Shared::take));
            shared.add(2);
            shared.changed.notify_one();
            shared.changed.notify_one();
            takers.into_iter().for_each(|taker| taker.join().unwrap());
            shared.assert_at_rest(0);
        });
    }

    #[test]
    fn two_are_notified_together() {
        check(1, || {
            let shared = Shared::new();
            let takers = [(); 2].map(|()| spawn(&shared, Shared::take));
            shared.add(2);
            shared.changed.notify_all();
            takers.into_iter().for_each(|taker| taker.join().unwrap());
            shared.assert_at_rest(0);
        });
    }

    /// A wait that says it timed out has had no notification: it went to the other.
    #[test]
    fn one_that_times_out_takes_no_notification_along() {
        check(1, || {
            let shared = Shared::new();
            let quitter = spawn(&shared, |shared| {
                if shared.look_and_time_out() {
                    shared.changed.notify_one();
                }
            });
            let taker = spawn(&shared, Shared::take);
            shared.add(1);
            shared.changed.notify_one();
            quitter.join().unwrap();
            taker.join().unwrap();
            shared.assert_at_rest(0);
        });
    }
}
