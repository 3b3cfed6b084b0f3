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
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

use super::mutex::MutexGuard;
use super::raw_mutex::RawMutex;
use super::word::{Place, QueueWord};
use crate::park::{self, Wait};
use crate::prim::const_unless_loom;
use crate::task::Reason;
use crate::task::state::TIMED_OUT;
use crate::wait::WOKEN;

/// A condition variable, as [`std::sync::Condvar`]: threads wait for something that others change under a
/// [`Mutex`](super::Mutex).
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
        if self.wait_until(guard.raw(), None, site) {
            // With the mutex locked, and so poisoned.
            park::interrupted(site);
        }
        relocked(guard)
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
        let timed_out = self.wait_until(guard.raw(), deadline, Location::caller());
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
            timed_out = self.wait_until(guard.raw(), deadline, Location::caller());
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
    #[inline(never)]
    fn wait_until(
        &self,
        mutex: &RawMutex,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> bool {
        let queue = self.queue.take();
        let (mut queue, wait) = Wait::in_queue(queue, deadline, site);
        let wait = wait.interruptible();
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
