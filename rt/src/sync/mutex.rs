//! `Mutex`, as std's.

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

/// A mutual exclusion lock around data, as [`std::sync::Mutex`].
///
/// Who waits for it is parked, if it is a green thread, and blocked, if it is an OS thread; both kinds may
/// wait for the same lock. The lock may be held across suspension points: it belongs to the thread, green
/// or not, wherever that runs. Locking it again in the thread that holds it deadlocks.
///
/// A thread that panics while it holds the lock *poisons* it: from then on `lock` and `try_lock` return an
/// error, which has the guard inside. The rules and the error types are std's.
///
/// # Fairness
///
/// A lock that is free is taken by whoever comes first, which keeps short critical sections fast: a thread
/// that was just woken may find it taken again. But not for long: after the second time, the lock is handed
/// over to it. Those who wait get it in the order in which they came.
///
/// # Size and cost
///
/// Two words and the data. Alone, `lock` is one atomic read-modify-write, unlocking a store and a fence; a store without
/// one after 8,192 times without anybody to wake, where the kernel has `membarrier(2)`. Who waits then first pays some
/// microseconds for that.
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

// SAFETY: with the mutex go the data, so they must be `Send`.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: another thread reaches the data by a guard alone, so one at a time, which may also move them out. So they
// need be `Send`, and no more.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

// As std: what a panic may have left half done is behind the poison.
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    const_unless_loom! {
        /// A mutex that is free.
        #[inline]
        pub const fn new(data: T) -> Self {
            Self { raw: RawMutex::new(), data: UnsafeCell::new(data) }
        }
    }

    /// Takes the data out. Never blocks: who has the mutex itself knows that nobody holds the lock.
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
    /// Waits until the lock is free, and takes it: parks the green thread, a suspension point, or blocks the
    /// OS thread.
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
    /// [`TryLockError::WouldBlock`] if it is not free, or promised to one that waits;
    /// [`TryLockError::Poisoned`], with the guard inside, if the mutex is poisoned.
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.try_lock() { Ok(self.guard()?) } else { Err(TryLockError::WouldBlock) }
    }

    /// The guard of who has just taken the lock.
    #[inline]
    fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        let guard = MutexGuard { mutex: self, calm: Calm::now(), _of_one_thread: PhantomData };
        self.raw.poison.check(guard)
    }

    /// Whether the mutex is poisoned: as of now, if another thread holds it.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.raw.poison.is_set()
    }

    /// Takes the poison away, once the data are known to be in order again.
    pub fn clear_poison(&self) {
        self.raw.poison.clear();
    }

    /// The data, without locking: the borrow proves that nobody holds the lock.
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

/// The right to use the data of a [`Mutex`]; dropped, it unlocks. As [`std::sync::MutexGuard`].
///
/// It goes with its green thread from one OS thread to another, but not to another thread: as std's it is
/// not `Send`.
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

// SAFETY: another thread that shares a guard reaches the data by reference, so they must be `Sync`. It can neither write
// them nor unlock, since both need the guard itself, which is not `Send`.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// For `Condvar`, which unlocks and locks.
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
        // SAFETY: the guard's thread has the lock, so the data are borrowed through the guard alone.
        unsafe { &*self.mutex.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`, and the guard is borrowed for good.
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
