//! A lock like [`SpinLock`](crate::util::spin_lock::SpinLock). A thread that is alone takes it by entering.
//!
//! Invariants, besides those of [`Sole`]:
//! - A thread that is alone takes `inside`, any other thread takes `user`: a bit of it says so, in
//!   all states except ENDING. While `user` is taken, only the thread that has taken it changes it.
//! - The thread that changes the state to SHARED has taken `user`.
//! - A green thread may suspend while it has the lock. Its worker then releases the word that was
//!   taken ([`Held`](crate::util::spin_lock::Held)), on the same OS thread, before anything else runs there.

use std::cell::UnsafeCell;

use crate::loom::{AtomicUsize, Ordering};
use crate::util::backoff::Backoff;
use crate::util::sole::{ALONE, ENDING, FIRST, SHARED, Sole, os_thread, regrets};
use crate::util::spin_lock::{SpinGuard, TAKEN};

/// The lock, followed by the value: as much as possible in one cache line. (Not aligned to a cache
/// line, which would make the allocation of a channel much slower.)
#[repr(C)]
pub(crate) struct SoleLock<T> {
    sole: Sole,
    value: UnsafeCell<T>,
}

// SAFETY: the value is sent along with the lock, and is `Send`. The lock knows its first user by a
// number, and stays sound when it is sent: the new owner visits it as another thread.
unsafe impl<T: Send> Send for SoleLock<T> {}
// SAFETY: another thread reaches the value only through a guard, so one thread at a time; that
// thread may move it out and in. So the value must be `Send`, and need not be `Sync`.
unsafe impl<T: Send> Sync for SoleLock<T> {}

impl<T> SoleLock<T> {
    /// Creates the lock with the calling OS thread as its first user.
    pub(crate) fn new(value: T) -> Self {
        Self { sole: Sole::new(), value: UnsafeCell::new(value) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> SpinGuard<'_, T> {
        let user = self.sole.user.load(Ordering::Relaxed);
        let word = self.try_lock(user).unwrap_or_else(|| self.lock_slowly());
        // SAFETY: the word was taken just now on this thread's behalf, and only its holder writes
        // it or uses the value.
        unsafe { SpinGuard::new(word, &self.value) }
    }

    /// Takes the lock if that is possible at once. Returns the word that was taken.
    #[inline(always)]
    fn try_lock(&self, user: usize) -> Option<&AtomicUsize> {
        let Sole { user: word, inside } = &self.sole;
        let take = || {
            let (new, old) = (Ordering::Acquire, Ordering::Relaxed);
            word.compare_exchange(user, user | TAKEN, new, old).is_ok().then_some(word)
        };
        if user == SHARED {
            return take();
        }
        if user == SHARED | TAKEN {
            return None;
        }
        let me = os_thread();
        if user == me | ALONE {
            return self.sole.try_inside(user).then_some(inside);
        }
        if user == me | FIRST {
            let taken = take();
            if taken.is_some() && self.sole.count() && self.sole.may_be_alone() {
                word.store(me | ALONE | TAKEN, Ordering::Relaxed);
            }
            return taken;
        }
        None
    }

    #[cold]
    fn lock_slowly(&self) -> &AtomicUsize {
        let word = &self.sole.user;
        let exchange = |old, new| {
            word.compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let mut patience = Backoff::new();
        loop {
            // Acquire, as `wait_until_outside` requires.
            let user = word.load(Ordering::Acquire);
            if let Some(taken) = self.try_lock(user) {
                return taken;
            }
            let me = os_thread();
            if user == ENDING {
                self.sole.wait_until_outside();
                if exchange(ENDING, TAKEN) {
                    regrets::add();
                    return word;
                }
            } else if user & (FIRST | TAKEN) == FIRST && user != me | FIRST {
                if exchange(user, TAKEN) {
                    return word;
                }
            } else if user & (ALONE | TAKEN) == ALONE && user != me | ALONE {
                exchange(user, ENDING);
            } else {
                // The lock is taken, or was until now, or its state has changed.
                patience.wait();
            }
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;

    /// The first user becomes alone and enters, while another thread visits.
    #[test]
    fn one_at_a_time_has_the_lock() {
        loom::model(|| {
            let lock = Arc::new(SoleLock::new(Checked::new(0)));
            let add = |lock: &SoleLock<Checked<usize>>| {
                // SAFETY: the lock is held; loom checks it.
                lock.lock().with_mut(|n| unsafe { *n += 1 });
            };
            let other = {
                let lock = Arc::clone(&lock);
                thread::spawn(move || add(&lock))
            };
            (0..3).for_each(|_| add(&lock));
            other.join().unwrap();
            // SAFETY: the lock is held; loom checks it.
            assert_eq!(lock.lock().with(|n| unsafe { *n }), 4);
        });
    }
}
