//! `Semaphore`: a number of permits, given out in the order in which threads ask.
//!
//! ```text
//!   state   permits | WAITING
//!   queue   the waiting threads (word.rs), no flags, each with the number of permits that it needs
//! ```
//!
//! Free permits are taken with one compare-and-swap while no thread waits. A thread that finds too
//! few permits, or a waiting thread, sets `WAITING` in one step with seeing that, and queues. From
//! then on a thread that returns permits sees `WAITING`, and gives them to the first in the queue,
//! as soon as there are enough for it.
//!
//! There is no barging: a thread that needs many permits would never see them together. So permits
//! change hands in order, and a semaphore of one permit is a slower lock than a mutex.
//!
//! Invariants:
//! - A thread takes the word, sets `WAITING`, and then enters the queue. The flag agrees with the
//!   queue whenever the word is released.
//! - While a thread waits, there are fewer permits than the first waiter needs, except for a moment
//!   in which another thread is on its way to give them out.

use std::fmt;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::loom::{AtomicUsize, Ordering, const_unless_loom};
use crate::runtime::handle;
use crate::sync::word::{Place, QueueWord, Taken, Wakes};
use crate::task::wait_info::Reason;
use crate::task::wait_state::TIMED_OUT;
use crate::wait::park::{self, Wait, may_suspend};
use crate::wait::queue::WOKEN;

const TOO_MANY: &str = "a semaphore cannot have more than Semaphore::MAX_PERMITS permits";

const WAITING: usize = 1;
const PERMIT: usize = 2;

/// A number of permits that threads take and return: a limit on how many do something at once.
///
/// Green threads that wait for a permit are parked, OS threads are blocked. Permits are given out
/// in the order in which they were asked for, also to threads that ask for many at once: no thread
/// is overtaken.
///
/// std has no semaphore; the names are tokio's. There is no `close`: use a channel to notify
/// threads that are to end.
///
/// # Examples
///
/// ```
/// use gthread::sync::Semaphore;
///
/// static PRINTERS: Semaphore = Semaphore::new(2);
///
/// gthread::scope(|s| {
///     for _ in 0..10 {
///         s.spawn(|| {
///             let _printer = PRINTERS.acquire();
///             // At most two at once get here.
///         });
///     }
/// });
/// assert_eq!(PRINTERS.available_permits(), 2);
/// ```
///
/// A permit may be returned by another thread than the one that took it:
///
/// ```
/// use gthread::go;
/// use gthread::sync::Semaphore;
///
/// static LIMIT: Semaphore = Semaphore::new(100);
///
/// for _ in 0..1000 {
///     let permit = LIMIT.acquire();
///     go!(move || drop(permit));
/// }
/// ```
pub struct Semaphore {
    state: AtomicUsize,
    queue: QueueWord,
}

impl Semaphore {
    /// The most permits that a semaphore may have.
    pub const MAX_PERMITS: usize = usize::MAX >> 3;

    const_unless_loom! {
        /// Creates a semaphore with `permits` permits.
        ///
        /// # Panics
        ///
        /// If there are more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
        #[must_use]
        pub const fn new(permits: usize) -> Self {
            assert!(permits <= Self::MAX_PERMITS, "{}", TOO_MANY);
            Self { state: AtomicUsize::new(permits * PERMIT), queue: QueueWord::new() }
        }
    }

    /// Returns the number of permits that are free now.
    pub fn available_permits(&self) -> usize {
        self.state.load(Ordering::Relaxed) / PERMIT
    }

    /// Waits for a permit. Parks the green thread, a suspension point, or blocks the OS thread.
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> SemaphorePermit<'_> {
        self.acquire_many(1)
    }

    /// Waits for so many permits at once. If there will never be as many, waits without end.
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, permits: usize) -> SemaphorePermit<'_> {
        let site = Location::caller();
        may_suspend(site);
        if !self.try_take(permits) {
            self.wait(permits, None, site);
        }
        SemaphorePermit { semaphore: self, permits }
    }

    /// Takes a permit if one is free and no thread waits. Never blocks.
    #[inline]
    pub fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes so many permits if they are free and no thread waits. Never blocks.
    #[inline]
    pub fn try_acquire_many(&self, permits: usize) -> Option<SemaphorePermit<'_>> {
        self.try_take(permits).then(|| SemaphorePermit { semaphore: self, permits })
    }

    /// Like [`acquire`](Semaphore::acquire), but gives up after `timeout`.
    #[inline]
    #[track_caller]
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<SemaphorePermit<'_>> {
        self.acquire_many_timeout(1, timeout)
    }

    /// Like [`acquire_many`](Semaphore::acquire_many), but gives up after `timeout`.
    #[inline]
    #[track_caller]
    pub fn acquire_many_timeout(
        &self,
        permits: usize,
        timeout: Duration,
    ) -> Option<SemaphorePermit<'_>> {
        // A deadline that the clock cannot represent means no deadline.
        let deadline = || Instant::now().checked_add(timeout);
        let site = Location::caller();
        may_suspend(site);
        (self.try_take(permits) || self.wait(permits, deadline(), site))
            .then(|| SemaphorePermit { semaphore: self, permits })
    }

    /// Like [`acquire`](Semaphore::acquire), with a permit that keeps the semaphore alive, for
    /// closures that must be `'static`.
    ///
    /// # Examples
    ///
    /// ```
    /// use gthread::go;
    /// use gthread::sync::{Arc, Semaphore};
    ///
    /// let limit = Arc::new(Semaphore::new(100));
    /// let threads: Vec<_> = (0..1000)
    ///     .map(|n| {
    ///         // At most a hundred are alive at once.
    ///         let permit = Arc::clone(&limit).acquire_owned();
    ///         go!(move || {
    ///             let _permit = permit;
    ///             n
    ///         })
    ///     })
    ///     .collect();
    /// assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>(), 499_500);
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_owned(self: Arc<Self>) -> OwnedSemaphorePermit {
        self.acquire_many_owned(1)
    }

    /// Like [`acquire_many`](Semaphore::acquire_many), with permits that keep the semaphore alive.
    #[inline]
    #[track_caller]
    pub fn acquire_many_owned(self: Arc<Self>, permits: usize) -> OwnedSemaphorePermit {
        self.acquire_many(permits).forget();
        OwnedSemaphorePermit { semaphore: self, permits }
    }

    /// Like [`try_acquire`](Semaphore::try_acquire), with a permit that keeps the semaphore alive.
    #[inline]
    pub fn try_acquire_owned(self: Arc<Self>) -> Option<OwnedSemaphorePermit> {
        self.try_acquire_many_owned(1)
    }

    /// Like [`try_acquire_many`](Semaphore::try_acquire_many), with permits that keep the semaphore
    /// alive.
    #[inline]
    pub fn try_acquire_many_owned(self: Arc<Self>, permits: usize) -> Option<OwnedSemaphorePermit> {
        self.try_take(permits).then(|| OwnedSemaphorePermit { semaphore: self, permits })
    }

    /// Like [`acquire_timeout`](Semaphore::acquire_timeout), with a permit that keeps the semaphore
    /// alive.
    #[inline]
    #[track_caller]
    pub fn acquire_owned_timeout(
        self: Arc<Self>,
        timeout: Duration,
    ) -> Option<OwnedSemaphorePermit> {
        self.acquire_many_owned_timeout(1, timeout)
    }

    /// Like [`acquire_many_timeout`](Semaphore::acquire_many_timeout), with permits that keep the
    /// semaphore alive.
    #[inline]
    #[track_caller]
    pub fn acquire_many_owned_timeout(
        self: Arc<Self>,
        permits: usize,
        timeout: Duration,
    ) -> Option<OwnedSemaphorePermit> {
        self.acquire_many_timeout(permits, timeout)?.forget();
        Some(OwnedSemaphorePermit { semaphore: self, permits })
    }

    /// Adds permits, for waiting and for later threads. Never blocks.
    ///
    /// # Panics
    ///
    /// If that makes more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
    #[inline]
    #[track_caller]
    pub fn add_permits(&self, permits: usize) {
        let add = |state: usize| {
            let free = (state / PERMIT).checked_add(permits)?;
            (free <= Self::MAX_PERMITS).then_some(state + permits * PERMIT)
        };
        let added = self.state.fetch_update(Ordering::Release, Ordering::Relaxed, add);
        let before = added.expect(TOO_MANY);
        if before & WAITING != 0 {
            self.give_out();
        }
    }

    /// Takes permits, if there are enough and no thread waits.
    #[inline]
    fn try_take(&self, permits: usize) -> bool {
        loop {
            let state = self.state.load(Ordering::Relaxed);
            if state & WAITING != 0 || state / PERMIT < permits {
                return false;
            }
            if self.try_change(state, state - permits * PERMIT) {
                return true;
            }
        }
    }

    #[inline]
    fn try_change(&self, from: usize, to: usize) -> bool {
        self.state.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes permits if there are enough; otherwise enters the queue and sleeps. Returns `false` if
    /// the deadline ended the wait.
    #[cold]
    fn wait(
        &self,
        permits: usize,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> bool {
        let queue = self.queue.take();
        loop {
            let state = self.state.load(Ordering::Relaxed);
            if state & WAITING == 0 && state / PERMIT >= permits {
                if self.try_change(state, state - permits * PERMIT) {
                    return true;
                }
            } else if self.try_change(state, state | WAITING) {
                break;
            }
        }
        let (mut queue, wait) = Wait::in_queue(queue, deadline, site);
        let wait = wait.interruptible();
        let mut place = Place::new(wait.waiter(), permits);
        let place = NonNull::from(&mut place);
        // SAFETY: the place stays in this frame until it is claimed, or removed below.
        unsafe { queue.push(place) };
        if wait.park_unlocking_or_withdraw(queue, Reason::Semaphore, deadline, site) != TIMED_OUT {
            return true;
        }
        // SAFETY: the place was pushed to this queue above, and is alive.
        unsafe { self.queue.take().remove(place) };
        // The removed waiter may have kept the next ones from permits that are there.
        self.give_out();
        let claimed = wait.withdrawn() != TIMED_OUT;
        if !claimed && deadline.is_none() {
            park::interrupted(site);
        }
        claimed
    }

    /// Gives permits to waiting threads, as far as they go.
    #[cold]
    fn give_out(&self) {
        loop {
            let mut queue = self.queue.take();
            let mut wakes = Wakes::new();
            while !wakes.is_full() && self.give_first(&mut queue, &mut wakes) {}
            let more = wakes.is_full();
            if queue.len() == 0 {
                self.state.fetch_and(!WAITING, Ordering::Relaxed);
            }
            drop(queue);
            wakes.wake(handle::wake);
            if !more {
                return;
            }
        }
    }

    /// Gives the first in the queue its permits. Returns `false` if there are too few, or if the
    /// queue is empty.
    fn give_first(&self, queue: &mut Taken<'_>, wakes: &mut Wakes) -> bool {
        let Some(permits) = queue.first_note() else { return false };
        let take = |state: usize| {
            (state / PERMIT).checked_sub(permits).map(|left| (left * PERMIT) | (state & WAITING))
        };
        if self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).is_err() {
            return false;
        }
        match queue.claim_first(WOKEN) {
            Some(wake) => wakes.push(wake),
            // The waiter has timed out, or its runtime has ended.
            None => {
                self.state.fetch_add(permits * PERMIT, Ordering::Release);
            }
        }
        true
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available_permits", &self.available_permits())
            .finish_non_exhaustive()
    }
}

/// Permits that were taken from a [`Semaphore`], and are returned when this is dropped.
///
/// Not bound to the thread that took them: they may be sent to another thread.
#[must_use = "if unused, the permits go back at once"]
#[derive(Debug)]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

impl SemaphorePermit<'_> {
    /// Drops this without returning the permits. [`Semaphore::add_permits`] can replace them.
    pub fn forget(mut self) {
        self.permits = 0;
    }

    /// Returns the number of permits.
    #[must_use]
    pub fn num_permits(&self) -> usize {
        self.permits
    }
}

impl Drop for SemaphorePermit<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.permits > 0 {
            self.semaphore.add_permits(self.permits);
        }
    }
}

/// Permits that were taken from a [`Semaphore`] in an [`Arc`], and are returned when this is
/// dropped. They keep the semaphore alive.
///
/// Created by [`Semaphore::acquire_owned`] and its variants. Otherwise like [`SemaphorePermit`].
#[must_use = "if unused, the permits go back at once"]
#[derive(Debug)]
pub struct OwnedSemaphorePermit {
    semaphore: Arc<Semaphore>,
    permits: usize,
}

impl OwnedSemaphorePermit {
    /// Drops this without returning the permits. [`Semaphore::add_permits`] can replace them.
    pub fn forget(mut self) {
        self.permits = 0;
    }

    /// Returns the number of permits.
    #[must_use]
    pub fn num_permits(&self) -> usize {
        self.permits
    }
}

impl Drop for OwnedSemaphorePermit {
    #[inline]
    fn drop(&mut self) {
        if self.permits > 0 {
            self.semaphore.add_permits(self.permits);
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;

    struct Shared {
        semaphore: Semaphore,
        /// Written by threads that have all permits.
        number: Checked<usize>,
    }

    impl Shared {
        fn new(permits: usize) -> Arc<Self> {
            Arc::new(Self { semaphore: Semaphore::new(permits), number: Checked::new(0) })
        }

        fn write(&self) {
            // SAFETY: the caller has all permits, so no other thread accesses the number; loom
            // checks it.
            self.number.with_mut(|number| unsafe { *number += 1 });
        }

        fn assert_at_rest(&self, permits: usize) {
            let state = self.semaphore.state.load(Ordering::Relaxed);
            assert_eq!(state, permits * PERMIT, "all permits are back, no waiters");
            assert!(self.semaphore.queue.is_idle());
        }
    }

    /// Bounded, because a waiter has many steps. A lost wake would be a deadlock.
    fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(model);
    }

    /// Runs one thread for each element of `wanted`, which acquires so many of the permits.
    fn contend(preemptions: usize, permits: usize, wanted: &'static [usize]) {
        check(preemptions, move || {
            let shared = Shared::new(permits);
            let acquire = move |shared: &Shared, wanted: usize| {
                let _permit = shared.semaphore.acquire_many(wanted);
                if wanted == permits {
                    shared.write();
                }
            };
            let others: Vec<_> = wanted[1..]
                .iter()
                .map(|&wanted| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || acquire(&shared, wanted))
                })
                .collect();
            acquire(&shared, wanted[0]);
            others.into_iter().for_each(|other| other.join().unwrap());
            shared.assert_at_rest(permits);
        });
    }

    #[test]
    fn two_threads_want_the_one_permit() {
        contend(3, 1, &[1, 1]);
    }

    #[test]
    fn three_threads_want_the_one_permit() {
        contend(2, 1, &[1, 1, 1]);
    }

    #[test]
    fn one_wants_all_and_two_want_one() {
        contend(2, 2, &[2, 1, 1]);
    }

    /// The first in the queue needs two permits, and gives up: the thread behind it gets the one
    /// that there is.
    #[test]
    fn one_that_times_out_lets_the_next_by() {
        check(2, || {
            let shared = Shared::new(0);
            let quitter = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let permits = shared.semaphore.acquire_many_timeout(2, Duration::ZERO);
                    assert!(permits.is_none(), "there are never two");
                })
            };
            let taker = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.semaphore.acquire().forget())
            };
            shared.semaphore.add_permits(1);
            quitter.join().unwrap();
            taker.join().unwrap();
            shared.assert_at_rest(0);
        });
    }

    /// A permit that comes while its waiter gives up is not lost.
    #[test]
    fn one_that_times_out_as_its_permit_comes() {
        check(3, || {
            let shared = Shared::new(0);
            let quitter = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let permit = shared.semaphore.acquire_timeout(Duration::ZERO);
                    permit.map(SemaphorePermit::forget).is_some()
                })
            };
            shared.semaphore.add_permits(1);
            let took = quitter.join().unwrap();
            shared.assert_at_rest(usize::from(!took));
        });
    }
}
