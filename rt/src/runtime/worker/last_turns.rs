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
    /// Gathers with the others when the scheduler has stopped, and comes back when all tasks are over.
    #[cold]
    pub(crate) fn take_last_turns(&self) {
        // So a dump does not wait for it. It looks whether it is asked before it runs a task.
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

    /// Puts what is runnable here where the leader looks.
    pub(crate) fn leave_work_to_leader(&self) {
        self.give_up_work();
        let pinned = self.pinned.take();
        pinned.into_iter().for_each(|task| self.core.remote.post(task));
    }

    /// Ends all tasks.
    pub(crate) fn lead(&self) {
        let mut patience = Backoff::new();
        loop {
            // All at once, and before anything runs: so none is given what another leaves.
            let (started, asleep) = self.end_sleepers();
            let ran = self.run_all();
            if self.send_all() || ran {
                patience = Backoff::new();
                continue;
            }
            for &task in &asleep {
                // SAFETY: its wait was ended, and it has not run since; nobody else runs it.
                self.run_turn(task, || unsafe { task.resume_to_end() });
            }
            if started == 0 {
                return;
            }
            if asleep.is_empty() {
                // For those who have claimed one and are about to make it runnable.
                patience.wait();
            }
        }
    }

    /// Runs what is runnable on this worker: true if anything was.
    pub(crate) fn run_all(&self) -> bool {
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

    /// Has the others run what is pinned to them: true if anything was.
    pub(crate) fn send_all(&self) -> bool {
        let mut sent = false;
        for (index, remote) in (0..).zip(self.shared.workers()) {
            if index != self.core.index && remote.has_post() {
                sent |= self.shared.last_turns.send(index);
            }
        }
        sent
    }

    /// Ends the waits of all tasks that are asleep. Gives the number of those that have started and are not over; and of
    /// these the ones whose waits were ended.
    pub(crate) fn end_sleepers(&self) -> (usize, Vec<TaskRef>) {
        let mut tasks = Vec::new();
        // SAFETY: the pool's own slots. None of these tasks can finish before this worker runs it.
        self.shared.pool.for_each_in_use(|top| tasks.extend(unsafe { TaskRef::at_top(top) }));
        // SAFETY: nobody else runs one.
        tasks.retain(|task| unsafe { task.has_started() } && !task.is_over.get());
        let started = tasks.len();
        tasks.retain(|task| task.wait.end());
        (started, tasks)
    }

    /// Runs a task that is runnable until it suspends, unless it has not started, or is over.
    pub(crate) fn run_last_turn(&self, task: TaskRef) {
        // SAFETY: it is this worker's to run.
        if unsafe { task.has_started() } && !task.is_over.get() {
            // SAFETY: as above.
            self.run_turn(task, || unsafe { task.resume() });
        }
    }

    pub(crate) fn run_turn(&self, task: TaskRef, resume: impl Fn() -> Switch<SwitchRequest>) {
        // Waits while the world is stopped.
        self.tick();
        self.set_current(Some(task));
        let mut switch = resume();
        loop {
            let Switch::Suspended(command) = switch else {
                self.set_current(None);
                let Some(again) = self.finish(task) else { return };
                // SAFETY: it has something left to drop, and is this worker's still.
                switch = unsafe { again.resume() };
                continue;
            };
            let command = self.part_with_jobs(command);
            self.set_current(None);
            match command {
                // Whoever has claimed it makes it runnable, or has.
                SwitchRequest::CLAIMED => return,
                SwitchRequest::OVER => return task.is_over.set(true),
                command => match command.decode() {
                    Request::Parked if task.wait.commit() == Commit::Parked => {
                        // At once, so that no other turn wakes it.
                        task.wait.end();
                        return;
                    }
                    // Claimed meanwhile, and so to be used as well.
                    Request::Parked => {}
                    Request::ParkedHolding(lock) => {
                        task.wait.end();
                        // SAFETY: the lock belongs to what the task waits for, and lives as long as the task's
                        // borrow of it.
                        return unsafe { lock.release() };
                    }
                    // It owes nobody anything. (And the child is not started.)
                    Request::Yielded | Request::Spawned(_) => return task.is_over.set(true),
                },
            }
            self.set_current(Some(task));
            // SAFETY: its wait was claimed as it was about to sleep, so it is this worker's still.
            switch = unsafe { task.resume() };
        }
    }
}
