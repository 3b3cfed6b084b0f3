//! Operations for code that may run on a worker or not: wakes, timers, stack slots. Each uses the
//! calling worker, if there is one.

use std::sync::Arc;
use std::time::Instant;

use gthread_arch::stacks::{SizeClass, Slot, StackError};

use crate::runtime::context;
use crate::runtime::driver::{TimerKey, Unannounced};
use crate::runtime::remote::Remote;
use crate::runtime::shared::Shared;
use crate::runtime::worker::Worker;
use crate::task::header::{TaskRef, Waiter, Wake};
use crate::task::id::next_ids;
use crate::task::refs::Freed;

/// Registers an armed wait of the calling green thread, to time out at `deadline`.
pub(crate) fn insert_timer(shared: &Shared, deadline: Instant, waiter: Waiter) -> TimerKey {
    let when = shared.driver.when(deadline);
    context::with(|worker| {
        let worker = worker.expect("a green thread runs on a worker");
        debug_assert!(worker.serves(shared));
        let (handle, first) = worker.core.remote.timers.insert(when, waiter);
        if first && worker.unannounced.get() == Unannounced::Nothing {
            worker.unannounced.set(Unannounced::Own);
        }
        TimerKey { worker: worker.index(), handle }
    })
}

/// Takes over the oldest deferred job of a worker that is not the calling one, and returns the task
/// that the job has become. Costs as much as [`Remote::take_over`], if there is a job.
pub(crate) fn take_over_job(shared: &Shared, worker: &Remote) -> Option<TaskRef> {
    if !worker.has_jobs() {
        return None;
    }
    let mut slot = Some(take_slot(shared, shared.config.class).ok()?);
    let task = worker.take_over_job(|job| {
        let slot = slot.take().expect("called once");
        // SAFETY: the job is out of the list, whose lock is held, and the runtime outlives its
        // tasks.
        unsafe { job.start(shared.owner(), slot, next_ids(1)) }
    });
    slot.into_iter().for_each(|slot| put_slot(shared, slot));
    task
}

/// Takes the slot of a finished task back.
#[inline]
pub(crate) fn put_slot(shared: &Shared, slot: Slot) {
    context::with(|worker| match worker {
        Some(worker) if worker.serves(shared) => worker.put_slot(slot),
        _ => {
            // SAFETY: shared data lives in an `Arc`, and this one is alive until the slot is back.
            // The count keeps it until `put` has returned.
            let count = unsafe {
                Arc::increment_strong_count(shared);
                Arc::from_raw(shared)
            };
            count.pool.put(slot);
        }
    });
}

/// Takes a slot, from the calling worker's cache if there is one.
pub(crate) fn take_slot(shared: &Shared, class: SizeClass) -> Result<Slot, StackError> {
    context::with(|worker| match worker {
        Some(worker) if worker.serves(shared) => worker.take_slot(class),
        _ => shared.pool.take(class),
    })
}

/// Makes a claimed thread run. A green thread runs on the calling worker when the running thread
/// suspends, which is likely to be soon.
#[inline]
pub(crate) fn wake(wake: Wake) {
    match wake {
        Wake::Awake => {}
        Wake::Green(task) => schedule(task, Worker::push_woken),
        Wake::Os(thread) => thread.unpark(),
    }
}

/// Makes a new task runnable. The caller goes on.
pub(crate) fn queue(task: TaskRef) {
    schedule(task, Worker::push_ready);
}

/// Notes that the calling green thread has to wait for a lock.
pub(crate) fn note_lock_met() {
    context::with(|worker| worker.into_iter().for_each(Worker::note_lock_met));
}

/// Like [`wake`], for a caller that goes on, like a thread that unlocks. If fewer workers run than
/// may, another worker runs the woken thread at once.
pub(crate) fn wake_beside(wake: Wake) {
    match wake {
        Wake::Green(task) => schedule(task, Worker::push_beside),
        other => self::wake(other),
    }
}

/// Like [`wake`], for many threads. Sysmon does not take the worker for stuck, although it runs
/// nothing else meanwhile.
pub(crate) fn wake_many(wakes: Vec<Wake>) {
    wakes.into_iter().for_each(wake);
    context::with(|worker| {
        if let Some(worker) = worker {
            worker.counters().turns.count();
        }
    });
}

/// Makes a task runnable, which the caller has claimed or just made. The calling worker queues it
/// with `push`, if it serves the task's runtime. Otherwise the task is injected.
fn schedule(task: TaskRef, push: impl FnOnce(&Worker, TaskRef)) {
    let done = context::with(|worker| match worker {
        Some(worker) if worker.serves(Shared::of(&task)) => {
            push(worker, task);
            true
        }
        _ => false,
    });
    if !done {
        Shared::count_of(task).inject(task);
    }
}

/// Gives up one reference to a task. If it was the last, the task's slot goes back to the runtime.
///
/// # Safety
///
/// Same as [`TaskRef::release`].
pub(crate) unsafe fn release(task: TaskRef) {
    // SAFETY: the caller holds the reference, and does not use the task afterwards.
    if let Some(freed) = unsafe { task.release() } {
        take_back(freed);
    }
}

/// Like [`release`], for a reference that is likely the last.
///
/// # Safety
///
/// Same as [`TaskRef::release_last`].
#[inline]
pub(crate) unsafe fn release_last(task: TaskRef) {
    // SAFETY: the caller holds the reference, and does not use the task afterwards.
    if let Some(freed) = unsafe { task.release_last() } {
        take_back(freed);
    }
}

/// Takes back the slot of a task that was freed.
#[inline]
pub(crate) fn take_back(freed: Freed) {
    let Freed { owner, slot, site } = freed;
    // SAFETY: the owner of a task is its runtime's `Shared`, which outlives the task: it is kept
    // alive until the slot is back.
    let shared = unsafe { owner.get::<Shared>() };
    if shared.config.profile_stacks {
        shared.profile_stack(site, &slot);
    }
    put_slot(shared, slot);
}
