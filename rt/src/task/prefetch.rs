//! Prefetching of control blocks and of the stacks below them.
//!
//! Each green thread's stack is on pages of its own. So the first access to a stack that another
//! processor wrote last, or that no cache has, costs a cache miss and a page-table walk. Where many
//! threads run one after the other, the next ones are fetched while the processor is busy with the
//! current one.

use std::ptr::NonNull;

use gthread_arch::stacks::Slot;

use crate::task::header::{Task, TaskRef, control_block_of};

impl TaskRef {
    /// Prefetches the lines that are needed to resume a small task, and to finish it.
    #[inline]
    pub(crate) fn prefetch(self) {
        /// Lines of the stack, which ends where the control block begins.
        const FRAMES: usize = 6;
        Self::fetch(self.as_ptr().cast(), FRAMES, gthread_arch::prefetch);
    }

    /// Prefetches, for writing, the lines that are needed to make a task in the slot with this top
    /// (less its colour).
    #[inline]
    pub(crate) fn prefetch_to_make(top: NonNull<u8>) {
        /// Lines for a small closure and the fiber's first frame.
        const BELOW: usize = 2;
        let place = top.as_ptr().wrapping_sub(size_of::<Task>());
        Self::fetch(place, BELOW, gthread_arch::prefetch_to_write);
    }

    /// Fetches the lines of a control block and `below` lines below it, the lowest first.
    #[inline(always)]
    pub(crate) fn fetch(place: *const u8, below: usize, fetch: fn(*const u8)) {
        const LINE: usize = align_of::<Task>();
        let lowest = place.wrapping_sub(below * LINE);
        for line in (0..below * LINE + size_of::<Task>()).step_by(LINE) {
            fetch(lowest.wrapping_add(line));
        }
    }

    /// Prefetches the first line of a slot's control block, so that the page is in the TLB when a
    /// task starts there.
    #[inline(always)]
    pub(crate) fn prefetch_place(slot: &Slot) {
        gthread_arch::prefetch(Self::place_in(slot));
    }

    /// Prefetches the lines that are needed to make a task in a slot, and to run it until it waits.
    #[cold]
    pub(crate) fn prefetch_to_start(slot: &Slot) {
        /// Lines of the stack, which ends where the control block begins.
        const FRAMES: usize = 8;
        Self::fetch(Self::place_in(slot), FRAMES, gthread_arch::prefetch_to_write);
    }

    /// Returns the address of a slot's control block, present or future.
    #[inline(always)]
    fn place_in(slot: &Slot) -> *const u8 {
        slot.top().as_ptr().wrapping_sub(control_block_of(slot))
    }
}
