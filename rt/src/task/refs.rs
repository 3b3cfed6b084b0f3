//! How a task ends: what it leaves to others, and how its memory is given back.
//!
//! Invariants:
//! - Whoever gives up the last reference (`join.rs`) frees the control block, and gives the slot back.
//! - By then the task has finished, on its stack too, and its result was taken or dropped. Nothing else ends a task: one
//!   that has begun (`join.rs`) may be looked at by a dump.
//! - The scheduler is there until it has the slot back.

use std::panic::Location;

use gthread_arch::stacks::Slot;

use crate::task::after::After;
use crate::task::header::{TaskRef, Waiter};
use crate::task::owner::Owner;

/// What is left of a task that was freed, for its runtime to take back.
#[must_use = "a slot that is not taken back stays in use"]
pub(crate) struct Freed {
    pub(crate) owner: Owner,
    pub(crate) slot: Slot,
    /// Where the task was spawned.
    pub(crate) site: &'static Location<'static>,
}

impl TaskRef {
    /// Gives up one reference, freeing the slot with the last.
    ///
    /// # Safety
    ///
    /// The caller holds the reference, and does not use the task afterwards.
    #[must_use]
    pub(crate) unsafe fn release(self) -> Option<Freed> {
        // SAFETY: that was the last reference.
        self.join.release().then(|| unsafe { self.free() })
    }

    /// [`TaskRef::release`], of a reference that is likely the last: no atomic write if it is.
    ///
    /// # Safety
    ///
    /// As [`TaskRef::release`].
    #[inline]
    #[must_use]
    pub(crate) unsafe fn release_last(self) -> Option<Freed> {
        // SAFETY: the caller's.
        unsafe { if self.join.is_unique() { Some(self.free()) } else { self.release() } }
    }

    /// Whether the task has dropped its result itself, on its own stack.
    pub(crate) fn has_dropped_result(self) -> bool {
        self.result_dropped.get()
    }

    /// Gives a task that was detached after its closure had returned another fiber, to drop its result on its own stack: it
    /// is runnable then.
    ///
    /// # Safety
    ///
    /// By the worker that finishes the task, which has the fiber; the result was neither taken nor dropped.
    #[cold]
    pub(crate) unsafe fn wind_up_again(self) {
        // SAFETY: the task has its slot until it is freed, and its fiber, which has finished, uses the stack no more.
        let stack = unsafe { Self::stack_in(self.slot(), self.0, &self.packet) };
        // SAFETY: the stack is the task's, which has run its closure, and the fiber is the caller's. The copy of the one
        // before is the only one used, because a fiber's drop does nothing.
        unsafe {
            self.fiber.get().read().retire();
            self.fiber.get().write((self.packet.vtable().wind_up)(stack, self.0.as_ptr().cast()));
        }
    }

    /// Marks a task done whose result was dropped, and gives up its own reference.
    ///
    /// # Safety
    ///
    /// As [`TaskRef::release`], by the worker that finishes the task.
    #[must_use]
    pub(crate) unsafe fn end(self) -> Option<Freed> {
        // SAFETY: that was the last reference.
        self.join.end().then(|| unsafe { self.free() })
    }

    /// Frees the control block. Returns the slot, which goes back to the runtime.
    ///
    /// # Safety
    ///
    /// No reference is left, or the caller's is the only one; the result was dropped or taken.
    #[inline]
    pub(crate) unsafe fn free(self) -> Freed {
        let owner = self.owner;
        let slot = self.slot.take().expect("a task is freed once");
        let site = self.site;
        // SAFETY: nobody else has the task. It has finished, so its fiber has; the copy is the only one
        // used, because a fiber's drop does nothing. The packet's content is gone.
        unsafe {
            self.fiber.get().read().retire();
            (*self.0.as_ptr()).body.packet.free();
            self.0.drop_in_place();
        }
        Freed { owner, slot, site }
    }

    /// Takes the result out.
    ///
    /// # Safety
    ///
    /// The task is done, the caller holds the join handle's reference, `T` is the type it was made
    /// with, and the result was neither taken nor dropped.
    pub(crate) unsafe fn take_result<T>(self) -> std::thread::Result<T> {
        // SAFETY: the caller's.
        unsafe { self.packet.take_result() }
    }

    /// Drops the result where it is. Aborts the process if that panics, as std does.
    ///
    /// # Safety
    ///
    /// As for [`TaskRef::take_result`].
    pub(crate) unsafe fn drop_result(self) {
        // SAFETY: the caller's.
        unsafe { (self.packet.vtable().drop_result)(self.packet.content()) };
    }

    /// What is to be done after the task has finished. By the worker that finishes it.
    #[inline]
    pub(crate) fn take_after(self) -> Option<After> {
        self.after.take()
    }

    /// Gives that back: the task has not finished.
    pub(crate) fn put_after(self, after: Option<After>) {
        self.after.set(after);
    }

    /// Leaves the joiner's waiter for the finisher.
    ///
    /// # Safety
    ///
    /// The caller holds the join handle and has not registered yet.
    pub(crate) unsafe fn set_joiner(self, waiter: Waiter) {
        // SAFETY: the field is the handle holder's until it is registered.
        unsafe { *self.joiner.get() = Some(waiter) };
    }

    /// The waiter that [`set_joiner`](Self::set_joiner) left.
    ///
    /// # Safety
    ///
    /// The caller is the finisher, and saw the joiner registered; the joiner has not been woken yet.
    pub(crate) unsafe fn joiner(self) -> Waiter {
        // SAFETY: registered, so the field is ours.
        unsafe { *self.joiner.get() }.expect("a registered joiner is set")
    }
}
