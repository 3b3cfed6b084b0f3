//! What is done in the child of a `fork`.
//!
//! There the OS thread that has called `fork` goes on alone. If it is a worker, it is in the middle of a green thread,
//! which goes on in the child too, and is all that ever runs there:
//!
//! - it may not suspend, as if it were inside `blocking`. So whatever would switch takes the slow way, on which
//!   it is asked whether this is a child;
//! - when it ends the worker runs nothing else, but ends the process ([`Worker::end_if_child`]). What other green
//!   threads have borrowed from it may therefore go before they have ended.

use crate::loom::Ordering;
use crate::runtime::context;
use crate::runtime::worker::Worker;
use crate::sys::fork;

/// Is called in the child of a `fork`, before that returns. Stores atomics and cells of this OS thread only, like all
/// that may run in the child of a process with threads.
pub(crate) fn in_child() {
    if fork::is_child() {
        context::with(|worker| {
            if let Some(worker) = worker {
                worker.run_nothing_else();
            }
        });
    }
}

impl Worker {
    /// The task that runs is the last, and does not suspend.
    pub(crate) fn run_nothing_else(&self) {
        self.hold_for_ever();
        // Looked at when it ends: its parent does not go on.
        self.until_tick.set(1);
        // The scheduler is the child's own copy.
        self.shared.stopped.store(true, Ordering::Relaxed);
    }

    /// After the last task: ends the process if this is a child, instead of the OS thread.
    pub(crate) fn end_if_child(&self) {
        if fork::is_child() {
            fork::end(format_args!(
                "a green thread that had called fork has returned in the child, to a runtime that is not there"
            ));
        }
    }
}
