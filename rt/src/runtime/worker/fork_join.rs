//! Deferred jobs on a worker: the second closures of the `join`s in the task that it runs.
//!
//! Invariants:
//! - `Remote::jobs` has jobs of the running task only, the oldest first. When that task is
//!   suspended, or the worker may not come back for long, each becomes a task, so that other
//!   workers can run it.
//! - Other threads take the oldest job under the lock, and make a task of it before they release
//!   the lock. So jobs that they took were at the front: a job that is taken back is the last in
//!   the list, or the list is empty.
//! - `RunQueue::deferred` counts the frames that have put a job into the list since the task was
//!   last suspended and have not taken it back, whether or not another thread has the job. If a
//!   frame finds zero, the task was suspended meanwhile, and the frame's job is in no list.

use std::mem::MaybeUninit;

use crate::runtime::status::RETAKEN;
use crate::runtime::worker::Worker;
use crate::runtime::worker::next_task::STUCKS_TURN;
use crate::task::header::TaskRef;
use crate::task::stack_job::StackJobRef;
use crate::task::switch_request::SwitchRequest;
use crate::util::barrier;

/// The part of a stack that nested `join`s share, as a divisor. Each closure has the rest to
/// itself.
const SHARE: usize = 4;

/// The outcome of [`Worker::defer`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deferred {
    /// The job is deferred, or another thread has taken it already.
    Yes,
    /// Not deferred: the calling task must first let others run.
    Later,
    /// Not deferred: the first closure cannot run in the calling thread, which may not be suspended
    /// or has too little stack left. Also under chaos.
    Never,
}

impl Worker {
    /// Defers the second closure of a `join` while the first one runs in the calling task.
    ///
    /// # Safety
    ///
    /// If the result is [`Deferred::Yes`], the job stays where it is until the calling task has
    /// [taken it back](Worker::take_back).
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
        // Checked after the push. By the barriers, either the thread that disturbs this worker sees
        // the job, or this worker sees that it is disturbed (`sysmon/retake.rs`).
        barrier::light();
        if !self.core.remote.own.status.is_undisturbed() {
            // If another thread has taken the job, it is a task already.
            let ours = self.core.queues.pop_job().is_some();
            return if ours { Deferred::Later } else { Deferred::Yes };
        }
        if self.shared.idle.has_idle_workers() {
            self.publish_job();
        }
        Deferred::Yes
    }

    /// Returns `true` if the running task may go on although a tick is due: because no other task
    /// waits, or because that was checked a moment ago.
    #[cold]
    fn pass_turn(&self) -> bool {
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

    fn do_others_wait(&self) -> bool {
        let others = self.core.queues.has_others()
            || self.has_pinned_work()
            || self.shared.has_work()
            || self.shared.is_timer_due();
        if !others && self.is_suspect_stuck() {
            // No other task is ready, so the next tick is for the stuck worker's tasks.
            self.tick_turn.set(STUCKS_TURN);
            return true;
        }
        others
    }

    /// Takes back the job that the running task has deferred last. If another thread has taken it,
    /// or it has become a task, the job's frame says so now. Otherwise it belongs to the frame
    /// again.
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

    /// Publishes the oldest continuation or deferred job, because there are idle workers.
    #[cold]
    fn publish_job(&self) {
        let queues = &self.core.queues;
        if self.core.remote.has_stealable() {
            // Something is published already, and workers were notified of it.
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
                    // SAFETY: the job is out of the list, and the runtime outlives its tasks.
                    let task = unsafe { job.start(self.shared.owner(), slot, self.next_id()) };
                    queues.publish_started(task);
                    self.notify_of_published();
                }
                None => self.put_slot(slot),
            }
        }
    }

    /// Makes tasks of the jobs that a suspended task has deferred, because it cannot take them back
    /// on another worker. Passes its request through.
    #[inline]
    pub(crate) fn part_with_jobs(&self, command: SwitchRequest) -> SwitchRequest {
        if self.core.queues.has_deferred() {
            self.start_jobs();
        }
        command
    }

    /// Makes tasks of all deferred jobs, because the task that they belong to may not come back to
    /// this worker, or not soon.
    #[cold]
    pub(crate) fn start_jobs(&self) {
        while let Some(job) = self.core.queues.pop_oldest_job() {
            // Without a stack the job stays with its frame, which will call it.
            let Ok(slot) = self.take_slot(self.shared.config.class) else { continue };
            // SAFETY: the job is out of the list, and the runtime outlives its tasks.
            self.push_fork(unsafe { job.start(self.shared.owner(), slot, self.next_id()) });
        }
        self.core.queues.forget_deferred();
    }
}

/// Returns `true` if so little of the task's stack is in use that the closures of another `join`
/// can share it.
#[inline]
fn has_room(task: TaskRef) -> bool {
    let here = MaybeUninit::<u8>::uninit();
    // On a temporary stack this is out of range, and so there is no room.
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

    /// Deferred jobs reduced to whether each was started. A frame may read that only after it has
    /// taken its job back.
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
        /// Runs two nested `join`s, as the owner.
        fn join(&self, job: usize) {
            // SAFETY: this thread alone is the owner.
            unsafe { self.list.with(|list| list.push_back(job)) };
            if job + 1 < self.started.len() {
                self.join(job + 1);
            }
            // SAFETY: this thread alone is the owner.
            let taken = unsafe { self.list.with(VecDeque::pop_back) };
            // SAFETY: after the job was taken back, the frame belongs to this function. Loom checks
            // it.
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
                // SAFETY: the job was taken out of the list under the lock. Loom checks it.
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
