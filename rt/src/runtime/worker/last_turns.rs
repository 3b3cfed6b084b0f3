//! A worker's part in the end of a runtime; see [`LastTurns`](crate::runtime::last_turns::LastTurns).

use gthread_arch::Switch;

use crate::runtime::last_turns::{Call, Turn};
use crate::runtime::status::{NORMAL, SLEEPING};
use crate::runtime::worker::Worker;
use crate::task::header::TaskRef;
use crate::task::switch_request::{Request, SwitchRequest};
use crate::task::wait_state::Commit;
use crate::util::backoff::Backoff;

impl Worker {
    /// Gathers with the other workers after the runtime has stopped. Returns when all tasks are
    /// over.
    #[cold]
    pub(crate) fn take_last_turns(&self) {
        // In this state a dump does not wait for the worker, which checks whether it is asked to
        // stop before it runs a task.
        self.set_status(SLEEPING);
        self.end_turn();
        self.leave_work_to_leader();
        let (room, me) = (&self.shared.last_turns, self.core.index);
        room.enter(me);
        loop {
            match room.wait_for_call(me) {
                Call::Go => return,
                Call::Lead => {
                    self.set_status(NORMAL);
                    self.lead();
                    room.pass_to(Turn::Over);
                }
                Call::RunPinned => {
                    self.set_status(NORMAL);
                    while let Some(task) = self.next_pinned() {
                        self.run_last_turn(task);
                    }
                    self.leave_work_to_leader();
                    room.pass_to(Turn::Leader);
                }
            }
            self.set_status(SLEEPING);
        }
    }

    /// Moves this worker's runnable tasks to where the leader looks.
    fn leave_work_to_leader(&self) {
        self.give_up_work();
        let pinned = self.pinned.take();
        pinned.into_iter().for_each(|task| self.core.remote.post(task));
    }

    /// Ends all tasks. Called by the leader.
    pub(crate) fn lead(&self) {
        let mut patience = Backoff::new();
        loop {
            // All waits end before any task runs, so that no task gets a wake that another passes
            // on.
            let (started, asleep) = self.end_sleepers();
            let ran = self.run_all();
            if self.send_all() || ran {
                patience = Backoff::new();
                continue;
            }
            for &task in &asleep {
                // SAFETY: the task's wait was ended, and it has not run since. No other thread runs
                // tasks now, or can make this one run.
                self.run_turn(task, || unsafe { task.resume_to_end() });
            }
            if started == 0 {
                return;
            }
            if asleep.is_empty() {
                // Another thread has claimed a task, and is about to make it runnable.
                patience.wait();
            }
        }
    }

    /// Runs the runnable tasks, except those pinned to other workers. Returns `true` if there were
    /// any.
    fn run_all(&self) -> bool {
        let next = || {
            let queues = &self.core.queues;
            let own = queues.pop_newest().or_else(|| queues.pop_ready());
            let own = own.or_else(|| self.next_pinned());
            let shared = own.or_else(|| self.take_injected()).or_else(|| self.take_strewn());
            shared.or_else(|| self.shared.cpu_bound.take_waiting())
        };
        let mut ran = false;
        while let Some(task) = next() {
            ran = true;
            self.run_last_turn(task);
        }
        ran
    }

    /// Lets the other workers run the runnable tasks that are pinned to them. Returns `true` if
    /// there were any.
    fn send_all(&self) -> bool {
        let mut sent = false;
        for (index, remote) in (0..).zip(self.shared.workers()) {
            if index != self.core.index && remote.has_post() {
                sent |= self.shared.last_turns.send(index);
            }
        }
        sent
    }

    /// Ends the waits of all sleeping tasks. Returns the number of tasks that have started and are
    /// not over, and those among them whose waits are ended.
    fn end_sleepers(&self) -> (usize, Vec<TaskRef>) {
        let mut tasks = Vec::new();
        // SAFETY: these are the pool's own slots. No task in them can finish before this worker
        // runs it.
        self.shared.pool.for_each_in_use(|top| tasks.extend(unsafe { TaskRef::at_top(top) }));
        // SAFETY: no other thread runs tasks now, so this worker alone has their fibers.
        tasks.retain(|task| unsafe { task.has_started() } && !task.is_over.get());
        let started = tasks.len();
        tasks.retain(|task| task.wait.end());
        (started, tasks)
    }

    /// Runs a runnable task until it suspends, unless it has not started, or is over.
    fn run_last_turn(&self, task: TaskRef) {
        // SAFETY: this worker has taken the task from a queue, so it has the fiber.
        if unsafe { task.has_started() } && !task.is_over.get() {
            // SAFETY: this worker holds the task as runnable.
            self.run_turn(task, || unsafe { task.resume() });
        }
    }

    fn run_turn(&self, task: TaskRef, resume: impl Fn() -> Switch<SwitchRequest>) {
        // Waits while the world is stopped.
        self.tick();
        self.set_current(Some(task));
        let mut switch = resume();
        loop {
            let Switch::Suspended(command) = switch else {
                self.set_current(None);
                let Some(again) = self.finish(task) else { return };
                // SAFETY: the task must run again to drop its result, and still belongs to this
                // worker.
                switch = unsafe { again.resume() };
                continue;
            };
            let command = self.part_with_jobs(command);
            self.set_current(None);
            match command {
                // The thread that has claimed the task makes it runnable, or has done so.
                SwitchRequest::CLAIMED => return,
                SwitchRequest::OVER => return task.is_over.set(true),
                command => match command.decode() {
                    Request::Parked if task.wait.commit() == Commit::Parked => {
                        // Ended at once, so that the turn of another task does not wake it.
                        task.wait.end();
                        return;
                    }
                    // The wait was claimed meanwhile, so the task must use that wake as well.
                    Request::Parked => {}
                    Request::ParkedHolding(lock) => {
                        task.wait.end();
                        // SAFETY: the lock belongs to the object that the task waits for, and lives
                        // as long as the task borrows that.
                        return unsafe { lock.release() };
                    }
                    // The task has no wake that another task could use. (A child that it has made
                    // is not started.)
                    Request::Yielded | Request::Spawned(_) => return task.is_over.set(true),
                },
            }
            self.set_current(Some(task));
            // SAFETY: the wait was claimed before the task slept, so the task still belongs to this
            // worker.
            switch = unsafe { task.resume() };
        }
    }
}
