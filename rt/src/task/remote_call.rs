//! A call that a suspended thread makes on its own stack, before it is suspended again where it
//! was.

use std::ptr::NonNull;

/// A call for another thread to make, to look at that thread from inside.
#[derive(Debug)]
pub(crate) struct RemoteCall {
    run: unsafe fn(NonNull<()>),
    data: NonNull<()>,
}

impl RemoteCall {
    /// Creates a call.
    ///
    /// # Safety
    ///
    /// `run(data)` may be called, once, on the stack of the thread that the call is for. It does
    /// not unwind, and does not suspend the thread.
    pub(crate) unsafe fn new(run: unsafe fn(NonNull<()>), data: NonNull<()>) -> Self {
        Self { run, data }
    }

    /// Makes the call.
    ///
    /// # Safety
    ///
    /// Called once, on the stack of the thread that the call is for.
    pub(crate) unsafe fn run(&self) {
        // SAFETY: the caller guarantees the thread and that this is done once; the contract of
        // `new` allows the call then.
        unsafe { (self.run)(self.data) };
    }
}
