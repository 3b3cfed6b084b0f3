//! The loop: a worker takes the next task, runs it, and sees to what the task suspended for.

use gthread_arch::Switch;
use gthread_arch::stacks::AlternateStack;

use crate::runtime::context;
use crate::runtime::handle::{take_back, wake};
use crate::runtime::status::{NORMAL, SLEEPING};
use crate::runtime::worker::{Next, Worker};
use crate::task::cpu_bound::CpuBound;
use crate::task::header::TaskRef;
use crate::task::join_state::Finish;
use crate::task::switch_request::Request;
use crate::task::wait_state::Commit;

impl Worker {
    /// Runs tasks until the scheduler stops, or, for a spare, until it is not needed.
    pub(crate) fn run(&self) {
        let _entered = context::enter(self);
        // Without it an overflow still ends the process, but unexplained.
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
            self.take_last_turns();
        }
        self.flush_stacks();
        self.set_status(SLEEPING);
        self.core.remote.parker.disown();
    }

    /// Runs what was found; whoever was searching has stopped.
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

    /// Runs a task, and the children it forks, until it parks, yields or ends.
    #[inline(always)]
    pub(crate) fn run_task(&self, mut task: TaskRef) {
        self.set_current(Some(task));
        loop {
            // SAFETY: the task came out of a queue, or from its parent's hand: it is runnable and ours.
            let switch = unsafe { task.resume() };
            #[cfg(debug_assertions)]
            context::lent::assert_not();
            // The switch is over, the registers are saved. What is said of the running task changes first
            // (`diagnostics/stop_world.rs`); from then on others may run it.
            match switch {
                Switch::Suspended(command) => match self.part_with_jobs(command).decode() {
                    Request::Spawned(child) => {
                        // SAFETY: the parent has just made it, and handed it over with the request.
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
                        // SAFETY: the lock belongs to what the task waits for, and lives as long as the
                        // task's borrow of it; nobody can wake the task before the lock is free.
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

    /// Finishes a task, and goes straight on with the continuation that it was forked from, if nobody
    /// has stolen that and nothing else comes first in [`Worker::next_task`]'s order.
    #[inline]
    pub(crate) fn finish_into(&self, task: TaskRef) -> Option<TaskRef> {
        if self.until_tick.get() == 1 {
            self.set_current(None);
            return self.finish(task);
        }
        let next = self.core.queues.pop_fork();
        // If its parent has not run since it forked, the handle is still in the frame that did.
        let alone = task.plain && next.is_some_and(|next| next.waits_since_fork_of(task));
        if !(alone && task.join.finish_alone()) {
            self.set_current(None);
            if let task @ Some(_) = self.finish(task) {
                next.into_iter().for_each(|next| self.push_fork(next));
                return task;
            }
        }
        if next.is_some() {
            // A child that finished alone is not freed before its parent runs.
            self.set_current(next);
            self.count_switch();
        }
        next
    }

    /// Finishes a task that has come to the end of its stack; or gives it back, to run again: it was detached when it had
    /// looked whether it was, and what it leaves is dropped on its own stack, as a part of it.
    pub(crate) fn finish(&self, task: TaskRef) -> Option<TaskRef> {
        let home = task.pinned();
        // Taken while the task is ours; done when this function ends, after the result is settled.
        let after = task.take_after();
        match task.join.finish() {
            Finish::Detached if task.has_dropped_result() => {
                // SAFETY: the task's own reference is ours to give up, after which it is not used.
                unsafe { task.end() }.into_iter().for_each(take_back);
            }
            Finish::Detached => {
                task.put_after(after);
                // SAFETY: we finish it, nobody can take the result any more, and it has not dropped it.
                unsafe { task.wind_up_again() };
                self.set_current(Some(task));
                return Some(task);
            }
            Finish::Handed { joiner, timed, last } => {
                if joiner {
                    // SAFETY: we are the finisher; the joiner waits until it is claimed, and its
                    // handle keeps the task.
                    let joiner = unsafe { task.joiner().claim(0) };
                    joiner.into_iter().for_each(wake);
                }
                if timed {
                    self.shared.timed_joiners.claim(task).into_iter().for_each(wake);
                }
                if last {
                    // SAFETY: no reference is left, so no result either: the handle is gone, and
                    // would have left DETACHED had it not taken the result.
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
