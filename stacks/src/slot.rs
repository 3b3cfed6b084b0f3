//! One stack.

use std::ptr::NonNull;

use crate::SizeClass;
use crate::guard::guard_size;

/// One stack: exclusive ownership of a guarded run of address space.
///
/// A slot comes from a [`Pool`](crate::Pool) and goes back to it. It does not return by itself: to
/// drop one loses its address space until the process ends (the pool then keeps the whole reservation
/// alive), which is safe, and is what becomes of a stack whose thread never finishes.
#[must_use = "a slot that is dropped never returns to its pool"]
#[derive(Debug)]
pub struct Slot {
    bottom: NonNull<u8>,
    class: SizeClass,
}

// SAFETY: a slot is plain memory with one owner; nothing about it belongs to a thread.
unsafe impl Send for Slot {}
// SAFETY: a shared `Slot` gives out addresses only.
unsafe impl Sync for Slot {}

impl Slot {
    /// # Safety
    ///
    /// `bottom` is the start of `class.size()` bytes of writable memory, guard installed, that no
    /// other slot covers and that stays mapped as long as the slot lives.
    pub(crate) unsafe fn from_raw(bottom: NonNull<u8>, class: SizeClass) -> Self {
        Self { bottom, class }
    }

    /// The lowest address, where the guard begins.
    #[inline]
    pub fn bottom(&self) -> NonNull<u8> {
        self.bottom
    }

    /// One past the highest address. Stacks start here and grow down.
    #[inline]
    pub fn top(&self) -> NonNull<u8> {
        // SAFETY: the slot owns `size()` bytes from `bottom` in one mapping, so the end is in bounds
        // and not null.
        unsafe { self.bottom.add(self.class.size()) }
    }

    /// The size class this slot was cut for.
    #[inline]
    pub fn class(&self) -> SizeClass {
        self.class
    }

    /// Bytes of stack between the guard and the top.
    #[inline]
    pub fn usable(&self) -> usize {
        self.class.size() - guard_size()
    }
}
