//! `Semaphore`: so many permits, for those who ask first.
//!
//! ```text
//!   state   permits | WAITING        queue   who waits (word.rs), no flags, each with the number it needs
//! ```
//!
//! Permits that are free while nobody waits are taken with one compare-and-swap. Who finds too few, or somebody
//! waiting, sets `WAITING` in one step with seeing that, and queues; from then on whoever gives permits back
//! sees `WAITING`, and gives them to the first in the queue, as soon as there are enough for it.
//!
//! Nobody barges in: who needs many would never see them together. So permits change hands in order, and a
//! semaphore of one permit is a slower lock than a mutex.
//!
//! Invariants:
//! - A thread enters the queue, with the word taken, after it has set `WAITING`. The flag is what the queue says
//!   whenever the word is released.
//! - While somebody waits, there are fewer permits than the first needs, but for a moment in which somebody is on
//!   its way to see to it.

use std::fmt;
use std::panic::Location;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use super::word::{Place, QueueWord, Taken, Wakes};
use crate::park::{self, Wait, may_suspend};
use crate::prim::{AtomicUsize, Ordering, const_unless_loom};
use crate::sched;
use crate::task::Reason;
use crate::task::state::TIMED_OUT;
use crate::wait::WOKEN;

const WAITING: usize = 1;
const PERMIT: usize = 2;

/// A number of permits that threads take and give back: a limit on how many do something at once.
///
/// Green threads that wait for a permit are parked, OS threads blocked. Permits are given in the order in
/// which they were asked for, also to who asks for many at once: nobody is overtaken.
///
/// std has none; the names are tokio's. There is no `close`: what is to end may be told so by a channel.
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
/// A permit may be given back by another thread than took it:
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
        /// A semaphore with so many permits.
        ///
        /// # Panics
        ///
        /// If they are more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
        #[must_use]
        pub const fn new(permits: usize) -> Self {
            assert!(permits <= Self::MAX_PERMITS, "too many permits");
            Self { state: AtomicUsize::new(permits * PERMIT), queue: QueueWord::new() }
        }
    }

    /// The permits that are free now.
    pub fn available_permits(&self) -> usize {
        self.state.load(Ordering::Relaxed) / PERMIT
    }

    /// Waits for a permit: parks the green thread, a suspension point, or blocks the OS thread.
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> SemaphorePermit<'_> {
        self.acquire_many(1)
    }

    /// Waits for so many permits at once. More than there will ever be are waited for for ever.
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

    /// Takes a permit if one is free and nobody waits. Never blocks.
    #[inline]
    pub fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes so many permits if they are free and nobody waits. Never blocks.
    #[inline]
    pub fn try_acquire_many(&self, permits: usize) -> Option<SemaphorePermit<'_>> {
        self.try_take(permits).then(|| SemaphorePermit { semaphore: self, permits })
    }

    /// As [`acquire`](Semaphore::acquire), but gives up after `timeout`.
    #[inline]
    #[track_caller]
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<SemaphorePermit<'_>> {
        self.acquire_many_timeout(1, timeout)
    }

    /// As [`acquire_many`](Semaphore::acquire_many), but gives up after `timeout`.
    #[inline]
    #[track_caller]
    pub fn acquire_many_timeout(
        &self,
        permits: usize,
        timeout: Duration,
    ) -> Option<SemaphorePermit<'_>> {
        // A deadline that is not representable is not reached either.
        let deadline = || Instant::now().checked_add(timeout);
        let site = Location::caller();
        may_suspend(site);
        (self.try_take(permits) || self.wait(permits, deadline(), site))
            .then(|| SemaphorePermit { semaphore: self, permits })
    }

    /// Adds permits, for those who wait or will come. Never blocks.
    ///
    /// # Panics
    ///
    /// If there are more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS) then.
    #[inline]
    pub fn add_permits(&self, permits: usize) {
        let add = |state: usize| {
            let free = (state / PERMIT).checked_add(permits)?;
            (free <= Self::MAX_PERMITS).then_some(state + permits * PERMIT)
        };
        let added = self.state.fetch_update(Ordering::Release, Ordering::Relaxed, add);
        let before = added.expect("too many permits");
        if before & WAITING != 0 {
            self.give_out();
        }
    }

    /// Takes permits, if nobody waits.
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

    /// Takes permits if they can be had; otherwise enters the queue and sleeps: false if the deadline ended it.
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
        // SAFETY: the place stays in this frame until it was claimed or removed below.
        unsafe { queue.push(place) };
        if wait.park_unlocking_or_withdraw(queue, Reason::Semaphore, deadline, site) != TIMED_OUT {
            return true;
        }
        // SAFETY: pushed above, and alive.
        unsafe { self.queue.take().remove(place) };
        // It may have kept others from what is there.
        self.give_out();
        let claimed = wait.withdrawn() != TIMED_OUT;
        if !claimed && deadline.is_none() {
            park::interrupted(site);
        }
        claimed
    }

    /// Gives permits to those who wait, as far as they go.
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
            wakes.wake(sched::wake);
            if !more {
                return;
            }
        }
    }

    /// Gives the first in the queue its permits: false if there are too few, or there is no first.
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
            // It has timed out, or its runtime has ended.
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

/// Permits that were taken from a [`Semaphore`], and go back when this is dropped.
///
/// Not bound to the thread that took them: they may be sent to another.
#[must_use = "if unused, the permits go back at once"]
#[derive(Debug)]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

impl SemaphorePermit<'_> {
    /// Keeps the permits from going back. [`Semaphore::add_permits`] can replace them.
    pub fn forget(mut self) {
        self.permits = 0;
    }

    /// How many permits these are.
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
