//! `Condvar`, like std's: a queue and nothing else.
//!
//! Why no notification is lost: a waiting thread takes the word of the queue before it unlocks the
//! mutex, and releases the word once it sleeps. A thread that locks the mutex after that, changes
//! the condition and notifies, finds the word taken or the waiter in it. That is also why `notify`
//! may look at the word without taking anything.
//!
//! Notified threads lock the mutex themselves. They are not moved to the mutex's queue instead
//! (*requeued*): green threads that were notified together run one after the other on a worker, and
//! each finds the mutex free.

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

/// A condition variable, like [`std::sync::Condvar`]: threads wait for a change that others make
/// under a [`Mutex`](crate::sync::Mutex).
///
/// Green threads that wait are parked, OS threads are blocked; both kinds may wait for the same
/// one. A waiter is woken only by a notification or by its timeout. But another thread may have
/// locked the mutex first, so the condition must be checked again, as
/// [`wait_while`](Condvar::wait_while) does. A notification wakes threads that wait at that moment,
/// the longest-waiting first; it is not kept for later.
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
        /// Creates a condition variable without waiters.
        #[must_use]
        #[inline]
        pub const fn new() -> Self {
            Self { queue: QueueWord::new() }
        }
    }

    /// Unlocks the mutex, waits for a notification, and locks the mutex again.
    ///
    /// Unlocking and waiting are atomic: a notification by the next thread that locks the mutex
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

    /// [Waits](Condvar::wait) as long as `condition` holds; does not wait if it does not hold now.
    ///
    /// # Errors
    ///
    /// See [`wait`](Condvar::wait).
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

    /// [Waits](Condvar::wait) for no longer than `ms` milliseconds. The result is `false` if the
    /// wait timed out.
    ///
    /// # Errors
    ///
    /// See [`wait`](Condvar::wait).
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

    /// [Waits](Condvar::wait) for no longer than `timeout`. Locking the mutex again may take
    /// longer.
    ///
    /// # Errors
    ///
    /// See [`wait`](Condvar::wait).
    #[track_caller]
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        // A deadline that the clock cannot represent means no deadline.
        let deadline = Instant::now().checked_add(timeout);
        let (guard, timed_out) = self.wait_until(guard, deadline, Location::caller());
        with_result(relocked(guard), WaitTimeoutResult(timed_out))
    }

    /// [Waits](Condvar::wait) as long as `condition` holds, but for no longer than `timeout`. The
    /// result is a timeout if the condition still held when the time was over.
    ///
    /// # Errors
    ///
    /// See [`wait`](Condvar::wait).
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

    /// Wakes the thread that has waited longest, if there is one. Never blocks. The thread that
    /// changes the condition may hold the mutex, but need not.
    #[inline]
    pub fn notify_one(&self) {
        if !self.queue.is_idle() {
            self.notify(1);
        }
    }

    /// Wakes all waiting threads. Never blocks.
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

    /// Unlocks, waits, and locks again. Returns `true` if the deadline ended the wait.
    fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> (MutexGuard<'a, T>, bool) {
        // Panics if the thread must not wait; the guard then still unlocks the mutex when it is
        // dropped.
        let (queue, wait) = Wait::in_queue(self.queue.take(), deadline, site);
        let wait = wait.interruptible();
        // While another thread may hold the mutex, there is no guard. So if locking again unwinds,
        // this thread does not unlock the mutex. That happens in the child of a `fork` that lacks
        // the thread that holds it.
        let guard = ManuallyDrop::new(guard);
        let timed_out = self.sleep(queue, wait, guard.raw(), deadline, site);
        let guard = ManuallyDrop::into_inner(guard);
        if timed_out && deadline.is_none() {
            // Called with the mutex locked, so the panic poisons it.
            park::interrupted(site);
        }
        (guard, timed_out)
    }

    /// Unlocks, sleeps in the queue, and locks again. Returns `true` if the deadline ended the
    /// wait. If this unwinds, the caller does not hold the mutex.
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
        // SAFETY: the place stays in this frame until it is claimed, or removed below.
        unsafe { queue.push(place) };
        // The word is taken, so a notifying thread waits until this one sleeps.
        mutex.unlock();
        let mut op = wait.park_unlocking_or_withdraw(queue, Reason::Condvar, deadline, site);
        if op == TIMED_OUT {
            // SAFETY: the place was pushed to this queue above, and is alive.
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

/// Returns the guard of a mutex that was unlocked and locked again.
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

/// The result of a wait with a timeout, like [`std::sync::WaitTimeoutResult`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Returns `true` if the wait timed out.
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

        /// Checks the condition and waits once, until a deadline that has passed. Returns `true` if
        /// it was notified.
        fn look_and_time_out(&self) -> bool {
            let number = self.number.lock().unwrap();
            *number == 0 && !self.changed.wait_timeout(number, Duration::ZERO).unwrap().1.0
        }

        fn assert_at_rest(&self, number: usize) {
            assert_eq!(*self.number.try_lock().expect("the mutex is free"), number);
            assert!(self.changed.queue.is_idle(), "no thread waits");
        }
    }

    fn spawn(shared: &Arc<Shared>, run: impl FnOnce(&Shared) + 'static) -> thread::JoinHandle<()> {
        let shared = Arc::clone(shared);
        thread::spawn(move || run(&shared))
    }

    /// Bounded, because a waiter has many steps. A lost notification would be a deadlock.
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

    /// A wait that times out has consumed no notification: it went to the other thread.
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
