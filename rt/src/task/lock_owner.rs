//! Who holds a lock, in a number that costs nothing to have.
//!
//! The compiler knows where the stack is: no thread-local need be read to take a lock. So a lock notes the
//! page of the stack that it was locked on. Every thread has a stack to itself, and a guard does not leave
//! its thread, so for a report on who waits for whom the page names the holder: it is the green thread whose
//! slot the page is in, and an OS thread if it is in no slot.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;

/// Nobody.
pub(crate) const FREE: u32 = 0;

/// Set in every other number, since the page alone might be zero.
const SOMEBODY: u32 = 1 << 31;

/// What counts of a number: an [`RwLock`](crate::sync::RwLock) has room for no more. The other bits are anything.
pub(crate) const BITS: u32 = 29;

pub(crate) const PAGE: u32 = (1 << BITS) - 1;

/// No page is smaller.
const PAGE_SHIFT: u32 = 12;

/// The number of the calling thread.
#[inline(always)]
pub(crate) fn here() -> u32 {
    let here = MaybeUninit::<u8>::uninit();
    of(&raw const here)
}

/// The number of the thread on whose stack this is. Of the address of the page [`BITS`] count: two stacks
/// that are less than 2 TiB apart have different numbers.
#[inline(always)]
pub(crate) fn of<T>(on_stack: *const T) -> u32 {
    (on_stack.addr() >> PAGE_SHIFT) as u32 | SOMEBODY
}

/// A lock that a thread waits for, for dumps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AwaitedLock {
    lock: NonNull<()>,
    /// The number of its holder.
    holder: unsafe fn(NonNull<()>) -> u32,
}

impl AwaitedLock {
    /// # Safety
    ///
    /// `holder(lock)` may be called, on any thread, as long as somebody waits for the lock.
    pub(crate) unsafe fn new(lock: NonNull<()>, holder: unsafe fn(NonNull<()>) -> u32) -> Self {
        Self { lock, holder }
    }

    pub(crate) fn address(self) -> usize {
        self.lock.as_ptr() as usize
    }

    /// # Safety
    ///
    /// Somebody waits for the lock.
    pub(crate) unsafe fn holder(self) -> u32 {
        // SAFETY: the caller's.
        unsafe { (self.holder)(self.lock) }
    }
}

/// The numbers of whoever runs on a stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) first: u32,
    pages: u32,
}

impl Numbers {
    /// Of a stack with these addresses.
    pub(crate) fn on(stack: Range<usize>) -> Self {
        let first = (stack.start >> PAGE_SHIFT) as u32 & PAGE;
        Self { first, pages: ((stack.end - stack.start) >> PAGE_SHIFT) as u32 }
    }

    /// Whether the first of them is greater.
    pub(crate) fn begin_after(self, number: u32) -> bool {
        self.first > number & PAGE
    }

    /// Whether it is one of them.
    pub(crate) fn contain(self, number: u32) -> bool {
        number != FREE && (number.wrapping_sub(self.first) & PAGE) < self.pages
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_stacks_apart_also_where_they_wrap() {
        let page = 1_usize << PAGE_SHIFT;
        for bottom in [64 * page, (1 << BITS) * page - 2 * page, (1 << 31) * page - 2 * page] {
            let numbers = Numbers::on(bottom..bottom + 8 * page);
            let at = |address: usize| of(std::ptr::without_provenance::<u8>(address));
            assert!(numbers.contain(at(bottom)) && numbers.contain(at(bottom + 8 * page - 1)));
            assert!(!numbers.contain(at(bottom - 1)) && !numbers.contain(at(bottom + 8 * page)));
            assert!(!numbers.contain(FREE));
        }
    }
}
