//! A lock for a few instructions: one atomic read-modify-write to take, a store to release.
//!
//! For data that is locked briefly, and never across user code: wait queues. A thread that finds
//! the lock taken spins, then lets other OS threads run, then sleeps for short times. So a holder
//! that the kernel has preempted gets processor time even from a waiter of higher priority. There
//! is no queue, and fairness is left to chance.
//!
//! A green thread may suspend while it holds the lock; its worker releases it after the switch
//! ([`Guard::into_held`]). That is how a thread becomes visible as parked only once it is parked.
//!
//! The lock is one bit of a word. While it is taken, only its holder writes that word. The other
//! bits may have a meaning of their own (`sync::word` keeps a queue there).

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::loom::{AtomicUsize, Ordering, const_unless_loom};
use crate::util::backoff::Backoff;

pub(crate) const FREE: usize = 0;

/// The bit that is set while the lock is taken.
pub(crate) const TAKEN: usize = 1;

/// A spin lock around a value.
///
/// Invariant: the thread that has changed `state` from `FREE` to `TAKEN` has exclusive access to
/// `value` until it stores `FREE`, or another thread does on its behalf.
pub(crate) struct SpinLock<T> {
    state: AtomicUsize,
    value: UnsafeCell<T>,
}

// SAFETY: the value is sent along with the lock, and is `Send`.
unsafe impl<T: Send> Send for SpinLock<T> {}

// SAFETY: another thread reaches the value only through a guard, so one thread at a time; that
// thread may move it out and in. So the value must be `Send`, and need not be `Sync`.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    const_unless_loom! {
        pub(crate) const fn new(value: T) -> Self {
            Self { state: AtomicUsize::new(FREE), value: UnsafeCell::new(value) }
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> SpinGuard<'_, T> {
        if !self.try_take() {
            self.lock_contended();
        }
        // SAFETY: the lock was taken just now on this thread's behalf, and only its holder uses the
        // value.
        unsafe { SpinGuard::new(&self.state, &self.value) }
    }

    #[inline]
    fn try_take(&self) -> bool {
        self.state.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn lock_contended(&self) {
        let mut patience = Backoff::new();
        loop {
            if self.state.load(Ordering::Relaxed) == FREE && self.try_take() {
                return;
            }
            patience.wait();
        }
    }
}

impl<T> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SpinLock { .. }")
    }
}

/// The right to use the value of a lock, whose bit [`TAKEN`] in a word is set.
pub(crate) struct SpinGuard<'a, T> {
    word: &'a AtomicUsize,
    value: &'a UnsafeCell<T>,
}

impl<'a, T> SpinGuard<'a, T> {
    /// Creates a guard.
    ///
    /// # Safety
    ///
    /// The word is [`TAKEN`], on the caller's behalf. As long as it is, no other thread writes the
    /// word or uses the value.
    #[inline]
    pub(crate) unsafe fn new(word: &'a AtomicUsize, value: &'a UnsafeCell<T>) -> Self {
        Self { word, value }
    }
}

/// A guard whose lock may stay taken without the guard.
pub(crate) trait Guard {
    /// Keeps the lock taken, for [`Held::release`] to release.
    fn into_held(self) -> Held;
}

impl<T> Guard for SpinGuard<'_, T> {
    #[inline]
    fn into_held(self) -> Held {
        let held = Held::new(self.word);
        std::mem::forget(self);
        held
    }
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's owner has exclusive access to the value, by the contract of `new`.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed exclusively here.
        unsafe { &mut *self.value.get() }
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the lock is alive, because the guard borrows it; the guard's owner has taken it,
        // and releases it once.
        unsafe { Held::new(self.word).release() };
    }
}

/// A lock that stays taken while its holder is switched away from.
#[must_use = "a lock that is not released stays taken"]
#[derive(Debug)]
pub(crate) struct Held(NonNull<AtomicUsize>);

impl Held {
    /// Creates it from a word whose bit [`TAKEN`] the caller has set.
    #[inline]
    pub(crate) fn new(word: &AtomicUsize) -> Self {
        Self(NonNull::from(word))
    }

    /// Turns it into a number that owns it: not null, with the two lowest bits zero.
    #[inline]
    pub(crate) fn into_raw(self) -> usize {
        self.0.as_ptr() as usize
    }

    /// Turns the number back.
    ///
    /// # Safety
    ///
    /// `raw` comes from [`Held::into_raw`], and is used once.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: usize) -> Self {
        // SAFETY: `raw` is from `into_raw`, so it is the address of a reference and not null.
        Self(unsafe { NonNull::new_unchecked(raw as *mut AtomicUsize) })
    }

    /// Releases the lock.
    ///
    /// # Safety
    ///
    /// The lock is still alive. Once this has stored, it may be freed.
    #[inline]
    pub(crate) unsafe fn release(self) {
        // SAFETY: the caller guarantees that the lock is alive.
        let word = unsafe { self.0.as_ref() };
        // No other thread writes the word while it is taken, so a load and a store are enough.
        word.store(word.load(Ordering::Relaxed) & !TAKEN, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn one_at_a_time() {
        loom::model(|| {
            let lock = Arc::new(SpinLock::new(Checked::new(0)));
            let add = |lock: &SpinLock<Checked<usize>>| {
                // SAFETY: the lock is held; loom checks it.
                lock.lock().with_mut(|n| unsafe { *n += 1 });
            };
            let other = {
                let lock = Arc::clone(&lock);
                thread::spawn(move || add(&lock))
            };
            add(&lock);
            other.join().unwrap();
            // SAFETY: the lock is held; loom checks it.
            assert_eq!(lock.lock().with(|n| unsafe { *n }), 2);
        });
    }
}
