//! A slot as the switch sees it.

use std::ptr::NonNull;

use corosensei::stack::{self, StackPointer};
use gthread_stacks::Slot;

/// Alignment of the base of a stack, in bytes.
pub const STACK_ALIGN: usize = stack::STACK_ALIGNMENT;

/// The part of a slot that a fiber runs on: from the guard up to `base`.
///
/// Above `base`, up to the slot's top, the owner keeps what it likes (gthread: the task's control
/// block, its closure and its result), so that it shares the one page a small fiber touches.
///
/// ```text
///   bottom                               base                      top
///     | guard | ... stack, grows down <---|  the owner's, `above()` |
/// ```
#[derive(Debug)]
pub struct FiberStack {
    /// Where it begins, and grows down from.
    pub(crate) base: NonNull<u8>,
    limit: NonNull<u8>,
}

impl FiberStack {
    /// The stack that begins `above` bytes below the top of `slot`, rounded down to [`STACK_ALIGN`].
    ///
    /// # Safety
    ///
    /// From now until the result was dropped unused, the call [`on_stack`] has returned, or the fiber on it has
    /// finished or was discarded (one that is dropped while it is suspended never does: its frames stay, and others
    /// may point to them):
    ///
    /// - `slot` is given back neither to a pool nor to a cache, nor is its memory to the kernel.
    /// - Nothing else uses the slot's bytes below `base`: there is no other stack on it.
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
        // SAFETY: above the guard, by the assertion: a slot's bounds are aligned, and so is the minimum.
        Self { base: unsafe { top.sub(rounded) }, limit: slot.bottom() }
    }

    /// Whether `address` lies in this stack or its guard.
    pub fn contains(&self, address: usize) -> bool {
        (self.limit.addr().get()..=self.base.addr().get()).contains(&address)
    }
}

// SAFETY: `new` requires a slot that stays ours as long as it is a stack; slots are guarded at the bottom and
// mapped up to `base`; the base is aligned and at least MIN_STACK_SIZE above the guard.
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

/// Calls `f` on another stack, and comes back with its result or its panic. `f` may suspend the fiber
/// that it is called in.
#[inline]
pub fn on_stack<R>(stack: FiberStack, f: impl FnOnce() -> R) -> R {
    corosensei::on_stack(stack, f)
}
