//! Something that a suspended thread does on its own stack, before it is suspended again where it was.

use std::ptr::NonNull;

/// A call for another thread to make: for looking at it from inside.
#[derive(Debug)]
pub(crate) struct RemoteCall {
    run: unsafe fn(NonNull<()>),
    data: NonNull<()>,
}

impl RemoteCall {
    /// # Safety
    ///
    /// `run(data)` may be called, once, on the stack of the thread that the errand is for. It does not
    /// unwind, and does not suspend the thread.
    pub(crate) unsafe fn new(run: unsafe fn(NonNull<()>), data: NonNull<()>) -> Self {
        Self { run, data }
    }

    /// # Safety
    ///
    /// Once, on the stack of the thread that it is for.
    pub(crate) unsafe fn run(&self) {
        // SAFETY: the caller's, and that of `new`.
        unsafe { (self.run)(self.data) };
    }
}
