//! A deferred job: the second closure of a [`join`](crate::join) while the first one runs.
//!
//! The closure is in the caller's frame. In the end the caller calls it there, unless it has become
//! a green thread before.

use std::num::NonZeroU64;
use std::ptr::NonNull;

use gthread_arch::stacks::Slot;

use crate::task::header::TaskRef;
use crate::task::owner::Owner;

/// The part of the caller's frame that does not depend on the closure's type.
#[derive(Debug)]
pub(crate) struct StackJob {
    /// Makes the thread, and notes in the frame that it did.
    start: unsafe fn(NonNull<StackJob>, Owner, Slot, NonZeroU64) -> TaskRef,
}

/// A pointer to a deferred job. Its holder has exclusive use of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackJobRef(NonNull<StackJob>);

// SAFETY: another thread can compare the pointer, and make a green thread of the job, which is
// unsafe. That takes the closure out of the caller's frame, and `StackJob::new` requires that any
// thread may do it. Only the holder of the job uses the frame, and the job passes from one holder
// to the next under a lock (`jobs` in `runtime/remote.rs`).
unsafe impl Send for StackJobRef {}

impl StackJob {
    /// Creates the part of a frame that starts its closure with `start`.
    ///
    /// # Safety
    ///
    /// `start` may be called once, on any thread, with a pointer to the frame of which this becomes
    /// a part.
    pub(crate) unsafe fn new(
        start: unsafe fn(NonNull<StackJob>, Owner, Slot, NonZeroU64) -> TaskRef,
    ) -> Self {
        Self { start }
    }
}

impl StackJobRef {
    /// Creates a pointer to `job`.
    ///
    /// # Safety
    ///
    /// The job, and the frame that its function needs around it, stay in place until the job is
    /// taken back.
    pub(crate) unsafe fn new(job: NonNull<StackJob>) -> Self {
        Self(job)
    }

    /// Makes a green thread of the job, with this slot and id. The caller makes it runnable.
    ///
    /// # Safety
    ///
    /// The job was taken out of its list, or will be before any other thread can see it there.
    /// `owner` outlives the thread.
    pub(crate) unsafe fn start(self, owner: Owner, slot: Slot, id: NonZeroU64) -> TaskRef {
        // SAFETY: the frame stays in place (`new`). The caller has taken the job out, so it is
        // started once, which `StackJob::new` allows on any thread.
        unsafe { (self.0.as_ref().start)(self.0, owner, slot, id) }
    }
}
