//! What of a worker the other threads see.

use std::collections::VecDeque;

use crossbeam_deque::Stealer;
use crossbeam_utils::CachePadded;

use super::driver::Timers;
use super::parker::Parker;
use crate::prim::{AtomicPtr, AtomicU64, AtomicUsize, Mutex, Ordering, fence, lock};
use crate::task::{Task, TaskRef};

/// Running tasks, or looking for some.
pub(super) const NORMAL: usize = 0;
/// In `blocking`, by its own account: not counted as running.
pub(super) const BLOCKING: usize = 1;
/// Found stuck in one task by the monitor: not counted as running until it picks again.
pub(super) const COVERED: usize = 2;
/// Asleep, or about to be.
pub(super) const SLEEPING: usize = 3;

/// The shared side of one worker.
#[derive(Debug)]
pub(super) struct Remote {
    /// Continuations: thieves take the oldest.
    pub(super) continuations: Stealer<TaskRef>,
    /// Woken and yielded tasks.
    pub(super) ready: Stealer<TaskRef>,
    pub(super) parker: Parker,
    /// Written by the worker at every pick.
    pub(super) own: CachePadded<Own>,
    /// Timers of the tasks that began to wait here.
    pub(super) timers: CachePadded<Timers>,
    inbox: Inbox,
    /// Tasks that are pinned here and not finished: while there are any, the OS thread may not end.
    pub(super) pinned: AtomicUsize,
}

/// Written often by the owner, read now and then by the monitor.
#[derive(Debug)]
pub(super) struct Own {
    /// Counts picks; the monitor sees by it whether the worker moves on.
    pub(super) picks: AtomicU64,
    /// Tasks that this worker took from another.
    pub(super) steals: AtomicU64,
    /// The task just woken, to run next. The owner alone puts one in; anyone may take it out.
    handoff: AtomicPtr<Task>,
    /// One of the constants above. The owner and the monitor change it.
    pub(super) status: AtomicUsize,
}

/// Pinned tasks made runnable by other threads.
#[derive(Debug)]
struct Inbox {
    len: AtomicUsize,
    tasks: Mutex<VecDeque<TaskRef>>,
}

impl Remote {
    pub(super) fn new(continuations: Stealer<TaskRef>, ready: Stealer<TaskRef>) -> Self {
        Self {
            continuations,
            ready,
            parker: Parker::new(),
            own: CachePadded::new(Own {
                picks: AtomicU64::new(0),
                steals: AtomicU64::new(0),
                handoff: AtomicPtr::new(std::ptr::null_mut()),
                status: AtomicUsize::new(NORMAL),
            }),
            timers: CachePadded::new(Timers::new()),
            inbox: Inbox { len: AtomicUsize::new(0), tasks: Mutex::new(VecDeque::new()) },
            pinned: AtomicUsize::new(0),
        }
    }

    /// Puts `task` in the hand-off slot; gives back the task that was there. Owner only.
    #[inline]
    pub(super) fn hand_off(&self, task: TaskRef) -> Option<TaskRef> {
        let slot = &self.own.handoff;
        if slot.load(Ordering::Relaxed).is_null() {
            // Others only empty the slot, so it stays empty until this store.
            slot.store(task.as_ptr(), Ordering::Release);
            return None;
        }
        as_task(slot.swap(task.as_ptr(), Ordering::AcqRel))
    }

    /// Whether a task waits in the hand-off slot.
    #[inline]
    pub(super) fn has_handoff(&self) -> bool {
        !self.own.handoff.load(Ordering::Relaxed).is_null()
    }

    /// Empties the hand-off slot.
    #[inline]
    pub(super) fn take_handoff(&self) -> Option<TaskRef> {
        let slot = &self.own.handoff;
        if slot.load(Ordering::Relaxed).is_null() {
            return None;
        }
        as_task(slot.swap(std::ptr::null_mut(), Ordering::AcqRel))
    }

    /// Whether there is work here that any worker could take.
    pub(super) fn has_stealable(&self) -> bool {
        !self.continuations.is_empty() || !self.ready.is_empty()
    }

    pub(super) fn post(&self, task: TaskRef) {
        let mut tasks = lock(&self.inbox.tasks);
        tasks.push_back(task);
        self.inbox.len.store(tasks.len(), Ordering::Relaxed);
        drop(tasks);
        fence(Ordering::SeqCst);
    }

    #[inline]
    pub(super) fn has_post(&self) -> bool {
        self.inbox.len.load(Ordering::Relaxed) > 0
    }

    pub(super) fn take_post(&self) -> VecDeque<TaskRef> {
        let mut tasks = lock(&self.inbox.tasks);
        self.inbox.len.store(0, Ordering::Relaxed);
        std::mem::take(&mut tasks)
    }
}

fn as_task(task: *mut Task) -> Option<TaskRef> {
    // SAFETY: the slot holds tasks that are runnable, and whoever swaps one out becomes the holder.
    std::ptr::NonNull::new(task).map(|task| unsafe { TaskRef::from_raw(task) })
}
