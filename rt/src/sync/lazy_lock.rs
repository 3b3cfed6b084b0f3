//! `LazyLock`, as std's: a [`Once`], and what it is made from or what it has made.
//!
//! Invariant: the content is `Made` when `once` is done, `Poisoned` when `once` is, and else `From`, except for
//! who runs `once`, who alone touches it.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::{fmt, mem};

use crate::loom::const_unless_loom;
use crate::sync::once::Once;

/// A value that is made when it is first used, as [`std::sync::LazyLock`].
///
/// Of several who come at once one makes it, which may suspend, and the others wait: green threads are parked,
/// OS threads blocked. If making it panics, it is poisoned: who uses it then panics too.
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

// SAFETY: another thread gets the value by reference, so it must be `Sync`; it may make it, where this one drops it, so it
// must be `Send`; and then it takes and calls the function, which must be `Send`. Once only, so that need not be `Sync`.
unsafe impl<T: Sync + Send, F: Send> Sync for LazyLock<T, F> {}

// As std: a panic while it is made poisons it.
impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    const_unless_loom! {
        /// One that `f` will make.
        #[inline]
        pub const fn new(f: F) -> Self {
            Self { once: Once::new(), content: UnsafeCell::new(Content::From(f)) }
        }
    }

    /// The value, made now if it was not. Waits for whoever makes it already: parks the green thread, a
    /// suspension point, or blocks the OS thread. What dereferencing does.
    ///
    /// # Panics
    ///
    /// If making it panics, or did. If it is used while it is made, by what makes it.
    #[inline]
    #[track_caller]
    pub fn force(this: &Self) -> &T {
        this.once.call_once_force(|state| {
            assert!(!state.is_poisoned(), "LazyLock instance has previously been poisoned");
            // SAFETY: `once` runs this and is not done, so the content is this thread's alone.
            let content = unsafe { &mut *this.content.get() };
            let Content::From(f) = mem::replace(content, Content::Poisoned) else {
                unreachable!("made or poisoned, and `once` is neither")
            };
            *content = Content::Made(f());
        });
        this.made()
    }

    /// The value, made now if it was not. As [`force`](LazyLock::force), but waits for nobody, since the borrow
    /// proves that nobody is at it. Stable in std since Rust 1.94.
    ///
    /// # Panics
    ///
    /// If making it panics, or did.
    #[inline]
    #[track_caller]
    pub fn force_mut(this: &mut Self) -> &mut T {
        Self::force(this);
        Self::get_mut(this).expect("it was made")
    }
}

impl<T, F> LazyLock<T, F> {
    /// The value, if it was made. Never blocks. Stable in std since Rust 1.94.
    #[inline]
    pub fn get(this: &Self) -> Option<&T> {
        this.once.is_completed().then(|| this.made())
    }

    /// After `once` is done.
    #[inline]
    fn made(&self) -> &T {
        debug_assert!(self.once.is_completed());
        // SAFETY: `once` is done, so nobody writes while the lock is borrowed.
        match unsafe { &*self.content.get() } {
            Content::Made(value) => value,
            _ => unreachable!("`once` is done"),
        }
    }

    /// The value, if it was made. Stable in std since Rust 1.94.
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

    /// As [`LazyLock::force`].
    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        Self::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    /// As [`LazyLock::force_mut`].
    #[inline]
    #[track_caller]
    fn deref_mut(&mut self) -> &mut T {
        Self::force_mut(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    /// One that `T::default` will make.
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
