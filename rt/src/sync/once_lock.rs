//! `OnceLock`, like std's: a [`Once`] and the value that it creates.
//!
//! Invariant: once `once` is done, the value is there, and only an owner of the lock (`&mut`)
//! changes that. Before, only the thread that runs `once` touches the value.

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::loom::const_unless_loom;
use crate::sync::once::Once;

/// A cell that is written once, like [`std::sync::OnceLock`].
///
/// Green threads that wait for the value are parked, OS threads are blocked.
///
/// # Examples
///
/// ```
/// use gthread::sync::OnceLock;
///
/// static NAME: OnceLock<String> = OnceLock::new();
///
/// let waits = gthread::go!(|| NAME.wait().len());
/// assert_eq!(NAME.get_or_init(|| "green".into()), "green");
/// assert_eq!(NAME.set("other".into()), Err("other".into()));
/// assert_eq!(waits.join().unwrap(), 5);
/// ```
pub struct OnceLock<T> {
    once: Once,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: another thread gets the value by reference, so it must be `Sync`. It may set the value,
// and this one drop or take it, so it must be `Send`. The initializing function is called on the
// thread that passes it, so it need be neither.
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}

// As in std: a panic during initialization leaves it empty.
impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    const_unless_loom! {
        /// Creates an empty cell.
        #[must_use]
        #[inline]
        pub const fn new() -> Self {
            Self { once: Once::new(), value: UnsafeCell::new(None) }
        }
    }

    /// Returns the value, if it is there. Never blocks.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.once.is_completed() {
            // SAFETY: `once` is done, so no thread writes the value while the lock is borrowed.
            unsafe { (*self.value.get()).as_ref() }
        } else {
            None
        }
    }

    /// Returns the value, if it is there. The exclusive borrow proves that no other thread is about
    /// to write it.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }

    /// Waits until the value is there. Parks the green thread, a suspension point, or blocks the OS
    /// thread.
    ///
    /// # Panics
    ///
    /// If this very thread is initializing the value: see [`get_or_init`](OnceLock::get_or_init).
    #[inline]
    #[track_caller]
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.written()
    }

    /// Writes the value, if there is none. If another thread is writing one, waits for it: parks
    /// the green thread, a suspension point, or blocks the OS thread.
    ///
    /// # Errors
    ///
    /// Returns the given value, if there is another one already.
    ///
    /// # Panics
    ///
    /// See [`get_or_init`](OnceLock::get_or_init).
    #[inline]
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("run once"));
        value.map_or(Ok(()), Err)
    }

    /// Returns the value; if there is none, initializes it with the result of `f`.
    ///
    /// If several threads call this at once, one of them runs its `f`, which may suspend, and the
    /// others wait: parked, which is a suspension point, or blocked. If `f` panics, the panic
    /// propagates, the cell stays empty, and another call may try again.
    ///
    /// # Panics
    ///
    /// If `f` itself uses the value that it initializes.
    ///
    /// ```should_panic
    /// let cell = gthread::sync::OnceLock::new();
    /// cell.get_or_init(|| *cell.get_or_init(|| 1) + 1);
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_or_init<F: FnOnce() -> T>(&self, f: F) -> &T {
        self.once.call_once_force(|_| {
            let value = f();
            // SAFETY: `once` runs this closure and is not done, so no other thread accesses the
            // value.
            unsafe { *self.value.get() = Some(value) };
        });
        self.written()
    }

    /// Returns the value; `once` is done.
    #[inline]
    fn written(&self) -> &T {
        debug_assert!(self.once.is_completed());
        // SAFETY: `once` is done, so the value is there, and no thread writes it while the lock is
        // borrowed.
        unsafe { (*self.value.get()).as_ref().unwrap_unchecked() }
    }

    /// Returns the value, if it is there. Never blocks.
    #[inline]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value out, if it is there. The cell is empty then, and can be written again.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> Self {
        let cell = Self::new();
        let set = cell.set(value);
        debug_assert!(set.is_ok(), "it was empty");
        cell
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        self.get().map_or_else(Self::new, |value| Self::from(value.clone()))
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("OnceLock");
        match self.get() {
            Some(value) => debug.field(value),
            None => debug.field(&format_args!("<uninit>")),
        };
        debug.finish()
    }
}
