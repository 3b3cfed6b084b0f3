//! Who holds a lock, in a number that costs nothing to have.
//!
//! The compiler knows where the stack is: no thread-local need be read to take a lock. So a lock notes the
//! page of the stack that it was locked on. Every thread has a stack to itself, and a guard does not leave
//! its thread, so for a report on who waits for whom the page names the holder: it is the green thread whose
//! slot the page is in, and an OS thread if it is in no slot.

use std::mem::MaybeUninit;

/// Nobody.
pub(super) const FREE: u32 = 0;
/// Set in every other number, since the page alone might be zero.
const SOMEBODY: u32 = 1 << 31;
/// No page is smaller.
const PAGE_SHIFT: u32 = 12;

/// The number of the calling thread.
#[inline(always)]
pub(super) fn here() -> u32 {
    let here = MaybeUninit::<u8>::uninit();
    of(&raw const here)
}

/// The number of the thread on whose stack this is. Of the address of the page it keeps 31 bits: two stacks
/// that are less than 8 TiB apart have different numbers.
#[inline(always)]
pub(super) fn of<T>(on_stack: *const T) -> u32 {
    (on_stack.addr() >> PAGE_SHIFT) as u32 | SOMEBODY
}
