//! The second halves of `join`s that wait on a worker: those of the task that it runs.
//!
//! Invariants:
//! - In `Remote::halves` are halves of the running task only, the oldest first. When it is suspended, or the
//!   worker may not come back for long, each becomes a task, so that others can run it.
//! - Others take the oldest, under the lock, and have made a task of it before they let the lock go. So what the
//!   list has lost is at its front: a deferred job that is taken back is the last in the list, or there is none.
//! - `RunQueue::deferred` counts the frames that have put a deferred job into the list since, whether or not it was taken by
//!   another; a frame that finds it zero was suspended meanwhile, and has no deferred job in any list.

use std::mem::MaybeUninit;

use crate::runtime::status::RETAKEN;
use crate::runtime::worker::Worker;
use crate::runtime::worker::next_task::STUCKS_TURN;
use crate::task::header::TaskRef;
use crate::task::stack_job::StackJobRef;
use crate::task::switch_request::SwitchRequest;
use crate::util::barrier;

/// Of a stack, the part that nested `join`s share, as a divisor: each job has the rest to itself.
const SHARE: usize = 4;

/// What becomes of the second half of a `join`.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deferred {
    /// It waits, or has been taken already.
    Yes,
    /// Not before the calling task has let others run.
    Later,
    /// The first half may not run in the calling thread: it may not be suspended, or has too little stack left.
    Never,
}

impl Worker {
    /// Keeps the second half of a `join` while the first runs in the calling task.
    ///
    /// # Safety
    ///
    /// If so, the deferred job stays where it is until that task has [taken it back](Worker::take_back).
    #[inline]
    pub(crate) unsafe fn defer(&self, job: StackJobRef) -> Deferred {
        if !self.green().is_some_and(has_room) {
            return Deferred::Never;
        }
        match self.until_tick.get() {
            1 if self.shared.chaos.is_some() => return Deferred::Never,
            1 if !self.pass_turn() => return Deferred::Later,
            1 => {}
            left => self.until_tick.set(left - 1),
        }
        self.counters().turns.count();
        self.core.queues.push_job(job);
        // Asked after it was pushed: either whoever disturbs has seen it, or we see that we are (`retake`).
        barrier::light();
        if !self.core.remote.own.status.is_undisturbed() {
            // If it was taken it is a task, and all is well.
            let ours = self.core.queues.pop_job().is_some();
            return if ours { Deferred::Later } else { Deferred::Yes };
        }
        if self.shared.idle.has_idle_workers() {
            self.publish_job();
        }
        Deferred::Yes
    }

    /// A tick is due. True if the running task may go on all the same: because there is nothing to switch, or
    /// because this was only just asked.
    #[cold]
    pub(crate) fn pass_turn(&self) -> bool {
        let mut stretch = self.stretch.get();
        let is_over = stretch.is_over();
        self.stretch.set(stretch);
        if is_over && self.do_others_wait() {
            return false;
        }
        self.until_tick.set(self.tick_interval);
        self.stacks.borrow_mut().tend(&self.shared.pool);
        self.counters().ticks.count();
        true
    }

    pub(crate) fn do_others_wait(&self) -> bool {
        let others = self.core.queues.has_others()
            || self.has_pinned_work()
            || self.shared.has_work()
            || self.shared.is_timer_due();
        if !others && self.is_suspect_stuck() {
            // No other task is ready, so the next one is to be a task of a stuck worker.
            self.tick_turn.set(STUCKS_TURN);
            return true;
        }
        others
    }

    /// The running task takes back the deferred job that it has deferred last. If another has taken it, or it had to become
    /// a task, its frame says so now; otherwise it is the frame's again.
    #[inline]
    pub(crate) fn take_back(&self, job: StackJobRef) {
        let Some(taken) = self.core.queues.pop_job() else {
            return self.core.queues.want_started();
        };
        debug_assert_eq!(taken, job, "halves are taken back in order");
        barrier::light();
        if self.core.remote.own.status.state() == RETAKEN {
            self.start_jobs();
            self.publish_all();
        }
    }

    /// Lets others take the oldest of what is here, because there are idle workers.
    #[cold]
    pub(crate) fn publish_job(&self) {
        let queues = &self.core.queues;
        if self.core.remote.has_stealable() {
            // They have been told.
            return;
        }
        if queues.forks() > 0 {
            if queues.publish_fork() {
                self.notify_of_published();
            }
        } else if queues.is_job_worth_it() {
            let Ok(slot) = self.take_slot(self.shared.config.class) else { return };
            match queues.pop_oldest_job() {
                Some(job) => {
                    // SAFETY: taken out of the list, and the scheduler outlives its tasks.
                    let task = unsafe { job.start(self.shared.owner(), slot, self.next_id()) };
                    queues.publish_started(task);
                    self.notify_of_published();
                }
                None => self.put_slot(slot),
            }
        }
    }

    /// Of a task that has suspended with this command: what it has deferred it cannot take back elsewhere.
    #[inline]
    pub(crate) fn part_with_jobs(&self, command: SwitchRequest) -> SwitchRequest {
        if self.core.queues.has_deferred() {
            self.start_jobs();
        }
        command
    }

    /// Makes tasks of all halves, because the task that they belong to may not come back here, or not soon.
    #[cold]
    pub(crate) fn start_jobs(&self) {
        while let Some(job) = self.core.queues.pop_oldest_job() {
            // Without a stack it stays with its frame, which will see to it.
            let Ok(slot) = self.take_slot(self.shared.config.class) else { continue };
            // SAFETY: as above.
            self.push_fork(unsafe { job.start(self.shared.owner(), slot, self.next_id()) });
        }
        self.core.queues.forget_deferred();
    }
}

/// Whether so little of the task's stack is in use that the halves of another `join` can share it.
#[inline]
fn has_room(task: TaskRef) -> bool {
    let here = MaybeUninit::<u8>::uninit();
    // On a temporary stack this is out of range as well.
    let used = task.slot().top().addr().get().wrapping_sub((&raw const here).addr());
    used <= task.slot().usable() / SHARE
}

#[cfg(all(test, loom))]
mod models {
    use crate::loom::{AtomicUsize, Ordering};
    use crate::util::biased_lock::Biased;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;
    use std::collections::VecDeque;

    /// A deferred job reduced to whether it was started, which is its frame's to know only after it was taken back.
    #[derive(Default)]
    struct World {
        list: Biased<VecDeque<usize>>,
        started: [Checked<bool>; 2],
        runs: AtomicUsize,
    }

    impl Default for Biased<VecDeque<usize>> {
        fn default() -> Self {
            Self::new(VecDeque::new())
        }
    }

    impl World {
        /// Two nested `join`s, by the owner.
        fn join(&self, job: usize) {
            // SAFETY: one thread is the owner.
            unsafe { self.list.with(|list| list.push_back(job)) };
            if job + 1 < self.started.len() {
                self.join(job + 1);
            }
            // SAFETY: as above.
            let taken = unsafe { self.list.with(VecDeque::pop_back) };
            // SAFETY: taken back, the frame is its function's; loom checks it.
            let started = self.started[job].with(|started| unsafe { *started });
            assert_eq!(
                taken,
                (!started).then_some(job),
                "the last in the list, or taken by another"
            );
            if !started {
                self.runs.fetch_add(1, Ordering::Relaxed);
            }
        }

        fn take_over(&self) {
            let start = |list: &mut VecDeque<usize>| {
                let job = list.pop_front()?;
                // SAFETY: taken out of the list under the lock; loom checks it.
                self.started[job].with_mut(|started| unsafe { *started = true });
                Some(())
            };
            if self.list.try_with(start).flatten().is_some() {
                self.runs.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn each_half_runs_once() {
        loom::model(|| {
            let world = Arc::new(World::default());
            let other = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    world.take_over();
                    world.take_over();
                })
            };
            world.join(0);
            other.join().unwrap();
            assert_eq!(world.runs.load(Ordering::Relaxed), 2);
        });
    }
}
