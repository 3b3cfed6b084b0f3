//! What the outside has: waking tasks, timers, slots. Each goes through the worker that calls, if one does.

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

/// Registers an armed wait of the green thread that calls, to time out.
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

/// The task that the oldest deferred job of a worker has become, which is not the calling one. Costs as much as
/// [`Remote::take_over`], if there is one.
pub(crate) fn take_over_job(shared: &Shared, worker: &Remote) -> Option<TaskRef> {
    if !worker.has_jobs() {
        return None;
    }
    let mut slot = Some(take_slot(shared, shared.config.class).ok()?);
    let task = worker.take_over_job(|job| {
        let slot = slot.take().expect("called once");
        // SAFETY: it is out of the list, whose lock is held; the scheduler outlives its tasks.
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

/// Takes a slot, for use on the worker that calls, if one does.
pub(crate) fn take_slot(shared: &Shared, class: SizeClass) -> Result<Slot, StackError> {
    context::with(|worker| match worker {
        Some(worker) if worker.serves(shared) => worker.take_slot(class),
        _ => shared.pool.take(class),
    })
}

/// Makes a claimed thread run, on this worker as soon as the running one suspends: likely soon.
#[inline]
pub(crate) fn wake(wake: Wake) {
    match wake {
        Wake::Awake => {}
        Wake::Green(task) => schedule(task, Worker::push_woken),
        Wake::Os(thread) => thread.unpark(),
    }
}

/// Makes a task runnable that was just made on this worker, which goes on with what it does.
pub(crate) fn queue(task: TaskRef) {
    schedule(task, Worker::push_ready);
}

/// The green thread that calls has to wait for a lock.
pub(crate) fn note_lock_met() {
    context::with(|worker| worker.into_iter().for_each(Worker::note_lock_met));
}

/// [`wake`], by a thread that goes on, like one that unlocks: if another worker sleeps, it runs the
/// thread at once.
pub(crate) fn wake_beside(wake: Wake) {
    match wake {
        Wake::Green(task) => schedule(task, Worker::push_beside),
        other => self::wake(other),
    }
}

/// [`wake`], of many: so the worker is not stuck, though it runs nothing else meanwhile.
pub(crate) fn wake_many(wakes: Vec<Wake>) {
    wakes.into_iter().for_each(wake);
    context::with(|worker| {
        if let Some(worker) = worker {
            worker.counters().turns.count();
        }
    });
}

/// Makes a parked task runnable; the caller has claimed it. On a worker of the task's scheduler that worker
/// pushes it, elsewhere it goes to the injector.
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

/// Gives up one reference to a task. With the last the task's slot goes back.
///
/// # Safety
///
/// As for [`TaskRef::release`].
pub(crate) unsafe fn release(task: TaskRef) {
    // SAFETY: the caller's.
    if let Some(freed) = unsafe { task.release() } {
        take_back(freed);
    }
}

/// [`release`], of a reference that is likely the last.
///
/// # Safety
///
/// As for [`TaskRef::release_last`].
#[inline]
pub(crate) unsafe fn release_last(task: TaskRef) {
    // SAFETY: the caller's.
    if let Some(freed) = unsafe { task.release_last() } {
        take_back(freed);
    }
}

/// Takes back the slot of a task that was freed.
#[inline]
pub(crate) fn take_back(freed: Freed) {
    let Freed { owner, slot, site } = freed;
    // SAFETY: a runtime's shared data outlives its tasks, and this one is counted until its slot is back.
    let shared = unsafe { owner.get::<Shared>() };
    if shared.config.profile_stacks {
        shared.profile_stack(site, &slot);
    }
    put_slot(shared, slot);
}
