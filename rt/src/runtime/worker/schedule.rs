//! The queueing of tasks that become runnable on a worker: continuations of tasks that fork, woken
//! tasks, and tasks that yield.

use crate::runtime::status::NORMAL;
use crate::runtime::worker::Worker;
use crate::task::header::TaskRef;
use crate::util::barrier;

impl Worker {
    /// Queues the continuation of a task whose child runs next.
    #[inline]
    pub(crate) fn push_fork(&self, task: TaskRef) {
        self.core.queues.push_fork(task);
        if self.shared.idle.has_idle_workers() && self.core.queues.publish_fork() {
            self.notify_of_published();
        }
    }

    /// Queues a task that the running one has woken. It runs next, or beside the running one.
    #[inline]
    pub(crate) fn push_woken(&self, task: TaskRef) {
        if self.wakes_beside() { self.push_apart(task) } else { self.push_next(task) }
    }

    /// Queues a task that was woken by the running one, which goes on, perhaps only for a moment.
    pub(crate) fn push_beside(&self, task: TaskRef) {
        // If the running task does not suspend within 10 µs, a searching worker takes the task from
        // the LIFO slot, or later sysmon does.
        if self.shared.idle.has_room() { self.push_apart(task) } else { self.push_next(task) }
    }

    /// Queues a task to run next.
    pub(crate) fn push_next(&self, task: TaskRef) {
        if let Some(home) = task.pinned() {
            return self.push_pinned(home, task);
        }
        if self.must_not_suspend() {
            // The running task keeps the OS thread, and the LIFO slot would wait for it.
            return self.push_apart(task);
        }
        if let Some(before) = self.core.queues.push_lifo(task) {
            return self.push_ready(before);
        }
        if self.is_retaken() {
            self.publish_all();
        }
    }

    /// Returns `true` if the worker does not count as running: it was retaken, or blocks. Then it
    /// may not come back to its queues soon, and sysmon may not look at them again. Called after a
    /// task was queued. By the barriers, either sysmon sees the task after it has retaken the
    /// worker, or the worker sees that it was retaken (`sysmon/retake.rs`).
    #[inline]
    pub(crate) fn is_retaken(&self) -> bool {
        barrier::light();
        self.core.remote.own.status.state() != NORMAL
    }

    /// Queues a task for this or any other worker.
    pub(crate) fn push_ready(&self, task: TaskRef) {
        self.push_for_others(task, Self::shares);
    }

    /// Queues a task for another worker to run beside the running one.
    fn push_apart(&self, task: TaskRef) {
        self.push_for_others(task, |_| true);
    }

    #[inline]
    fn push_for_others(&self, task: TaskRef, shares: impl FnOnce(&Self) -> bool) {
        if let Some(home) = task.pinned() {
            return self.push_pinned(home, task);
        }
        self.core.queues.push_ready(task);
        if self.is_retaken() {
            self.publish_all();
        } else if self.shared.idle.has_idle_workers() && shares(self) {
            self.publish_ready();
        }
    }

    #[cold]
    pub(crate) fn publish_all(&self) {
        self.core.queues.publish_all();
        self.shared.answer(self.shared.idle.notify_outside());
    }

    /// Publishes the ready tasks.
    #[cold]
    pub(crate) fn publish_ready(&self) {
        if self.core.queues.publish_ready() {
            self.notify_of_published();
        }
    }

    #[cold]
    pub(crate) fn notify_of_published(&self) {
        self.counters().publications.count();
        // A retaken worker does not count as running, so `Idle::sleep` relies on its fence.
        let idle = &self.shared.idle;
        self.shared.answer(if self.is_retaken() { idle.notify_outside() } else { idle.notify() });
    }

    /// Publishes the oldest continuation and the ready tasks, if that is worth it.
    #[cold]
    pub(crate) fn publish_private(&self) {
        let fork = self.core.queues.publish_fork();
        let ready = self.shares() && self.core.queues.publish_ready();
        if ready || fork {
            self.notify_of_published();
        }
    }

    /// Queues a task that yields, and returns the task to run next. Gives the task back except in
    /// the plain case: there are no idle workers, no tick is due, and nothing goes before ready
    /// tasks in [`Worker::next_in_order`].
    #[inline]
    pub(crate) fn rotate(&self, task: TaskRef) -> Result<TaskRef, TaskRef> {
        let plain = self.until_tick.get() > 1
            && task.pinned().is_none()
            && self.core.remote.own.status.is_plain()
            && !self.has_pinned_work()
            && !self.shared.idle.has_idle_workers();
        if plain { self.core.queues.rotate(task) } else { Err(task) }
    }

    pub(crate) fn push_yielded(&self, task: TaskRef) {
        self.note_cpu_bound(task);
        if task.pinned().is_some() {
            return self.pinned.borrow_mut().push_back(task);
        }
        if self.lines_up(task) {
            return;
        }
        // If no other task is ready, this one is about to run again, and no worker need be woken
        // for it.
        let alone = self.core.queues.push_ready(task);
        if !alone && self.shared.idle.has_idle_workers() && self.shares() {
            self.publish_ready();
        }
    }

    fn push_pinned(&self, home: u32, task: TaskRef) {
        if home == self.core.index {
            self.pinned.borrow_mut().push_back(task);
        } else {
            self.shared.post(home, task);
        }
    }

    /// Moves all tasks that are not pinned to the injector, where every worker looks.
    pub(crate) fn give_up_work(&self) {
        self.core.queues.take_all().into_iter().for_each(|task| self.shared.inject(task));
    }
}
