//! The closure of a task, and then its result, in the same place.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::thread;

use gthread_arch::{Fiber, FiberStack};

use crate::task::switch_request::SwitchRequest;

/// A closure until the task starts, its result once it has ended. `repr(C)`: both start at the start.
#[repr(C)]
pub(crate) union Content<F, T> {
    pub(crate) closure: ManuallyDrop<F>,
    pub(crate) result: ManuallyDrop<thread::Result<T>>,
}

impl<F, T> Content<F, T> {
    pub(crate) const INLINE: bool =
        size_of::<Self>() <= INLINE_SIZE && align_of::<Self>() <= INLINE_ALIGN;

    /// Bytes that inline content takes, rounded so that its start is aligned as strictly as any.
    pub(crate) const BYTES: usize = {
        let align = if align_of::<Self>() < 16 { 16 } else { align_of::<Self>() };
        size_of::<Self>().next_multiple_of(align)
    };
}

/// What can be done with a packet whose types are forgotten.
pub(crate) struct VTable {
    /// Drops the stored result.
    pub(crate) drop_result: unsafe fn(NonNull<()>),
    /// Makes a fiber that winds the task up once more.
    pub(crate) wind_up: unsafe fn(FiberStack, *mut ()) -> Fiber<SwitchRequest>,
    /// Frees the packet's memory, if it is on the heap.
    pub(crate) free: Option<unsafe fn(NonNull<()>)>,
}

/// A packet larger than this, or aligned more strictly, goes to the heap: it would crowd the stack.
const INLINE_SIZE: usize = 1024;

const INLINE_ALIGN: usize = 64;

/// Bytes that a packet may take at the top of a slot.
pub(crate) const MAX_INLINE: usize = INLINE_SIZE + INLINE_ALIGN;

/// Where the content of a task's packet is, and what it is.
pub(crate) struct TaskCell {
    pub(crate) content: NonNull<()>,
    pub(crate) vtable: &'static VTable,
}

impl TaskCell {
    /// Stores `f` below `limit`, or on the heap if it is large.
    ///
    /// # Safety
    ///
    /// At least `INLINE_SIZE + INLINE_ALIGN` bytes below `limit` are the caller's, unused, and stay so
    /// until the packet is freed. `limit` is aligned to `INLINE_ALIGN`. `vtable` is of the same types.
    #[inline]
    pub(crate) unsafe fn new<F, T>(limit: NonNull<u8>, f: F, vtable: &'static VTable) -> Self {
        let content = Content::<F, T> { closure: ManuallyDrop::new(f) };
        let place = if Content::<F, T>::INLINE {
            // SAFETY: `Content::BYTES` is at most INLINE_SIZE rounded up to the alignment.
            let place = unsafe { limit.sub(Content::<F, T>::BYTES) }.cast::<Content<F, T>>();
            // SAFETY: the bytes are ours, and aligned because limit and BYTES are.
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

    /// The lowest address in use by the packet, given the limit it was made with.
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
    /// `T` is the type the packet was made with, the entry has run to its end, and the result was
    /// neither taken nor dropped.
    #[inline]
    pub(crate) unsafe fn take_result<T>(&self) -> thread::Result<T> {
        // SAFETY: the result is at the start of the union whatever the closure's type was.
        unsafe { self.content.cast::<thread::Result<T>>().read() }
    }

    /// Frees the memory; the content is gone already.
    ///
    /// # Safety
    ///
    /// Once, last.
    #[inline]
    pub(crate) unsafe fn free(&mut self) {
        if let Some(free) = self.vtable.free {
            // SAFETY: the content is on the heap and nobody uses it any more.
            unsafe { free(self.content) };
        }
    }
}
