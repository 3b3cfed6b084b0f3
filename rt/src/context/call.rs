//! Calls that are made once a context has ended.

use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;

use crate::loom::{AtomicBool, Mutex, Ordering, lock};
use crate::thread::spawn::{self, Builder};

/// A call that is to be made at the end, unless it is stopped.
pub(super) struct Call {
    /// The location that has arranged for the call.
    pub(super) site: &'static Location<'static>,
    /// The call was made or was stopped.
    decided: AtomicBool,
    /// Present until the call is made or stopped. Belongs to the thread that decides.
    f: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Call {
    pub(super) fn new(
        f: impl FnOnce() + Send + 'static,
        site: &'static Location<'static>,
    ) -> Arc<Self> {
        Arc::new(Self { decided: AtomicBool::new(false), f: Mutex::new(Some(Box::new(f))), site })
    }

    /// Returns `true` to the first caller.
    pub(super) fn decide(&self) -> bool {
        !self.decided.swap(true, Ordering::AcqRel)
    }

    /// Takes the closure. Only the thread that has decided may do so.
    pub(super) fn take(&self) -> Box<dyn FnOnce() + Send> {
        lock(&self.f).take().expect("taken once")
    }

    /// Makes the call in a green thread, unless it is decided. Runs the user's code only if it must
    /// be called in place.
    pub(super) fn start(self: Arc<Self>) {
        if !self.decide() {
            return;
        }
        let call = Arc::clone(&self);
        match spawn_queued(self.site, move || call.take()()) {
            Ok(()) => {}
            // In the child of a fork: the parent's calls are neither made there nor dropped.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => std::mem::forget(self),
            // A panic ends the call, as in a separate thread.
            Err(_) => drop(catch_unwind(AssertUnwindSafe(self.take()))),
        }
    }
}

/// Starts a green thread, as if spawned at `site`. The caller goes on.
fn spawn_queued(
    site: &'static Location<'static>,
    f: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let options = Builder::new().queued(true).options(site);
    // SAFETY: the closure and its result are `Send` and `'static`, so they may be sent and borrow
    // nothing.
    unsafe { spawn::start(options, f) }.map(drop)
}
