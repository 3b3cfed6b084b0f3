//! The task cell: a task's closure, and later its result, in the same place.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::thread;

use gthread_arch::{Fiber, FiberStack};

use crate::task::switch_request::SwitchRequest;

/// A closure until the task starts, its result once the task has ended. `repr(C)`: both are at
/// offset zero.
#[repr(C)]
pub(crate) union Content<F, T> {
    pub(crate) closure: ManuallyDrop<F>,
    pub(crate) result: ManuallyDrop<thread::Result<T>>,
}

impl<F, T> Content<F, T> {
    pub(crate) const INLINE: bool =
        size_of::<Self>() <= INLINE_SIZE && align_of::<Self>() <= INLINE_ALIGN;

    /// The size of inline content, rounded up to a multiple of its alignment and of 16. A start
    /// this far below an aligned limit is aligned.
    const BYTES: usize = {
        let align = if align_of::<Self>() < 16 { 16 } else { align_of::<Self>() };
        size_of::<Self>().next_multiple_of(align)
    };
}

/// The operations on a cell whose types are erased.
pub(crate) struct VTable {
    /// Drops the stored result.
    pub(crate) drop_result: unsafe fn(NonNull<()>),
    /// Creates a fiber that winds the task up once more.
    pub(crate) wind_up: unsafe fn(FiberStack, *mut ()) -> Fiber<SwitchRequest>,
    /// Frees the content's memory, if it is on the heap.
    pub(crate) free: Option<unsafe fn(NonNull<()>)>,
}

/// The largest inline content in bytes. Larger or more strictly aligned content goes to the heap:
/// it would take too much of the stack.
const INLINE_SIZE: usize = 1024;

const INLINE_ALIGN: usize = 64;

/// The most bytes that a cell takes at the top of a slot.
pub(crate) const MAX_INLINE: usize = INLINE_SIZE + INLINE_ALIGN;

/// The place of a task's content, and its type's operations.
pub(crate) struct TaskCell {
    pub(crate) content: NonNull<()>,
    pub(crate) vtable: &'static VTable,
}

impl TaskCell {
    /// Stores `f` below `limit`, or on the heap if it is large.
    ///
    /// # Safety
    ///
    /// The caller owns at least `INLINE_SIZE + INLINE_ALIGN` unused bytes below `limit`, and they
    /// stay so until the cell is freed. `limit` is aligned to `INLINE_ALIGN`. `vtable` is of the
    /// same types.
    #[inline]
    pub(crate) unsafe fn new<F, T>(limit: NonNull<u8>, f: F, vtable: &'static VTable) -> Self {
        let content = Content::<F, T> { closure: ManuallyDrop::new(f) };
        let place = if Content::<F, T>::INLINE {
            // SAFETY: `Content::BYTES` is at most `INLINE_SIZE` rounded up to the alignment, so the
            // place is in the caller's bytes.
            let place = unsafe { limit.sub(Content::<F, T>::BYTES) }.cast::<Content<F, T>>();
            // SAFETY: the bytes are the caller's, unused, and aligned because `limit` and `BYTES`
            // are.
            unsafe { place.write(content) };
            place
        } else {
            NonNull::from(Box::leak(Box::new(content)))
        };
        Self { content: place.cast(), vtable }
    }

    #[inline]
    pub(crate) fn vtable(&self) -> &'static VTable {
        self.vtable
    }

    pub(crate) fn content(&self) -> NonNull<()> {
        self.content
    }

    /// Returns the lowest address that the cell uses, given the limit with which it was made.
    #[inline]
    pub(crate) fn lowest(&self, limit: usize) -> usize {
        match self.vtable.free {
            None => self.content.as_ptr() as usize,
            Some(_) => limit,
        }
    }

    /// Moves the result out.
    ///
    /// # Safety
    ///
    /// `T` is the type with which the cell was made. The entry has run to its end, and the result
    /// was neither taken nor dropped.
    #[inline]
    pub(crate) unsafe fn take_result<T>(&self) -> thread::Result<T> {
        // SAFETY: the cell has a result of type `T`, which is read once, says the caller. It is at
        // the start of the union, independent of the closure's type.
        unsafe { self.content.cast::<thread::Result<T>>().read() }
    }

    /// Frees the memory. The content is gone already.
    ///
    /// # Safety
    ///
    /// Called once, as the last use of the cell.
    #[inline]
    pub(crate) unsafe fn free(&mut self) {
        if let Some(free) = self.vtable.free {
            // SAFETY: the content was boxed with the vtable's types, since these have a `free`. It
            // is gone, and nothing uses its memory any more.
            unsafe { free(self.content) };
        }
    }
}
