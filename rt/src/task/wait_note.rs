//! What threads note of their waits, for dumps and for the end of a deadlock. A task's note is written by the task itself,
//! and read when it is suspended; an OS thread's is under a lock.

use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::NonNull;

use crate::task::header::{Task, TaskRef};
use crate::task::lock_owner::AwaitedLock;
use crate::task::wait_info::Reason;
use crate::task::wait_state::TIMED_OUT;

/// What a task last waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitNote {
    pub(crate) reason: Reason,
    pub(crate) site: &'static Location<'static>,
    /// Milliseconds on the scheduler's coarse clock.
    pub(crate) since: u64,
    /// It has no deadline, and may end with `TIMED_OUT` all the same.
    pub(crate) interruptible: bool,
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
    pub(crate) fn note_wait(
        &self,
        reason: Reason,
        interruptible: bool,
        since: u64,
        site: &'static Location<'static>,
    ) {
        self.waits.set(MaybeUninit::new((reason, interruptible, since)));
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
        let (reason, interruptible, since) = unsafe { self.waits.get().assume_init() };
        // SAFETY: where this is called, it was noted before the wait was.
        let target = || unsafe { self.waits_for.get().assume_init() };
        let target = match reason {
            Reason::Join | Reason::Run => {
                // SAFETY: noted for this reason, it is a task, which lives as long as the wait.
                Some(Target::Task(unsafe { TaskRef::from_raw(target().cast()) }))
            }
            Reason::Lock | Reason::Read | Reason::Write => Some(Target::Lock(target().cast())),
            _ => None,
        };
        Some(WaitNote { reason, site, since, interruptible, target })
    }
}

impl TaskRef {
    /// Ends the wait of a task that sleeps, if that has no deadline and may be interrupted: true if so. The caller makes the
    /// task runnable then.
    ///
    /// # Safety
    ///
    /// The task is suspended or has not started, and nobody can make it run meanwhile.
    #[must_use]
    pub(crate) unsafe fn interrupt(self) -> bool {
        let Some(mark) = self.wait.asleep_mark() else { return false };
        let note = self.last_wait();
        note.is_some_and(|note| note.interruptible) && self.wait.claim_asleep(mark, TIMED_OUT)
    }
}
