//! What is done in the child of a `fork`.
//!
//! There the OS thread that has called `fork` goes on alone. If it is a worker, it is in the middle of a green thread,
//! which goes on in the child too, and is all that ever runs there:
//!
//! - it may not suspend, as if it were inside `blocking`. So whatever would switch takes the slow way, on which
//!   it is asked whether this is a child;
//! - when it ends the worker runs nothing else, but ends the process ([`Worker::end_if_child`]). What other green
//!   threads have borrowed from it may therefore go before they have ended.

use std::sync::Once;

use super::worker::Worker;
use super::{current, sigquit};
use crate::forked;
use crate::prim::Ordering;

/// Has children of this process find out that they are. From the first runtime on; where memory is too short
/// for it, children are left to hang.
pub(super) fn watch_forks() {
    static ONCE: Once = Once::new();
    // SAFETY: the function is of the right type, and does what may be done in a child.
    ONCE.call_once(|| unsafe { _ = libc::pthread_atfork(None, None, Some(in_child)) });
}

/// Stores atomics and cells of this OS thread only: what the child of a process with threads may do.
extern "C" fn in_child() {
    sigquit::forget_pipe();
    if forked::mark_child() {
        current::with(|worker| {
            if let Some(worker) = worker {
                worker.run_nothing_else();
            }
        });
    }
}

impl Worker {
    /// The task that runs is the last, and does not suspend.
    fn run_nothing_else(&self) {
        self.hold_for_ever();
        // Looked at when it ends: its parent does not go on.
        self.until_fair.set(1);
        // The scheduler is the child's own copy.
        self.sched.stopped.store(true, Ordering::Relaxed);
    }

    /// After the last task: ends the process if this is a child, instead of the OS thread.
    pub(super) fn end_if_child(&self) {
        if forked::is_child() {
            forked::end(format_args!(
                "a green thread that had called fork has returned in the child, to a runtime that is not there"
            ));
        }
    }
}
