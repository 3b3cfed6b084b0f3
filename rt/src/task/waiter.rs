//! Whoever waits, green or not, as those see it who wake.

use std::ptr::NonNull;

use super::state::{Claim, Op};
use super::{OsThread, TaskRef};
use crate::prim::os_thread::Thread;

/// A thread with an armed wait, as registered in queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    Green(TaskRef),
    /// A green thread that parks while it holds the lock of the one queue it is in: whoever takes it
    /// out has it.
    Held(TaskRef),
    Os(NonNull<OsThread>),
}

// SAFETY: another thread can compare it, have its place prefetched, and claim the wait, which is unsafe: `claim` says
// when the pointee may be used. Of that it touches the wait cell, which is atomic, and an OS thread's handle, which
// never changes and may be cloned anywhere. No value of the waiting thread's is reached through it.
unsafe impl Send for Waiter {}

/// The duty of a waker that won: make the thread run. Dropping it loses the thread for ever.
#[must_use = "a claimed thread that is not woken sleeps for ever"]
#[derive(Debug)]
pub(crate) enum Wake {
    /// It was awake still, and goes on by itself.
    Awake,
    /// A green thread, parked: the holder has it as runnable.
    Green(TaskRef),
    /// An OS thread that sleeps or is about to.
    Os(Thread),
}

impl Waiter {
    /// The green thread, if it is one.
    pub(crate) fn task(self) -> Option<TaskRef> {
        match self {
            Self::Green(task) | Self::Held(task) => Some(task),
            Self::Os(_) => None,
        }
    }

    /// Has the processor fetch what it takes to claim the thread and to run it.
    #[inline]
    pub(crate) fn prefetch(self) {
        self.task().into_iter().for_each(TaskRef::prefetch);
    }

    /// Tries to end the wait with `op`: `None` if it was over, or if the thread will never run because its runtime was
    /// dropped. Both are passed over, so that somebody gets what is given.
    ///
    /// # Safety
    ///
    /// The wait is registered with the caller in a way that keeps the waiting thread from leaving it
    /// (the caller holds the lock of the queue it is in).
    #[inline]
    pub(crate) unsafe fn claim(self, op: Op) -> Option<Wake> {
        match self {
            Self::Green(task) | Self::Held(task) if task.sched().is_stopped() => None,
            Self::Green(task) => match task.wait.claim(op) {
                Claim::Lost => None,
                Claim::Awake => Some(Wake::Awake),
                Claim::Asleep => Some(Wake::Green(task)),
            },
            Self::Held(task) => {
                task.wait.select_held(op);
                Some(Wake::Green(task))
            }
            Self::Os(thread) => {
                // SAFETY: registered, so its owner is still in the wait and keeps it alive.
                let thread = unsafe { thread.as_ref() };
                // Cloned first: once claimed, the thread may be gone.
                let handle = thread.thread.clone();
                match thread.wait.claim(op) {
                    Claim::Lost => None,
                    Claim::Awake => Some(Wake::Awake),
                    Claim::Asleep => Some(Wake::Os(handle)),
                }
            }
        }
    }
}
