//! A slot as the stack of a fiber.

use std::ptr::NonNull;

use corosensei::stack::{self, StackPointer};
use gthread_stacks::Slot;

/// The alignment of the base of a stack, in bytes.
pub const STACK_ALIGN: usize = stack::STACK_ALIGNMENT;

/// The part of a slot that a fiber runs on: from the guard up to `base`.
///
/// The bytes above `base`, up to the slot's top, belong to the owner of the slot. gthread keeps the
/// task's control block, its closure and its result there, so that they share the one page that a
/// small fiber touches.
///
/// ```text
///   bottom                               base                      top
///     | guard | ... stack, grows down <---|  the owner's, `above()` |
/// ```
#[derive(Debug)]
pub struct FiberStack {
    /// The highest address of the stack, from where it grows down.
    pub(crate) base: NonNull<u8>,
    /// The lowest address of the slot, where the guard begins.
    limit: NonNull<u8>,
}

impl FiberStack {
    /// Creates the stack that begins `above` bytes below the top of `slot`, rounded down to
    /// [`STACK_ALIGN`].
    ///
    /// # Safety
    ///
    /// As long as the stack is in use:
    ///
    /// - `slot` is given back neither to a pool nor to a cache, and its memory is not given back to
    ///   the kernel.
    /// - Nothing else uses the slot's bytes below `base`: there is no other stack on the slot.
    ///
    /// The stack is in use from this call until
    ///
    /// - it is dropped unused,
    /// - or the call of [`on_stack`] that was given the stack returns,
    /// - or the fiber on the stack finishes or is discarded. A fiber that is dropped while it is
    ///   suspended never finishes: its frames stay, and pointers to them may be elsewhere.
    ///
    /// # Panics
    ///
    /// If less than [`corosensei`]'s minimum of 4 KiB would be left of the stack.
    #[inline]
    pub unsafe fn new(slot: &Slot, above: usize) -> Self {
        assert!(
            above.saturating_add(stack::MIN_STACK_SIZE) <= slot.usable(),
            "{above} bytes at the top of a stack slot of {} leave no stack",
            slot.usable()
        );
        let top = slot.top();
        let rounded = above + ((top.addr().get() - above) & (STACK_ALIGN - 1));
        // SAFETY: `rounded` bytes below the top are in the slot, above its guard, by the assertion:
        // a slot's bounds are aligned, and so is the minimum.
        Self { base: unsafe { top.sub(rounded) }, limit: slot.bottom() }
    }

    /// Returns `true` if `address` lies in this stack or its guard.
    pub fn contains(&self, address: usize) -> bool {
        (self.limit.addr().get()..=self.base.addr().get()).contains(&address)
    }
}

// SAFETY: corosensei asks for three things.
// - A guard page: a slot has a guard at its bottom, and is mapped from there up to `base`. It stays
//   so while it is a stack, by the contract of `new`.
// - At least MIN_STACK_SIZE usable bytes: `new` asserts that so many are between the guard and the
//   base.
// - Aligned bounds: `new` rounds the base down, and the bottom of a slot is the start of a page.
unsafe impl stack::Stack for FiberStack {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base.addr()
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.limit.addr()
    }
}

/// Calls `f` on another stack, and returns its result or continues its panic.
///
/// `f` may suspend the fiber that this function is called in.
#[inline]
pub fn on_stack<R>(stack: FiberStack, f: impl FnOnce() -> R) -> R {
    corosensei::on_stack(stack, f)
}
