//! The loop of a worker: it takes the next task, runs it, and handles the request with which the
//! task suspends.

use gthread_arch::Switch;
use gthread_arch::stacks::AlternateStack;

use crate::runtime::context;
use crate::runtime::handle::{take_back, wake};
use crate::runtime::registry::hand_over_poller;
use crate::runtime::status::{NORMAL, SLEEPING};
use crate::runtime::worker::{Next, Worker};
use crate::task::cpu_bound::CpuBound;
use crate::task::header::TaskRef;
use crate::task::join_state::Finish;
use crate::task::switch_request::Request;
use crate::task::wait_state::Commit;

impl Worker {
    /// Runs tasks until the runtime stops. A spare worker also ends when it is not needed for a
    /// while.
    pub(crate) fn run(&self) {
        let _entered = context::enter(self);
        // Without this stack, a stack overflow still ends the process, but without a message.
        let _alternate_stack = AlternateStack::install();
        self.core.remote.parker.adopt();
        self.set_status(NORMAL);
        self.come_to_help();
        while !self.shared.is_stopped() {
            let fair = self.tick();
            let next = if fair && self.must_retire() {
                self.retire()
            } else {
                self.next_task(fair).map_or_else(|| self.wait_for_work(), Next::Run)
            };
            match next {
                Next::Run(task) => self.start(task),
                Next::LookAgain => {}
                Next::End => break,
            }
        }
        self.end_if_child();
        if self.shared.is_stopped() {
            hand_over_poller();
            self.take_last_turns();
        }
        self.flush_stacks();
        self.set_status(SLEEPING);
        self.core.remote.parker.disown();
    }

    /// Runs a task that was found. If the worker was searching, it has stopped.
    pub(crate) fn start(&self, task: TaskRef) {
        if self.searching.replace(false) {
            let summon = self.shared.idle.stop_search(|| self.shared.has_work());
            self.shared.answer(summon);
        }
        self.notify_of_timers();
        if task.cpu_bound.get() == CpuBound::No {
            self.run_task(task)
        } else {
            self.run_cpu_bound(task)
        }
    }

    /// Runs a task, and then those that follow it directly: its child, its parent, the next task
    /// after a yield. Returns when [`Worker::next_task`] has to choose.
    #[inline(always)]
    pub(crate) fn run_task(&self, mut task: TaskRef) {
        self.set_current(Some(task));
        loop {
            // SAFETY: the task came from a queue or from its parent, or it has not left this worker
            // since it last ran. So this worker holds it as runnable.
            let switch = unsafe { task.resume() };
            #[cfg(debug_assertions)]
            context::lent::assert_not();
            // The registers are saved now. `current` changes first (`diagnostics/stop_world.rs`).
            // After that, other workers may run the task.
            match switch {
                Switch::Suspended(command) => match self.part_with_jobs(command).decode() {
                    Request::Spawned(child) => {
                        // SAFETY: the parent has just made this task and hands it over with the
                        // request. It has not run yet, so it is alive.
                        let child = unsafe { TaskRef::from_raw(child.cast()) };
                        self.set_current(Some(child));
                        task.note_fork(child);
                        self.push_fork(task);
                        if self.count_switch() {
                            match self.pick_child(child) {
                                Some(next) => task = next,
                                None => return,
                            }
                        } else {
                            task = child;
                        }
                        continue;
                    }
                    Request::Parked => {
                        self.set_current(None);
                        self.note_cpu_bound(task);
                        match task.wait.commit() {
                            Commit::Parked => {}
                            Commit::Selected => {
                                self.set_current(Some(task));
                                continue;
                            }
                        }
                    }
                    Request::ParkedHolding(lock) => {
                        self.set_current(None);
                        self.note_cpu_bound(task);
                        // SAFETY: the lock belongs to the object that the task waits for, and lives
                        // as long as the task borrows that. No thread can wake the task before the
                        // lock is free.
                        unsafe { lock.release() }
                    }
                    Request::Yielded => {
                        self.set_current(None);
                        match self.rotate(task) {
                            Ok(next) => {
                                self.set_current(Some(next));
                                self.count_switch();
                                task = next;
                                continue;
                            }
                            Err(task) => self.push_yielded(task),
                        }
                    }
                },
                Switch::Finished => {
                    if let Some(next) = self.finish_into(task) {
                        task = next;
                        continue;
                    }
                }
            }
            return;
        }
    }

    /// Finishes a task. Returns the task that follows it directly: the newest continuation, usually
    /// the parent's, unless a tick is due or there is a task in the LIFO slot. Or the same task, if
    /// it must run again ([`Worker::finish`]).
    #[inline]
    fn finish_into(&self, task: TaskRef) -> Option<TaskRef> {
        if self.until_tick.get() == 1 {
            self.set_current(None);
            return self.finish(task);
        }
        let next = self.core.queues.pop_fork();
        // If the parent has not run since it forked this task, the join handle is still in the
        // parent's frame, and not in use.
        let alone = task.plain && next.is_some_and(|next| next.waits_since_fork_of(task));
        if !(alone && task.join.finish_alone()) {
            self.set_current(None);
            if let task @ Some(_) = self.finish(task) {
                next.into_iter().for_each(|next| self.push_fork(next));
                return task;
            }
        }
        if next.is_some() {
            // A child that finished alone is not freed before its parent runs, so `current` may
            // name it until here.
            self.set_current(next);
            self.count_switch();
        }
        next
    }

    /// Finishes a task whose fiber has ended. Returns the task if it must run again: it was
    /// detached after it had checked for that, and must drop its result on its own stack.
    pub(crate) fn finish(&self, task: TaskRef) -> Option<TaskRef> {
        let home = task.pinned();
        // Taken while the task is ours. The callback runs when this function ends, after the result
        // is handed over or dropped.
        let after = task.take_after();
        match task.join.finish() {
            Finish::Detached if task.has_dropped_result() => {
                // SAFETY: this worker finishes the task, so it gives up the task's own reference.
                // It does not use the task afterwards.
                unsafe { task.end() }.into_iter().for_each(take_back);
            }
            Finish::Detached => {
                task.put_after(after);
                // SAFETY: this worker finishes the task, and has its fiber. The task is detached,
                // so no thread can take its result, and it has not dropped the result.
                unsafe { task.wind_up_again() };
                self.set_current(Some(task));
                return Some(task);
            }
            Finish::Handed { joiner, timed, last } => {
                if joiner {
                    // SAFETY: this worker is the finisher, and has seen the joiner registered. The
                    // joiner waits until it is claimed, and its handle keeps the task alive.
                    let joiner = unsafe { task.joiner().claim(0) };
                    joiner.into_iter().for_each(wake);
                }
                if timed {
                    self.shared.timed_joiners.claim(task).into_iter().for_each(wake);
                }
                if last {
                    // SAFETY: no reference is left, so the handle is gone. It has taken the result:
                    // otherwise it would have detached the task.
                    take_back(unsafe { task.free() });
                }
            }
        }
        if let Some(home) = home {
            self.shared.forget_pinned(home);
        }
        drop(after);
        None
    }
}
