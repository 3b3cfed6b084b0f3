//! What a suspending task tells its worker, in one register.

use super::{Task, TaskRef};
use std::ptr::NonNull;

/// A command, encoded: the address of a spawned task, or one of the small numbers below.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Command(usize);

/// A command, decoded.
pub(crate) enum Action {
    /// Push me as a stealable continuation and run this child.
    Spawned(TaskRef),
    /// My wait is armed: commit it.
    Parked,
    /// Let others run, then me.
    Yielded,
}

impl Command {
    pub(crate) const PARKED: Self = Self(1);
    pub(crate) const YIELDED: Self = Self(2);

    #[inline]
    pub(crate) fn spawned(child: TaskRef) -> Self {
        Self(child.as_ptr() as usize)
    }

    #[inline]
    pub(crate) fn decode(self) -> Action {
        match self {
            Self(1) => Action::Parked,
            Self(2) => Action::Yielded,
            Self(address) => {
                let task = NonNull::new(address as *mut Task).expect("tasks are not at null");
                // SAFETY: only `spawned` makes other values, from a task that the suspending parent
                // has just made and handed over with the command.
                Action::Spawned(unsafe { TaskRef::from_raw(task) })
            }
        }
    }
}
