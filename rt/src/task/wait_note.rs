//! Notes about waits, for dumps and for ending deadlocks. A task writes its own note, which is read
//! while the task is suspended. An OS thread's note is under a lock (`os_thread.rs`).

use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::{self, NonNull};

use crate::task::header::{Task, TaskRef};
use crate::task::lock_owner::AwaitedLock;
use crate::task::wait_info::Reason;
use crate::task::wait_state::TIMED_OUT;

/// The last wait of a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitNote {
    pub(crate) reason: Reason,
    pub(crate) site: &'static Location<'static>,
    /// The start of the wait, in milliseconds on the runtime's coarse clock.
    pub(crate) since: u64,
    /// The wait has no deadline, and may end with `TIMED_OUT` all the same.
    pub(crate) interruptible: bool,
    /// The object of the wait, which exists while the wait lasts.
    pub(crate) target: Option<Target>,
}

/// The object of a wait that one particular thread must end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Task(TaskRef),
    /// In a frame of the waiting task.
    Lock(NonNull<AwaitedLock>),
    /// A descriptor of the process, by its number.
    Descriptor(i32),
}

impl Task {
    /// Notes for dumps the wait that the task is about to begin. Called by the task itself.
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

    /// Notes the target of the next wait, before [`note_wait`](Self::note_wait). Called by the task
    /// itself, always for a reason that has this kind of target.
    pub(crate) fn note_target(&self, target: Target) {
        // One word. The reason says which kind it is.
        let target = match target {
            Target::Task(task) => task.0.cast(),
            Target::Lock(lock) => lock.cast(),
            Target::Descriptor(fd) => {
                let number = fd.unsigned_abs() as usize + 1;
                NonNull::new(ptr::without_provenance_mut(number)).expect("at least one")
            }
        };
        self.waits_for.set(MaybeUninit::new(target));
    }

    /// Returns the last noted wait, whether or not it is over. For a suspended task.
    pub(crate) fn last_wait(&self) -> Option<WaitNote> {
        let site = self.waits_at.get()?;
        // SAFETY: `note_wait` initialized it before it set the place, which is there.
        let (reason, interruptible, since) = unsafe { self.waits.get().assume_init() };
        // SAFETY: called below only for reasons with a target. For those, `note_target` initialized
        // it before the wait was noted.
        let target = || unsafe { self.waits_for.get().assume_init() };
        let target = match reason {
            Reason::Join | Reason::Run => {
                // SAFETY: a target noted for this reason is a task, which lives as long as the
                // wait.
                Some(Target::Task(unsafe { TaskRef::from_raw(target().cast()) }))
            }
            Reason::Lock | Reason::Read | Reason::Write => Some(Target::Lock(target().cast())),
            reason if reason.is_io() => {
                Some(Target::Descriptor((target().addr().get() - 1) as i32))
            }
            _ => None,
        };
        Some(WaitNote { reason, site, since, interruptible, target })
    }
}

impl TaskRef {
    /// Ends the wait of a sleeping task, if the wait has no deadline and may be interrupted.
    /// Returns `true` if it did: the caller then makes the task runnable.
    ///
    /// # Safety
    ///
    /// The task is suspended or has not started, and no other thread can make it run meanwhile.
    #[must_use]
    pub(crate) unsafe fn interrupt(self) -> bool {
        let Some(mark) = self.wait.asleep_mark() else { return false };
        let note = self.last_wait();
        note.is_some_and(|note| note.interruptible) && self.wait.claim_asleep(mark, TIMED_OUT)
    }
}
