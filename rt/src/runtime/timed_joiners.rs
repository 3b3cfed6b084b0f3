//! Joiners with a deadline: threads that wait until a task has ended, or until a deadline.
//!
//! A joiner without a deadline leaves its waiter in the task, and stays until the task has ended. A
//! joiner with a deadline may leave before. Then it must know that no thread is about to end its
//! wait. But the worker that finishes a task must not touch the task after it is done, so the two
//! cannot settle that in the task. They settle it here, under a lock.
//!
//! Invariants:
//! - A joiner notes its waiter before it announces itself in the task's join state, and removes it
//!   before it returns. A noted waiter is valid, and is claimed only under the lock.
//! - If a joiner was announced before the worker marked the task done, the worker looks here
//!   afterwards. Otherwise the joiner sees that the task is done, and does not sleep. So no end is
//!   missed.
//! - Tasks are identified by their addresses. When a worker looks here for a task that has ended,
//!   another task may be at its address. So a joiner may be woken for nothing, and looks again.

use std::collections::HashMap;

use crate::loom::{Mutex, lock};
use crate::task::header::{TaskRef, Waiter, Wake};

/// The noted waiters, by the address of the task that they join.
#[derive(Debug, Default)]
pub(crate) struct TimedJoiners(Mutex<HashMap<usize, Waiter>>);

impl TimedJoiners {
    /// Notes the armed wait of the holder of a task's handle, until [`leave`](Self::leave).
    pub(crate) fn enter(&self, task: TaskRef, waiter: Waiter) {
        let other = lock(&self.0).insert(key(task), waiter);
        debug_assert!(other.is_none(), "a task has one handle");
    }

    /// Removes the waiter, if it is still there. Afterwards no other thread has it.
    pub(crate) fn leave(&self, task: TaskRef) {
        lock(&self.0).remove(&key(task));
    }

    /// Claims the joiner of a task that has ended. Only the address of the task is used. The caller
    /// wakes the joiner.
    #[cold]
    pub(crate) fn claim(&self, task: TaskRef) -> Option<Wake> {
        let mut joiners = lock(&self.0);
        // SAFETY: the waiter was noted, so its thread cannot leave the wait without the lock, which
        // is held here.
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
