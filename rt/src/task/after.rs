//! A callback that runs after a task has finished.

use std::ptr::NonNull;

/// A callback to run once a task has finished and its result is handed over or dropped.
///
/// Dropping this value makes the call, on the worker's stack. The callback must not block.
pub(crate) struct After {
    run: unsafe fn(NonNull<()>),
    data: NonNull<()>,
}

impl After {
    /// Creates the callback that calls `run(data)`.
    ///
    /// # Safety
    ///
    /// `run(data)` may be called once, on any thread.
    pub(crate) unsafe fn new(run: unsafe fn(NonNull<()>), data: NonNull<()>) -> Self {
        Self { run, data }
    }
}

impl Drop for After {
    fn drop(&mut self) {
        // SAFETY: `new` requires that `run(data)` may be called once, on any thread. A value is
        // dropped once, so this is the only call.
        unsafe { (self.run)(self.data) };
    }
}
