//! `RwLock`, as std's.

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

/// A lock around data that many may read at once, or one write, as [`std::sync::RwLock`].
///
/// Who waits for it is parked, if it is a green thread, and blocked, if it is an OS thread; both kinds may
/// wait for the same lock. It may be held across suspension points.
///
/// A thread that panics while it holds the lock for *writing* poisons it, as with std's.
///
/// # Fairness
///
/// Neither readers nor writers starve. A reader joins those who read, unless somebody waits: then it waits
/// too, so a thread that holds the lock for reading and asks for it again may deadlock. When the lock becomes
/// free, the longest waiting get it: readers all that follow each other in the queue, a writer as with
/// [`Mutex`](crate::sync::Mutex).
///
/// # Size and cost
///
/// Two words and the data. Alone, locking and unlocking are one atomic read-modify-write each.
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

// SAFETY: with the lock go the data, so they must be `Send`.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: another thread reaches the data by guards alone: by reference, beside others, as a reader, so they must be
// `Sync`; alone as a writer, which may also move them out, so they must be `Send`.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

// As std: what a panic may have left half done is behind the poison.
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

impl<T> RwLock<T> {
    const_unless_loom! {
        /// A lock that is free.
        #[inline]
        pub const fn new(data: T) -> Self {
            Self { raw: RawRwLock::new(), data: UnsafeCell::new(data) }
        }
    }

    /// Takes the data out. Never blocks: who has the `RwLock` itself knows that nobody holds it.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the data are in the error.
    pub fn into_inner(self) -> LockResult<T> {
        let Self { raw, data } = self;
        check(&raw, data.into_inner())
    }
}

/// `value`, as an error if the lock is poisoned.
#[inline]
fn check<V>(raw: &RawRwLock, value: V) -> LockResult<V> {
    if raw.is_poisoned() { Err(PoisonError::new(value)) } else { Ok(value) }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until the lock can be had for reading, and takes it: parks the green thread, a suspension
    /// point, or blocks the OS thread.
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the guard is in the error.
    ///
    /// # Panics
    ///
    /// If 2³⁰ − 2 guards of readers are there already, as with std's.
    #[inline]
    #[track_caller]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        let site = Location::caller();
        may_suspend(site);
        self.raw.read(site);
        check(&self.raw, RwLockReadGuard::new(self))
    }

    /// Takes the lock for reading, if nobody writes or waits. Never blocks.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if it cannot be had now, be it that there are as many readers as there can be;
    /// [`TryLockError::Poisoned`], with the guard inside, if the lock is poisoned.
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.raw.try_read() {
            Ok(check(&self.raw, RwLockReadGuard::new(self))?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Waits until the lock can be had for writing, and takes it: parks the green thread, a suspension
    /// point, or blocks the OS thread.
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
    /// [`TryLockError::WouldBlock`] if it is not free, or promised to one that waits;
    /// [`TryLockError::Poisoned`], with the guard inside, if the lock is poisoned.
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        match self.raw.try_write() {
            Some(writer) => Ok(check(&self.raw, RwLockWriteGuard::new(self, writer))?),
            None => Err(TryLockError::WouldBlock),
        }
    }

    /// Whether the lock is poisoned: as of now, if another thread holds it.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.raw.is_poisoned()
    }

    /// Takes the poison away, once the data are known to be in order again.
    pub fn clear_poison(&self) {
        self.raw.clear_poison();
    }

    /// The data, without locking: the borrow proves that nobody holds the lock.
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

/// The right to read the data of an [`RwLock`]; dropped, it unlocks. As [`std::sync::RwLockReadGuard`].
///
/// Not `Send`, as std's: it goes with its thread.
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
    /// Not a reference: the guard is dropped, and the data may be written, while its borrow lasts. And so
    /// that the guard of a longer-lived type may be used as one of a shorter-lived.
    data: NonNull<T>,
    raw: &'a RawRwLock,
}

// SAFETY: another thread that shares a guard reaches the data by reference, so they must be `Sync`. It cannot unlock,
// since that needs the guard itself, which is not `Send`.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// Of one that has just taken the lock for reading.
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
        // SAFETY: the guard's thread has the lock for reading, so nobody writes, and the lock is borrowed.
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

/// The right to write the data of an [`RwLock`]; dropped, it unlocks. As [`std::sync::RwLockWriteGuard`].
///
/// Not `Send`, as std's: it goes with its thread.
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

// SAFETY: as for one that reads. Another thread cannot write either, by a shared guard.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Of one that has just taken the lock for writing.
    #[inline]
    fn new(lock: &'a RwLock<T>, writer: Writer) -> Self {
        Self { lock, writer, calm: Calm::now(), _of_one_thread: PhantomData }
    }

    /// Makes a read guard of a write guard. Nobody writes in between, and readers that wait may come in.
    ///
    /// Never blocks. An associated function, so that it does not hide a method of the data; stable in std
    /// since Rust 1.92.
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
        // It must not unlock.
        let guard = ManuallyDrop::new(s);
        guard.lock.raw.downgrade(guard.writer);
        RwLockReadGuard::new(guard.lock)
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread has the lock for writing, so the data are borrowed through the guard
        // alone.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`, and the guard is borrowed for good.
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
