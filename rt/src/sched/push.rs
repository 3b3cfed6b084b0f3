//! Where a worker puts the tasks that become runnable on it: the continuation of one that forks, those that it
//! wakes, those that yield.

use super::status::NORMAL;
use super::worker::Worker;
use crate::prim::barrier;
use crate::task::TaskRef;

impl Worker {
    /// Queues the continuation of a task whose child runs next.
    #[inline]
    pub(super) fn push_fork(&self, task: TaskRef) {
        self.core.queues.push_fork(task);
        if self.sched.idle.is_hungry() && self.core.queues.offer_fork() {
            self.tell_of_offer();
        }
    }

    /// Queues a task that was woken by the running one: it runs next, or beside it.
    #[inline]
    pub(super) fn push_woken(&self, task: TaskRef) {
        if self.wakes_beside() { self.push_apart(task) } else { self.push_next(task) }
    }

    /// Queues a task that was woken by the running one, which goes on, but for a moment only.
    pub(super) fn push_beside(&self, task: TaskRef) {
        // Who searches takes it from the hand-off if the running one does not suspend within ten microseconds, else the
        // monitor does.
        if self.sched.idle.has_room() { self.push_apart(task) } else { self.push_next(task) }
    }

    /// Queues a task that was woken by the running one, to run next.
    fn push_next(&self, task: TaskRef) {
        if let Some(home) = task.pinned() {
            return self.push_pinned(home, task);
        }
        if self.must_not_suspend() {
            // The running task holds the OS thread: the hand-off would wait for it.
            return self.push_apart(task);
        }
        if let Some(before) = self.core.queues.hand_off(task) {
            return self.push_ready(before);
        }
        if self.is_covered() {
            self.expose_all();
        }
    }

    /// Whether the worker does not run by its own account, or was found stuck by the monitor: then it will
    /// not come back to its queues soon, and the monitor may not look here again. Asked after a task was
    /// queued: either the monitor has seen it after it covered for us, or we see that it did (`cover`).
    #[inline]
    fn is_covered(&self) -> bool {
        barrier::light();
        self.core.remote.own.status.state() != NORMAL
    }

    /// Queues a task for this or any other worker.
    pub(crate) fn push_ready(&self, task: TaskRef) {
        self.push_for_others(task, Self::shares);
    }

    /// Queues a task that another worker is to run beside the running one.
    fn push_apart(&self, task: TaskRef) {
        self.push_for_others(task, |_| true);
    }

    #[inline]
    fn push_for_others(&self, task: TaskRef, shares: impl FnOnce(&Self) -> bool) {
        if let Some(home) = task.pinned() {
            return self.push_pinned(home, task);
        }
        self.core.queues.push_ready(task);
        if self.is_covered() {
            self.expose_all();
        } else if self.sched.idle.is_hungry() && shares(self) {
            self.offer_ready();
        }
    }

    #[cold]
    pub(super) fn expose_all(&self) {
        self.core.queues.expose_all();
        self.sched.answer(self.sched.idle.notify_outside());
    }

    /// Lets others take what is ready.
    #[cold]
    fn offer_ready(&self) {
        if self.core.queues.offer_ready() {
            self.tell_of_offer();
        }
    }

    #[cold]
    pub(super) fn tell_of_offer(&self) {
        self.counters().offers.count();
        // One that is covered does not count as running, so others rely on its fence (`Idle::sleep`).
        let idle = &self.sched.idle;
        self.sched.answer(if self.is_covered() { idle.notify_outside() } else { idle.notify() });
    }

    /// Lets others take what is private, but for a lone continuation that is not worth it.
    #[cold]
    pub(super) fn feed(&self) {
        let fork = self.core.queues.offer_fork();
        let ready = self.shares() && self.core.queues.offer_ready();
        if ready || fork {
            self.tell_of_offer();
        }
    }

    /// The task that runs after one that yields, in the plain case: nobody is hungry, it is no time to be fair,
    /// and nothing goes before ready tasks in [`Worker::pick_in_order`].
    #[inline]
    pub(super) fn rotate(&self, task: TaskRef) -> Result<TaskRef, TaskRef> {
        let plain = self.until_fair.get() > 1
            && task.pinned().is_none()
            && self.core.remote.own.status.is_plain()
            && !self.has_pinned_work()
            && !self.sched.idle.is_hungry();
        if plain { self.core.queues.rotate(task) } else { Err(task) }
    }

    pub(super) fn push_yielded(&self, task: TaskRef) {
        self.note_hog(task);
        if task.pinned().is_some() {
            return self.pinned.borrow_mut().push_back(task);
        }
        if self.lines_up(task) {
            return;
        }
        // Alone, it is about to be picked again, and nobody need be woken for it.
        let alone = self.core.queues.push_ready(task);
        if !alone && self.sched.idle.is_hungry() && self.shares() {
            self.offer_ready();
        }
    }

    fn push_pinned(&self, home: u32, task: TaskRef) {
        if home == self.core.index {
            self.pinned.borrow_mut().push_back(task);
        } else {
            self.sched.post(home, task);
        }
    }

    /// Moves everything that is not pinned to the injector, where nobody can overlook it.
    pub(super) fn give_up_work(&self) {
        self.core.queues.take_all().into_iter().for_each(|task| self.sched.inject(task));
    }
}
