//! `LazyLock`, like std's: a [`Once`], with the function or the value that it has returned.
//!
//! Invariant: the content is `Made` when `once` is done, `Poisoned` when `once` is poisoned, and
//! `From` otherwise. The exception is the thread that runs `once`; no other thread touches the
//! content meanwhile.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::{fmt, mem};

use crate::loom::const_unless_loom;
use crate::sync::once::Once;

/// A value that is initialized on first use, like [`std::sync::LazyLock`].
///
/// If several threads use it at once, one of them initializes it, which may suspend, and the others
/// wait: green threads are parked, OS threads are blocked. If the initialization panics, the lock
/// is poisoned, and later uses panic too.
///
/// # Examples
///
/// ```
/// use gthread::sync::LazyLock;
///
/// static SQUARES: LazyLock<Vec<u32>> = LazyLock::new(|| (0..10).map(|n| n * n).collect());
///
/// let ninth = gthread::go!(|| SQUARES[9]);
/// assert_eq!(ninth.join().unwrap() + SQUARES[2], 85);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    content: UnsafeCell<Content<T, F>>,
}

enum Content<T, F> {
    From(F),
    Made(T),
    Poisoned,
}

// SAFETY: another thread gets the value by reference, so it must be `Sync`. That thread may create
// the value, and this one drop it, so it must be `Send`. The creating thread takes and calls the
// function, so that must be `Send`; it does so only once, so the function need not be `Sync`.
unsafe impl<T: Sync + Send, F: Send> Sync for LazyLock<T, F> {}

// As in std: a panic during initialization poisons the lock.
impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    const_unless_loom! {
        /// Creates a lock whose value is initialized by `f`.
        #[inline]
        pub const fn new(f: F) -> Self {
            Self { once: Once::new(), content: UnsafeCell::new(Content::From(f)) }
        }
    }

    /// Returns the value, and initializes it first if necessary. Dereferencing does the same.
    ///
    /// If another thread is initializing the value, waits for it: parks the green thread, a
    /// suspension point, or blocks the OS thread.
    ///
    /// # Panics
    ///
    /// If the initialization panics, or has panicked before. If the initialization itself uses the
    /// lock.
    #[inline]
    #[track_caller]
    pub fn force(this: &Self) -> &T {
        this.once.call_once_force(|state| {
            assert!(!state.is_poisoned(), "LazyLock instance has previously been poisoned");
            // SAFETY: `once` runs this closure and is not done, so no other thread accesses the
            // content.
            let content = unsafe { &mut *this.content.get() };
            let Content::From(f) = mem::replace(content, Content::Poisoned) else {
                unreachable!("made or poisoned, and `once` is neither")
            };
            *content = Content::Made(f());
        });
        this.made()
    }

    /// Returns the value, and initializes it first if necessary. Unlike [`force`](LazyLock::force)
    /// it never waits for another thread, because the exclusive borrow proves that no other thread
    /// uses the lock. Stable in std since Rust 1.94.
    ///
    /// # Panics
    ///
    /// If the initialization panics, or has panicked before.
    #[inline]
    #[track_caller]
    pub fn force_mut(this: &mut Self) -> &mut T {
        Self::force(this);
        Self::get_mut(this).expect("it was made")
    }
}

impl<T, F> LazyLock<T, F> {
    /// Returns the value, if it is initialized. Never blocks. Stable in std since Rust 1.94.
    #[inline]
    pub fn get(this: &Self) -> Option<&T> {
        this.once.is_completed().then(|| this.made())
    }

    /// Returns the value; `once` is done.
    #[inline]
    fn made(&self) -> &T {
        debug_assert!(self.once.is_completed());
        // SAFETY: `once` is done, so no thread writes the content while the lock is borrowed.
        match unsafe { &*self.content.get() } {
            Content::Made(value) => value,
            _ => unreachable!("`once` is done"),
        }
    }

    /// Returns the value, if it is initialized. Stable in std since Rust 1.94.
    #[inline]
    pub fn get_mut(this: &mut Self) -> Option<&mut T> {
        match this.content.get_mut() {
            Content::Made(value) => Some(value),
            _ => None,
        }
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    /// See [`LazyLock::force`].
    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        Self::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    /// See [`LazyLock::force_mut`].
    #[inline]
    #[track_caller]
    fn deref_mut(&mut self) -> &mut T {
        Self::force_mut(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    /// Creates a lock whose value is initialized by `T::default`.
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("LazyLock");
        match Self::get(self) {
            Some(value) => debug.field(value),
            None => debug.field(&format_args!("<uninit>")),
        };
        debug.finish()
    }
}
