//! `RwLock`, like std's.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

use crate::loom::const_unless_loom;
use crate::sync::poison::Calm;
use crate::sync::raw_rwlock::{RawRwLock, Writer};
use crate::wait::park::may_suspend;

/// A lock around data that many threads may read at once, or one may write, like
/// [`std::sync::RwLock`].
///
/// A green thread that waits for it is parked, an OS thread is blocked; both kinds may wait for the
/// same lock. It may be held across suspension points.
///
/// A thread that panics while it holds the lock for *writing* poisons it, as with std's.
///
/// # Fairness
///
/// Neither readers nor writers starve. A new reader joins the current readers, unless a thread
/// waits: then the reader waits too. So a thread that holds the lock for reading and locks it for
/// reading again may deadlock. A free lock goes to the thread that has waited longest. If that is a
/// reader, all readers that directly follow it in the queue get the lock too; a writer gets it as
/// with [`Mutex`](crate::sync::Mutex).
///
/// # Size and cost
///
/// Two words and the data. Without contention, locking and unlocking are one atomic
/// read-modify-write each.
///
/// # Examples
///
/// ```
/// use gthread::go;
/// use gthread::sync::RwLock;
///
/// static NAMES: RwLock<Vec<String>> = RwLock::new(Vec::new());
///
/// NAMES.write().unwrap().push("green".into());
/// let lengths = [0, 0].map(|_| go!(|| NAMES.read().unwrap()[0].len()));
/// assert_eq!(lengths.map(|length| length.join().unwrap()), [5, 5]);
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock,
    data: UnsafeCell<T>,
}

// SAFETY: the data are sent along with the lock, so they must be `Send`.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: another thread reaches the data only through guards. As a reader it has a reference
// beside others, so the data must be `Sync`. As the only writer it may also move them out, so they
// must be `Send`.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

// As in std: the poison guards data that a panic may have left inconsistent.
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

impl<T> RwLock<T> {
    const_unless_loom! {
        /// Creates a lock that is free.
        #[inline]
        pub const fn new(data: T) -> Self {
            Self { raw: RawRwLock::new(), data: UnsafeCell::new(data) }
        }
    }

    /// Takes the data out. Never blocks: the `RwLock` is owned, so no thread holds it.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the data are in the error.
    pub fn into_inner(self) -> LockResult<T> {
        let Self { raw, data } = self;
        check(&raw, data.into_inner())
    }
}

/// Returns `value`, as an error if the lock is poisoned.
#[inline]
fn check<V>(raw: &RawRwLock, value: V) -> LockResult<V> {
    if raw.is_poisoned() { Err(PoisonError::new(value)) } else { Ok(value) }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until the lock can be had for reading, and takes it. Parks the green thread, a
    /// suspension point, or blocks the OS thread.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the guard is in the error.
    ///
    /// # Panics
    ///
    /// If there are 2³⁰ − 2 read guards already, as with std's.
    #[inline]
    #[track_caller]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        let site = Location::caller();
        may_suspend(site);
        self.raw.read(site);
        check(&self.raw, RwLockReadGuard::new(self))
    }

    /// Takes the lock for reading, if no thread writes or waits. Never blocks.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if it cannot be had now, also if there are as many readers as
    /// there can be; [`TryLockError::Poisoned`], with the guard inside, if the lock is poisoned.
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.raw.try_read() {
            Ok(check(&self.raw, RwLockReadGuard::new(self))?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Waits until the lock can be had for writing, and takes it. Parks the green thread, a
    /// suspension point, or blocks the OS thread.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the guard is in the error.
    #[inline]
    #[track_caller]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        let site = Location::caller();
        may_suspend(site);
        let writer = self.raw.write(site);
        check(&self.raw, RwLockWriteGuard::new(self, writer))
    }

    /// Takes the lock for writing, if it is free. Never blocks.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if it is not free, or is reserved for a waiting thread;
    /// [`TryLockError::Poisoned`], with the guard inside, if the lock is poisoned.
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        match self.raw.try_write() {
            Some(writer) => Ok(check(&self.raw, RwLockWriteGuard::new(self, writer))?),
            None => Err(TryLockError::WouldBlock),
        }
    }

    /// Returns `true` if the lock is poisoned. If another thread holds the lock, this may change at
    /// any time.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.raw.is_poisoned()
    }

    /// Clears the poison, once the data are known to be consistent again.
    pub fn clear_poison(&self) {
        self.raw.clear_poison();
    }

    /// Returns the data without locking: the exclusive borrow proves that no thread holds the lock.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the reference is in the error.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let Self { raw, data } = self;
        check(raw, data.get_mut())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => debug.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => debug.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => debug.field("data", &format_args!("<locked>")),
        };
        debug.field("poisoned", &self.is_poisoned()).finish_non_exhaustive()
    }
}

/// A guard that gives read access to the data of an [`RwLock`], and unlocks it when it is dropped.
/// Like [`std::sync::RwLockReadGuard`].
///
/// Not `Send`, like std's: it stays with its thread.
///
/// ```compile_fail,E0277
/// let lock = gthread::sync::RwLock::new(1);
/// gthread::scope(|s| {
///     let guard = lock.read().unwrap();
///     s.spawn(move || drop(guard));
/// });
/// ```
#[must_use = "if unused, the lock is released at once"]
pub struct RwLockReadGuard<'a, T: ?Sized + 'a> {
    /// A pointer and not a reference: while the borrow lasts the guard may be dropped, and the data
    /// be written. It also makes the guard covariant in `T`.
    data: NonNull<T>,
    raw: &'a RawRwLock,
}

// SAFETY: another thread that shares a guard reaches the data by reference, so they must be `Sync`.
// It cannot unlock, because that needs the guard itself, which is not `Send`.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// Creates the guard; the calling thread has just taken the lock for reading.
    #[inline]
    fn new(lock: &'a RwLock<T>) -> Self {
        // SAFETY: the pointer of a cell is not null.
        let data = unsafe { NonNull::new_unchecked(lock.data.get()) };
        Self { data, raw: &lock.raw }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread has the lock for reading, so no thread writes, and the guard
        // borrows the lock.
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.raw.unlock_read();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A guard that gives write access to the data of an [`RwLock`], and unlocks it when it is dropped.
/// Like [`std::sync::RwLockWriteGuard`].
///
/// Not `Send`, like std's: it stays with its thread.
///
/// ```compile_fail,E0277
/// let lock = gthread::sync::RwLock::new(1);
/// gthread::scope(|s| {
///     let guard = lock.write().unwrap();
///     s.spawn(move || drop(guard));
/// });
/// ```
#[must_use = "if unused, the lock is released at once"]
pub struct RwLockWriteGuard<'a, T: ?Sized + 'a> {
    lock: &'a RwLock<T>,
    writer: Writer,
    calm: Calm,
    _of_one_thread: PhantomData<*const ()>,
}

// SAFETY: as for the read guard. With a shared write guard, another thread cannot write either.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Creates the guard; the calling thread has just taken the lock for writing.
    #[inline]
    fn new(lock: &'a RwLock<T>, writer: Writer) -> Self {
        Self { lock, writer, calm: Calm::now(), _of_one_thread: PhantomData }
    }

    /// Turns a write guard into a read guard. No thread writes in between, and waiting readers may
    /// come in.
    ///
    /// Never blocks. An associated function, so that it does not hide a method of the data. Stable
    /// in std since Rust 1.92.
    ///
    /// # Examples
    ///
    /// ```
    /// use gthread::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut writes = lock.write().unwrap();
    /// *writes = 2;
    /// let reads = RwLockWriteGuard::downgrade(writes);
    /// assert_eq!((*reads, *lock.read().unwrap()), (2, 2));
    /// ```
    pub fn downgrade(s: Self) -> RwLockReadGuard<'a, T> {
        // The write guard must not unlock.
        let guard = ManuallyDrop::new(s);
        guard.lock.raw.downgrade(guard.writer);
        RwLockReadGuard::new(guard.lock)
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread has the lock for writing, so the data are accessed only
        // through the guard, which is borrowed here.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed exclusively here.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.calm.is_over() {
            self.lock.raw.poison();
        }
        self.lock.raw.unlock_write(self.writer);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
