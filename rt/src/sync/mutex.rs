//! `Mutex`, like std's.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, TryLockError, TryLockResult};

use crate::loom::const_unless_loom;
use crate::sync::poison::Calm;
use crate::sync::raw_mutex::RawMutex;
use crate::wait::park::may_suspend;

/// A mutual exclusion lock around data, like [`std::sync::Mutex`].
///
/// A green thread that waits for it is parked, an OS thread is blocked; both kinds may wait for the
/// same lock. The lock may be held across suspension points: it belongs to the thread, green or
/// not, on whatever OS thread that runs. Locking it again in the thread that holds it deadlocks.
///
/// A thread that panics while it holds the lock *poisons* it: from then on `lock` and `try_lock`
/// return an error, which contains the guard. The rules and the error types are std's.
///
/// # Fairness
///
/// A free lock is taken by the first thread that comes, which keeps short critical sections fast.
/// So a thread that was just woken may find the lock taken again. After it has lost twice, the lock
/// is handed over to it. Waiting threads get the lock in the order in which they came.
///
/// # Size and cost
///
/// Two words and the data. Without contention, `lock` is one atomic read-modify-write, and
/// unlocking is a store and a fence. Where the kernel has `membarrier(2)`, unlocking is a store
/// without a fence once the lock was unlocked 8,192 times without a thread to wake. The first
/// thread that waits after that pays a few microseconds for it.
///
/// # Examples
///
/// ```
/// use gthread::go;
/// use gthread::sync::Mutex;
///
/// static TOTAL: Mutex<u64> = Mutex::new(0);
///
/// gthread::run(|| {
///     let threads: Vec<_> = (1..=10).map(|n| go!(move || *TOTAL.lock().unwrap() += n)).collect();
///     threads.into_iter().for_each(|thread| thread.join().unwrap());
/// });
/// assert_eq!(*TOTAL.lock().unwrap(), 55);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    data: UnsafeCell<T>,
}

// SAFETY: the data are sent along with the mutex, so they must be `Send`.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: another thread reaches the data only through a guard, so one thread at a time; that
// thread may also move them out. So the data must be `Send`, and need not be `Sync`.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

// As in std: the poison guards data that a panic may have left inconsistent.
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    const_unless_loom! {
        /// Creates a mutex that is free.
        #[inline]
        pub const fn new(data: T) -> Self {
            Self { raw: RawMutex::new(), data: UnsafeCell::new(data) }
        }
    }

    /// Takes the data out. Never blocks: the mutex is owned, so no thread holds the lock.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned; the data are in the error.
    pub fn into_inner(self) -> LockResult<T> {
        let data = self.data.into_inner();
        self.raw.poison.check(data)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the lock is free, and takes it. Parks the green thread, a suspension point, or
    /// blocks the OS thread.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned; the guard is in the error.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let site = Location::caller();
        may_suspend(site);
        self.raw.lock(site);
        self.guard()
    }

    /// Takes the lock if it is free. Never blocks.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if it is not free, or is reserved for a waiting thread;
    /// [`TryLockError::Poisoned`], with the guard inside, if the mutex is poisoned.
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.try_lock() { Ok(self.guard()?) } else { Err(TryLockError::WouldBlock) }
    }

    /// Creates the guard; the calling thread has just taken the lock.
    #[inline]
    fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        let guard = MutexGuard { mutex: self, calm: Calm::now(), _of_one_thread: PhantomData };
        self.raw.poison.check(guard)
    }

    /// Returns `true` if the mutex is poisoned. If another thread holds the lock, this may change
    /// at any time.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.raw.poison.is_set()
    }

    /// Clears the poison, once the data are known to be consistent again.
    pub fn clear_poison(&self) {
        self.raw.poison.clear();
    }

    /// Returns the data without locking: the exclusive borrow proves that no thread holds the lock.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned; the reference is in the error.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let Self { raw, data } = self;
        raw.poison.check(data.get_mut())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => debug.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => debug.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => debug.field("data", &format_args!("<locked>")),
        };
        debug.field("poisoned", &self.is_poisoned()).finish_non_exhaustive()
    }
}

/// A guard that gives access to the data of a [`Mutex`], and unlocks it when it is dropped. Like
/// [`std::sync::MutexGuard`].
///
/// It moves with its green thread from one OS thread to another, but not to another thread: like
/// std's it is not `Send`.
///
/// ```compile_fail,E0277
/// let mutex = gthread::sync::Mutex::new(1);
/// gthread::scope(|s| {
///     let guard = mutex.lock().unwrap();
///     s.spawn(move || drop(guard));
/// });
/// ```
#[must_use = "if unused, the mutex is unlocked at once"]
pub struct MutexGuard<'a, T: ?Sized + 'a> {
    mutex: &'a Mutex<T>,
    calm: Calm,
    _of_one_thread: PhantomData<*const ()>,
}

// SAFETY: another thread that shares a guard reaches the data by reference, so they must be `Sync`.
// It can neither write them nor unlock, because both need the guard itself, which is not `Send`.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Returns the raw lock, for `Condvar`, which unlocks and locks it.
    pub(super) fn raw(&self) -> &'a RawMutex {
        &self.mutex.raw
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.mutex.raw.poison.is_set()
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread holds the lock, so the data are accessed only through the
        // guard, which is borrowed here.
        unsafe { &*self.mutex.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed exclusively here.
        unsafe { &mut *self.mutex.data.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.raw.poison.released(self.calm);
        self.mutex.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
