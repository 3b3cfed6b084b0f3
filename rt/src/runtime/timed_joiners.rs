//! Who waits for a task to end, or for a deadline.
//!
//! A plain joiner leaves its waiter in the task, and is there until the task has ended. One with a deadline may leave
//! before, and must know then that nobody is about to end its wait any more; but the worker that finishes a task must
//! not touch it after it is done, so they cannot agree on that by the task. They do so here, under a lock.
//!
//! Invariants:
//! - A joiner notes itself before it announces itself in the task's join word, and leaves before it comes back. A waiter
//!   that is noted is valid, and is claimed under the lock only.
//! - The worker looks here after it has marked the task done, if the joiner was announced by then; otherwise the joiner
//!   sees that the task is done, and does not sleep. So no end is missed.
//! - Tasks are told apart by where they are. By the time that a worker looks here for a task that has ended, another may
//!   be in its place: a joiner may be woken for nothing, and looks again.

use std::collections::HashMap;

use crate::loom::{Mutex, lock};
use crate::task::header::{TaskRef, Waiter, Wake};

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct TimedJoiners(Mutex<HashMap<usize, Waiter>>);

impl TimedJoiners {
    /// Notes the armed wait of the holder of a task's handle. Valid until [`leave`](Self::leave).
    pub(crate) fn enter(&self, task: TaskRef, waiter: Waiter) {
        let other = lock(&self.0).insert(key(task), waiter);
        debug_assert!(other.is_none(), "a task has one handle");
    }

    /// Takes it out, if it is still there. Afterwards nobody has the waiter.
    pub(crate) fn leave(&self, task: TaskRef) {
        lock(&self.0).remove(&key(task));
    }

    /// Claims the joiner of a task, which has ended, and is only compared. The caller wakes it.
    #[cold]
    pub(crate) fn claim(&self, task: TaskRef) -> Option<Wake> {
        let mut joiners = lock(&self.0);
        // SAFETY: it is noted, so its owner cannot leave its wait without the lock that we hold.
        joiners.remove(&key(task)).and_then(|waiter| unsafe { waiter.claim(0) })
    }

    #[cfg(all(test, loom))]
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

fn key(task: TaskRef) -> usize {
    task.as_ptr() as usize
}
