//! A call that a suspended thread makes on its own stack, before it is suspended again in the same
//! place.

use std::ptr::NonNull;

/// A call for another thread to make, so that its stack can be inspected from inside.
#[derive(Debug)]
pub(crate) struct RemoteCall {
    run: unsafe fn(NonNull<()>),
    data: NonNull<()>,
}

impl RemoteCall {
    /// Creates the call of `run(data)`.
    ///
    /// # Safety
    ///
    /// `run(data)` may be called once, on the stack of the target thread. It neither unwinds nor
    /// suspends the thread.
    pub(crate) unsafe fn new(run: unsafe fn(NonNull<()>), data: NonNull<()>) -> Self {
        Self { run, data }
    }

    /// Makes the call.
    ///
    /// # Safety
    ///
    /// Called once, on the stack of the target thread.
    pub(crate) unsafe fn run(&self) {
        // SAFETY: the caller calls once, on the target's stack; `new` allows that call.
        unsafe { (self.run)(self.data) };
    }
}
