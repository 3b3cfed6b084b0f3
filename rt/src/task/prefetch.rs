//! Prefetching of control blocks and the tops of their stacks.
//!
//! Each green thread's stack is on pages of its own, so the first access to one that another processor
//! has written last, or that no cache has, takes a cache miss and a walk through the page tables. Where
//! many threads come in a row, the next are fetched while the processor is busy with the current one.

use std::ptr::NonNull;

use gthread_arch::stacks::Slot;

use crate::task::header::{Task, TaskRef, control_block_of};

impl TaskRef {
    /// Has the processor fetch what it takes to resume a small task, and to finish it.
    #[inline]
    pub(crate) fn prefetch(self) {
        /// Of the stack, which ends where the control block begins.
        const FRAMES: usize = 6;
        Self::fetch(self.as_ptr().cast(), FRAMES, gthread_arch::prefetch);
    }

    /// Has the processor fetch what it takes to make a task in a slot with such a top, less its colour, to write it.
    #[inline]
    pub(crate) fn prefetch_to_make(top: NonNull<u8>) {
        /// A small closure, and what the fiber begins with.
        const BELOW: usize = 2;
        let place = top.as_ptr().wrapping_sub(size_of::<Task>());
        Self::fetch(place, BELOW, gthread_arch::prefetch_to_write);
    }

    /// A control block's lines, and so many below it, from the lowest up.
    #[inline(always)]
    pub(crate) fn fetch(place: *const u8, below: usize, fetch: fn(*const u8)) {
        const LINE: usize = align_of::<Task>();
        let lowest = place.wrapping_sub(below * LINE);
        for line in (0..below * LINE + size_of::<Task>()).step_by(LINE) {
            fetch(lowest.wrapping_add(line));
        }
    }

    /// Has the processor find the page that it takes to start a task in a slot, and the first line of it.
    #[inline(always)]
    pub(crate) fn prefetch_place(slot: &Slot) {
        gthread_arch::prefetch(Self::place_in(slot));
    }

    /// Has the processor fetch what it takes to make a task in a slot, and to run it until it waits.
    #[cold]
    pub(crate) fn prefetch_to_start(slot: &Slot) {
        /// Of the stack, which ends where the control block begins.
        const FRAMES: usize = 8;
        Self::fetch(Self::place_in(slot), FRAMES, gthread_arch::prefetch_to_write);
    }

    /// Where a slot's control block is or will be.
    #[inline(always)]
    pub(crate) fn place_in(slot: &Slot) -> *const u8 {
        slot.top().as_ptr().wrapping_sub(control_block_of(slot))
    }
}
