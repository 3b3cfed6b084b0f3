//! References to tasks, and how a task ends: its result is handed over and its memory given back.
//!
//! Invariants:
//! - The thread that gives up the last reference (`join_state.rs`) frees the control block, and
//!   gives the slot back.
//! - By then the task has finished, on its stack too, and its result was taken or dropped. Nothing
//!   else ends a task: a dump may look at any task that has begun (`join_state.rs`).
//! - The runtime exists until it has the slot back.

use std::panic::Location;

use gthread_arch::stacks::Slot;

use crate::task::after::After;
use crate::task::header::{TaskRef, Waiter};
use crate::task::owner::Owner;

/// The remains of a freed task, for its runtime to take back.
#[must_use = "a slot that is not taken back stays in use"]
pub(crate) struct Freed {
    pub(crate) owner: Owner,
    pub(crate) slot: Slot,
    /// The place where the task was spawned.
    pub(crate) site: &'static Location<'static>,
}

impl TaskRef {
    /// Gives up one reference. Frees the task if it was the last, and returns its remains.
    ///
    /// # Safety
    ///
    /// The caller holds the reference, and does not use the task afterwards.
    #[must_use]
    pub(crate) unsafe fn release(self) -> Option<Freed> {
        // SAFETY: that was the last reference. References go last, so the result was taken or
        // dropped.
        self.join.release().then(|| unsafe { self.free() })
    }

    /// Does the same as [`TaskRef::release`] for a reference that is likely the last: no atomic
    /// write if it is.
    ///
    /// # Safety
    ///
    /// Same as [`TaskRef::release`].
    #[inline]
    #[must_use]
    pub(crate) unsafe fn release_last(self) -> Option<Freed> {
        // SAFETY: the caller holds the reference and does not use the task afterwards. If it is the
        // only one, nothing else uses the task either.
        unsafe { if self.join.is_unique() { Some(self.free()) } else { self.release() } }
    }

    /// Returns `true` if the task has dropped its result itself, on its own stack.
    pub(crate) fn has_dropped_result(self) -> bool {
        self.result_dropped.get()
    }

    /// Gives a task another fiber, to drop its result on its own stack: a task that was detached
    /// after its closure had returned. The task is runnable then.
    ///
    /// # Safety
    ///
    /// Called by the worker that finishes the task, which has the fiber. The result was neither
    /// taken nor dropped.
    #[cold]
    pub(crate) unsafe fn wind_up_again(self) {
        // SAFETY: the task has its slot until it is freed. Its fiber has finished, and uses the
        // stack no more.
        let stack = unsafe { Self::stack_in(self.slot(), self.0, &self.cell) };
        // SAFETY: the stack is that of the task, which has run its closure and is suspended
        // nowhere. The fiber is the caller's and has finished. Of the old fiber only the copy is
        // used, because a fiber's drop does nothing.
        unsafe {
            self.fiber.get().read().retire();
            self.fiber.get().write((self.cell.vtable().wind_up)(stack, self.0.as_ptr().cast()));
        }
    }

    /// Marks a task done whose result was dropped, and gives up its own reference. Frees the task
    /// if it was the last.
    ///
    /// # Safety
    ///
    /// Same as [`TaskRef::release`]. Called by the worker that finishes the task.
    #[must_use]
    pub(crate) unsafe fn end(self) -> Option<Freed> {
        // SAFETY: that was the last reference, and the result was dropped.
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
        // SAFETY: no other thread has the task. It has finished, so its fiber has. Of the fiber
        // only the copy is used, because a fiber's drop does nothing. The cell's content is gone,
        // and the cell is freed once, last.
        unsafe {
            self.fiber.get().read().retire();
            (*self.0.as_ptr()).body.cell.free();
            self.0.drop_in_place();
        }
        Freed { owner, slot, site }
    }

    /// Takes the result out of the task.
    ///
    /// # Safety
    ///
    /// The task is done, and the caller holds the join handle's reference. `T` is the type that the
    /// task was made with. The result was neither taken nor dropped.
    pub(crate) unsafe fn take_result<T>(self) -> std::thread::Result<T> {
        // SAFETY: the caller guarantees the type, that the entry has ended, and that the result is
        // there.
        unsafe { self.cell.take_result() }
    }

    /// Drops the result in place. Aborts the process if that panics, like std.
    ///
    /// # Safety
    ///
    /// Same as [`TaskRef::take_result`].
    pub(crate) unsafe fn drop_result(self) {
        // SAFETY: the content is a result that was neither taken nor dropped, says the caller, and
        // it is not used again. The vtable is of its type.
        unsafe { (self.cell.vtable().drop_result)(self.cell.content()) };
    }

    /// Takes the callback to run after the task has finished. Called by the worker that finishes
    /// it.
    #[inline]
    pub(crate) fn take_after(self) -> Option<After> {
        self.after.take()
    }

    /// Puts the callback back, for a task that has not finished after all.
    pub(crate) fn put_after(self, after: Option<After>) {
        self.after.set(after);
    }

    /// Leaves the joiner's waiter for the finisher.
    ///
    /// # Safety
    ///
    /// The caller holds the join handle and has not registered yet.
    pub(crate) unsafe fn set_joiner(self, waiter: Waiter) {
        // SAFETY: until it registers the joiner, the field belongs to the handle's holder, the
        // caller.
        unsafe { *self.joiner.get() = Some(waiter) };
    }

    /// Returns the waiter that [`set_joiner`](Self::set_joiner) left.
    ///
    /// # Safety
    ///
    /// The caller is the finisher, and saw the joiner registered. The joiner has not been woken
    /// yet.
    pub(crate) unsafe fn joiner(self) -> Waiter {
        // SAFETY: the joiner is registered, so the field belongs to the finisher, the caller. A
        // joiner that was not woken has not left.
        unsafe { *self.joiner.get() }.expect("a registered joiner is set")
    }
}
