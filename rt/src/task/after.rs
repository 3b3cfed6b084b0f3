//! What is to be done after a task has finished.

use std::ptr::NonNull;

/// Something to do once a task has finished and its result is handed over or dropped: runs when this
/// is dropped, on the worker's stack, and must not block.
pub(crate) struct After {
    run: unsafe fn(NonNull<()>),
    data: NonNull<()>,
}

impl After {
    /// # Safety
    ///
    /// `run(data)` may be called once, on any thread.
    pub(crate) unsafe fn new(run: unsafe fn(NonNull<()>), data: NonNull<()>) -> Self {
        Self { run, data }
    }
}

impl Drop for After {
    fn drop(&mut self) {
        // SAFETY: `new` allows one call, and a value is dropped once.
        unsafe { (self.run)(self.data) };
    }
}
