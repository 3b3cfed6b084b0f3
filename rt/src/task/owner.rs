//! The owner of a task: an opaque pointer to its runtime, whose type the task does not know.

use std::ptr::NonNull;

/// A pointer to the runtime that a task belongs to. The runtime outlives its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(NonNull<()>);

impl Owner {
    pub(crate) fn of<T>(owner: &T) -> Self {
        Self(NonNull::from(owner).cast())
    }

    /// Returns the runtime.
    ///
    /// # Safety
    ///
    /// The owner was made from a `T`, which is alive as long as the result is used.
    #[inline]
    pub(crate) unsafe fn get<'a, T>(self) -> &'a T {
        // SAFETY: the caller guarantees that the pointer is to a live `T`.
        unsafe { self.0.cast().as_ref() }
    }
}
