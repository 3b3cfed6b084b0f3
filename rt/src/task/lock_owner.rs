//! The owner of a lock, as a number that costs nothing to obtain.
//!
//! The compiler knows the address of the stack, so a lock is taken without reading a thread-local.
//! A lock notes the page of the stack on which it was locked. Every thread has a stack to itself,
//! and a guard does not leave its thread. So the page identifies the holder for reports on waits:
//! the green thread in whose slot the page is, or an OS thread if the page is in no slot.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;

/// The number of a lock without an owner.
pub(crate) const FREE: u32 = 0;

/// A bit that every other number has, because the page alone might be zero.
const SOMEBODY: u32 = 1 << 31;

/// The number of significant bits: an [`RwLock`](crate::sync::RwLock) has room for no more. The
/// other bits are arbitrary.
pub(crate) const BITS: u32 = 29;

pub(crate) const PAGE: u32 = (1 << BITS) - 1;

/// The smallest page size of any supported system, as a shift.
const PAGE_SHIFT: u32 = 12;

/// Returns the number of the calling thread.
#[inline(always)]
pub(crate) fn here() -> u32 {
    let here = MaybeUninit::<u8>::uninit();
    of(&raw const here)
}

/// Returns the number of the thread whose stack contains this address. [`BITS`] bits of the page's
/// address count, so two stacks that are less than 2 TiB apart have different numbers.
#[inline(always)]
pub(crate) fn of<T>(on_stack: *const T) -> u32 {
    (on_stack.addr() >> PAGE_SHIFT) as u32 | SOMEBODY
}

/// A lock that a thread waits for. For dumps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AwaitedLock {
    lock: NonNull<()>,
    /// Returns the number of the lock's holder.
    holder: unsafe fn(NonNull<()>) -> u32,
}

impl AwaitedLock {
    /// Creates the description of `lock`.
    ///
    /// # Safety
    ///
    /// `holder(lock)` may be called on any thread as long as a thread waits for the lock.
    pub(crate) unsafe fn new(lock: NonNull<()>, holder: unsafe fn(NonNull<()>) -> u32) -> Self {
        Self { lock, holder }
    }

    pub(crate) fn address(self) -> usize {
        self.lock.as_ptr() as usize
    }

    /// Returns the number of the lock's holder.
    ///
    /// # Safety
    ///
    /// A thread waits for the lock.
    pub(crate) unsafe fn holder(self) -> u32 {
        // SAFETY: a thread waits for the lock, says the caller, and then `new` allows the call.
        unsafe { (self.holder)(self.lock) }
    }
}

/// The numbers of a thread that runs on a given stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) first: u32,
    pages: u32,
}

impl Numbers {
    /// Returns the numbers for a stack with these addresses.
    pub(crate) fn on(stack: Range<usize>) -> Self {
        let first = (stack.start >> PAGE_SHIFT) as u32 & PAGE;
        Self { first, pages: ((stack.end - stack.start) >> PAGE_SHIFT) as u32 }
    }

    /// Returns `true` if the first of the numbers is greater than `number`.
    pub(crate) fn begin_after(self, number: u32) -> bool {
        self.first > number & PAGE
    }

    /// Returns `true` if `number` is one of the numbers.
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
