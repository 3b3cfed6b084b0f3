//! A lock for a few instructions: one atomic read-modify-write to take, a store to release.
//!
//! For what is held shortly and never across user code: wait queues. Who finds it taken spins, then
//! lets other OS threads run, then sleeps for a little while, so that a holder that the kernel has
//! preempted gets its time even from a waiter of higher priority. There is no queue, so no fairness
//! but chance.
//!
//! A green thread may suspend while it holds the lock; its worker releases it after the switch
//! ([`Guard::into_held`]). That is how a thread becomes visible as parked only once it is.
//!
//! The lock is one bit of a word, and only its holder writes that word while it is taken: the other bits may mean
//! something (`sync::word` keeps a queue there).

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::loom::{AtomicUsize, Ordering, const_unless_loom};
use crate::util::backoff::Backoff;

pub(crate) const FREE: usize = 0;

/// The bit that is set while the lock is taken.
pub(crate) const TAKEN: usize = 1;

/// Invariant: whoever changed `state` from `FREE` to `TAKEN` has `value` to itself until it stores
/// `FREE`, or someone does in its name.
pub(crate) struct SpinLock<T> {
    state: AtomicUsize,
    value: UnsafeCell<T>,
}

// SAFETY: with the lock goes the value, which is `Send`.
unsafe impl<T: Send> Send for SpinLock<T> {}

// SAFETY: another thread reaches the value by a guard alone, so one at a time, which may move it out and in. So it need
// be `Send`, and no more.
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
        // SAFETY: just taken.
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

/// The right to use the value of a lock, of which one bit of a word is [`TAKEN`].
pub(crate) struct SpinGuard<'a, T> {
    word: &'a AtomicUsize,
    value: &'a UnsafeCell<T>,
}

impl<'a, T> SpinGuard<'a, T> {
    /// # Safety
    ///
    /// The word is [`TAKEN`], in the caller's name; until it is not, nobody else writes it or has the value.
    #[inline]
    pub(crate) unsafe fn new(word: &'a AtomicUsize, value: &'a UnsafeCell<T>) -> Self {
        Self { word, value }
    }
}

/// A guard whose lock may stay taken without it.
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
        // SAFETY: the guard's owner has the value to itself.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`.
        unsafe { &mut *self.value.get() }
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the guard's; and it borrows the lock.
        unsafe { Held::new(self.word).release() };
    }
}

/// A lock that stays taken while its holder is switched away from.
#[must_use = "a lock that is not released stays taken"]
#[derive(Debug)]
pub(crate) struct Held(NonNull<AtomicUsize>);

impl Held {
    /// Of a word whose bit [`TAKEN`] the caller has set.
    #[inline]
    pub(crate) fn new(word: &AtomicUsize) -> Self {
        Self(NonNull::from(word))
    }

    /// A number that stands for it: not null, its two lowest bits zero.
    #[inline]
    pub(crate) fn into_raw(self) -> usize {
        self.0.as_ptr() as usize
    }

    /// # Safety
    ///
    /// `raw` comes from [`Held::into_raw`], and is used once.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: usize) -> Self {
        // SAFETY: the caller's: it was made from a reference.
        Self(unsafe { NonNull::new_unchecked(raw as *mut AtomicUsize) })
    }

    /// # Safety
    ///
    /// The lock is still there. Once this has stored, it may be gone.
    #[inline]
    pub(crate) unsafe fn release(self) {
        // SAFETY: the caller's.
        let word = unsafe { self.0.as_ref() };
        // Nobody else writes it while it is taken.
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
            // SAFETY: as above.
            assert_eq!(lock.lock().with(|n| unsafe { *n }), 2);
        });
    }
}
