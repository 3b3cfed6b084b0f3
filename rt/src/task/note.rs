//! What a task notes of its waits, for dumps. Written by the task itself, read when it is suspended.

use std::mem::MaybeUninit;
use std::panic::Location;

use super::{Reason, Task, TaskRef};

/// What a task last waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitNote {
    pub(crate) reason: Reason,
    pub(crate) site: &'static Location<'static>,
    /// Milliseconds on the scheduler's coarse clock.
    pub(crate) since: u64,
    /// The task that it waits for: alive while the wait lasts.
    pub(crate) target: Option<TaskRef>,
}

impl Task {
    /// Notes for dumps what the task is about to wait for. By the task itself.
    #[inline]
    pub(crate) fn note_wait(&self, reason: Reason, site: &'static Location<'static>) {
        self.waits.set(MaybeUninit::new((reason, self.sched().coarse_now())));
        self.waits_at.set(Some(site));
    }

    /// Notes before that for whom it is about to wait. By the task itself, and only for a reason that has a
    /// thread.
    pub(crate) fn note_target(&self, target: TaskRef) {
        self.waits_for.set(MaybeUninit::new(target));
    }

    /// The last wait that was noted, over or not. Of a suspended task.
    pub(crate) fn last_wait(&self) -> Option<WaitNote> {
        let site = self.waits_at.get()?;
        // SAFETY: noted before the place was.
        let (reason, since) = unsafe { self.waits.get().assume_init() };
        let target = (reason == Reason::Join).then(|| {
            // SAFETY: noted before the wait was, for this reason.
            unsafe { self.waits_for.get().assume_init() }
        });
        Some(WaitNote { reason, site, since, target })
    }
}
