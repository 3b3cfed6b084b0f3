//! The child of a `fork` that a green thread has called.
//!
//! Only the OS thread that has called `fork` exists in the child. If it is a worker, it is in the
//! middle of a green thread. That one goes on in the child too, and no other ever runs there:
//!
//! - It may not suspend, as if it were inside `blocking`. So everything that would switch takes the
//!   slow path, which checks whether this is a child.
//! - When it ends, the worker runs nothing else, and ends the process ([`Worker::end_if_child`]).
//!   So data that it has lent to other green threads may go before they have ended.

use crate::loom::Ordering;
use crate::runtime::context;
use crate::runtime::worker::Worker;
use crate::sys::fork;

/// Called in the child of a `fork`, before `fork` returns. Writes only to atomics and to cells of
/// this OS thread, as is required of all code in the child of a process with several threads.
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
    /// Makes the running task the last one, which does not suspend.
    fn run_nothing_else(&self) {
        self.hold_for_ever();
        // Checked when the task ends: its parent does not go on.
        self.until_tick.set(1);
        // The child has a copy of the runtime to itself.
        self.shared.stopped.store(true, Ordering::Relaxed);
    }

    /// Ends the process, instead of the OS thread, if this is the child of a `fork`. Called after
    /// the last task.
    pub(crate) fn end_if_child(&self) {
        if fork::is_child() {
            fork::end(format_args!(
                "a green thread that had called fork has returned in the child, to a runtime that is not there"
            ));
        }
    }
}
