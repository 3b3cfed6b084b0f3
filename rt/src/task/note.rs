//! What a task notes of its waits, for dumps. Written by the task itself, read when it is suspended.

use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::NonNull;

use super::holder::AwaitedLock;
use super::{Reason, Task, TaskRef};

/// What a task last waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitNote {
    pub(crate) reason: Reason,
    pub(crate) site: &'static Location<'static>,
    /// Milliseconds on the scheduler's coarse clock.
    pub(crate) since: u64,
    /// What it waits for: there while the wait lasts.
    pub(crate) target: Option<Target>,
}

/// What a task waits for, if somebody in particular must do something first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Task(TaskRef),
    /// In a frame of the task that waits.
    Lock(NonNull<AwaitedLock>),
}

impl Task {
    /// Notes for dumps what the task is about to wait for. By the task itself.
    #[inline]
    pub(crate) fn note_wait(&self, reason: Reason, site: &'static Location<'static>) {
        self.waits.set(MaybeUninit::new((reason, self.sched().coarse_now())));
        self.waits_at.set(Some(site));
    }

    /// Notes before that what it is about to wait for. By the task itself, always for a reason that has this kind
    /// of target.
    pub(crate) fn note_target(&self, target: Target) {
        // One word, which with the reason says all.
        let target = match target {
            Target::Task(task) => task.0.cast(),
            Target::Lock(lock) => lock.cast(),
        };
        self.waits_for.set(MaybeUninit::new(target));
    }

    /// The last wait that was noted, over or not. Of a suspended task.
    pub(crate) fn last_wait(&self) -> Option<WaitNote> {
        let site = self.waits_at.get()?;
        // SAFETY: noted before the place was.
        let (reason, since) = unsafe { self.waits.get().assume_init() };
        // SAFETY: where this is called, it was noted before the wait was.
        let target = || unsafe { self.waits_for.get().assume_init() };
        let target = match reason {
            // SAFETY: noted for this reason, it is a task, which lives as long as the wait.
            Reason::Join => Some(Target::Task(unsafe { TaskRef::from_raw(target().cast()) })),
            Reason::Lock | Reason::Read | Reason::Write => Some(Target::Lock(target().cast())),
            _ => None,
        };
        Some(WaitNote { reason, site, since, target })
    }
}
