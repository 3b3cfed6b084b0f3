//! The second half of a [`join`](crate::join), while the first runs: a closure in the caller's frame, to be called
//! there in the end, or to become a green thread before.

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

/// A pointer to one. Whoever has it is the only one that may use the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackJobRef(NonNull<StackJob>);

// SAFETY: another thread can compare it, and make a green thread of the half, which is unsafe: that takes the closure out
// of the caller's frame, and `StackJob::new` says that it may be done on any thread. The frame is used by the owner of
// the half alone, and the half goes from one owner to the next by a lock (`sched/halves.rs`).
unsafe impl Send for StackJobRef {}

impl StackJob {
    /// # Safety
    ///
    /// `start` may be called once with a pointer to the frame that this becomes part of, on any thread.
    pub(crate) unsafe fn new(
        start: unsafe fn(NonNull<StackJob>, Owner, Slot, NonZeroU64) -> TaskRef,
    ) -> Self {
        Self { start }
    }
}

impl StackJobRef {
    /// # Safety
    ///
    /// The half, and what its function needs around it, stays where it is until it was taken back.
    pub(crate) unsafe fn new(job: NonNull<StackJob>) -> Self {
        Self(job)
    }

    /// Makes a green thread of it, with this slot and number, that is still to be made runnable.
    ///
    /// # Safety
    ///
    /// The half was taken out of the list that it was in, or is in it and will be taken out before anybody else
    /// can see it; and `owner` outlives the thread.
    pub(crate) unsafe fn start(self, owner: Owner, slot: Slot, id: NonZeroU64) -> TaskRef {
        // SAFETY: the caller's, and that of `StackJob::new`: taken out once, it is started once.
        unsafe { (self.0.as_ref().start)(self.0, owner, slot, id) }
    }
}
