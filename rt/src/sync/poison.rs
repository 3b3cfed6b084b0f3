//! Poisoning, like std's: a lock records that a thread panicked while it held the lock for writing.
//!
//! The flag is read and changed only by the holder of the lock, or where a stale value does no
//! harm. So `Relaxed` is enough.
//!
//! [`std::thread::panicking`] is a thread-local of the OS thread, which std reads in a function
//! that is not inlined, and only while a thread of the process panics. A guard may be created on
//! one OS thread and dropped on another. But a green thread does not move while it unwinds, and
//! nothing else runs on its OS thread then. So a guard's queries at its creation and at its drop
//! are about its own thread.

use std::sync::PoisonError;
use std::thread::panicking;

use crate::loom::{AtomicBool, Ordering, const_unless_loom};

#[derive(Debug)]
pub(super) struct Poison(AtomicBool);

impl Poison {
    const_unless_loom! {
        pub(super) const fn new() -> Self {
            Self(AtomicBool::new(false))
        }
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Returns `value`, as an error if the lock is poisoned.
    #[inline]
    pub(super) fn check<T>(&self, value: T) -> Result<T, PoisonError<T>> {
        if self.is_set() { Err(PoisonError::new(value)) } else { Ok(value) }
    }

    /// Sets the poison if the thread has begun to unwind while it held the lock. Called when the
    /// lock is released.
    #[inline]
    pub(super) fn released(&self, made: Calm) {
        if made.is_over() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Records that the thread was *not* unwinding when it took the lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calm(bool);

impl Calm {
    #[inline]
    pub(super) fn now() -> Self {
        Self(!panicking())
    }

    /// Returns `true` if the thread has begun to unwind since.
    #[inline]
    pub(super) fn is_over(self) -> bool {
        self.0 && panicking()
    }
}
