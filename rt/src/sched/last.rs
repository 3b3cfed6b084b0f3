//! The last turns: what becomes of a scheduler's tasks when it stops.
//!
//! A task that waits is passed over from the moment the scheduler has stopped: to claim it fails
//! ([`Waiter::claim`](crate::task::Waiter)). Two things are left to do, so that nobody else waits in vain because of it:
//!
//! - A task that was claimed before has used up a wake. It gets a **last turn**: it runs until it suspends the next time,
//!   and so uses what it was woken for, or passes it on.
//! - A task that waits is in a queue. It **withdraws**, as one that has timed out does: it leaves the queue and sees to
//!   those behind it. Then it stays where it is, for ever.
//!
//! Who does it: the workers gather in a *room*, each when the task that it runs has suspended. When all OS threads of the
//! scheduler have come, or ended, one of them leads. It runs what is runnable, has those withdraw that are asleep, and
//! sends a worker to run what is pinned to it, and waits for it. Of all the scheduler's tasks one at a time runs then.
//!
//! Invariants, and why it ends (README.md, §11):
//! - `threads` counts the OS threads that have started, or may, and have not ended. Only the monitor starts others, and
//!   counts them before it ends. So once all who are left wait in the room, that is all there will ever be.
//! - One thread has the turn: the leader, or the worker that it has sent. Nobody else runs a task, or has the fiber of
//!   one that has started.
//! - A task that has started and is not over is asleep, or runnable, or was claimed by somebody who is about to make it
//!   runnable. The leader waits for these too. Each turn leaves it asleep, finished or over; one that was asleep is then
//!   over. It can be claimed again only by somebody who has not yet seen that the scheduler has stopped.

use super::worker::Worker;
use crate::prim::{Condvar, Mutex, MutexGuard, lock};
use crate::spin::Patience;
use crate::task::TaskRef;
use crate::task::command::{Action, Command};
use crate::task::state::Commit;
use gthread_arch::Switch;

use super::status::{NORMAL, SLEEPING};

/// The room.
#[derive(Debug)]
pub(super) struct LastTurns {
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inside {
    threads: usize,
    /// The workers that are in the room, by number.
    waiting: Vec<u32>,
    turn: Turn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Not all are here.
    Nobody,
    Leader,
    /// The leader waits for this worker, which runs what is pinned to it.
    Sent(u32),
    /// All go.
    Over,
}

/// What a worker is to do that waits in the room.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Lead,
    RunPinned,
    Go,
}

impl LastTurns {
    pub(super) fn new() -> Self {
        let inside = Inside { threads: 0, waiting: Vec::new(), turn: Turn::Nobody };
        Self { inside: Mutex::new(inside), changed: Condvar::new() }
    }

    /// An OS thread is about to be started.
    pub(super) fn expect_thread(&self) {
        lock(&self.inside).threads += 1;
    }

    /// It has ended, or was not started. The last thing that it does with tasks.
    pub(super) fn thread_ends(&self) {
        lock(&self.inside).threads -= 1;
        self.changed.notify_all();
    }

    fn pass_to(&self, turn: Turn) {
        lock(&self.inside).turn = turn;
        self.changed.notify_all();
    }

    fn wait<'a>(&'a self, inside: MutexGuard<'a, Inside>) -> MutexGuard<'a, Inside> {
        self.changed.wait(inside).unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A worker comes.
    fn enter(&self, worker: u32) {
        lock(&self.inside).waiting.push(worker);
        self.changed.notify_all();
    }

    /// Waits until the worker is called.
    fn wait_for_call(&self, worker: u32) -> Call {
        let mut inside = lock(&self.inside);
        loop {
            match inside.turn {
                Turn::Over => return Call::Go,
                Turn::Sent(sent) if sent == worker => return Call::RunPinned,
                Turn::Nobody if inside.waiting.len() == inside.threads => {
                    inside.turn = Turn::Leader;
                    return Call::Lead;
                }
                _ => inside = self.wait(inside),
            }
        }
    }

    /// Sends a worker and waits for it: false if it is not there. By the leader.
    fn send(&self, worker: u32) -> bool {
        let mut inside = lock(&self.inside);
        if !inside.waiting.contains(&worker) {
            return false;
        }
        inside.turn = Turn::Sent(worker);
        self.changed.notify_all();
        while inside.turn == Turn::Sent(worker) {
            inside = self.wait(inside);
        }
        true
    }
}

impl Worker {
    /// Gathers with the others when the scheduler has stopped, and comes back when all tasks are over.
    #[cold]
    pub(super) fn take_last_turns(&self) {
        // So a dump does not wait for it. It looks whether it is asked before it runs a task.
        self.set_status(SLEEPING);
        self.end_turn();
        self.leave_work_to_leader();
        let (room, me) = (&self.sched.last_turns, self.core.index);
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
                    while let Some(task) = self.pick_pinned() {
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
    fn leave_work_to_leader(&self) {
        self.give_up_work();
        let pinned = self.pinned.take();
        pinned.into_iter().for_each(|task| self.core.remote.post(task));
    }

    /// Ends all tasks.
    fn lead(&self) {
        let mut patience = Patience::new();
        loop {
            let ran = self.run_all();
            let sent = self.send_all();
            if ran || sent {
                patience = Patience::new();
            } else if self.end_sleepers() == 0 {
                return;
            } else {
                // For those who have claimed one and are about to make it runnable.
                patience.wait();
            }
        }
    }

    /// Runs what is runnable on this worker: true if anything was.
    fn run_all(&self) -> bool {
        let next = || {
            let queues = &self.core.queues;
            let own = queues.pop_newest().or_else(|| queues.pop_ready());
            let own = own.or_else(|| self.pick_pinned());
            let shared = own.or_else(|| self.take_injected()).or_else(|| self.take_strewn());
            shared.or_else(|| self.sched.hogs.take_waiting())
        };
        let mut ran = false;
        while let Some(task) = next() {
            ran = true;
            self.run_last_turn(task);
        }
        ran
    }

    /// Has the others run what is pinned to them: true if anything was.
    fn send_all(&self) -> bool {
        let mut sent = false;
        for (index, remote) in (0..).zip(self.sched.workers()) {
            if index != self.core.index && remote.has_post() {
                sent |= self.sched.last_turns.send(index);
            }
        }
        sent
    }

    /// Has all tasks withdraw that are asleep. Gives the number of those that have started and are not over still.
    fn end_sleepers(&self) -> usize {
        let mut tasks = Vec::new();
        // SAFETY: the pool's own slots. None of these tasks can finish before this worker runs it.
        self.sched.pool.for_each_in_use(|top| tasks.extend(unsafe { TaskRef::at_top(top) }));
        // SAFETY: nobody else runs one.
        tasks.retain(|task| unsafe { task.has_started() } && !task.is_over.get());
        for &task in tasks.iter().filter(|task| task.wait.end_if_asleep()) {
            // SAFETY: its wait was ended just now, and nobody else runs it.
            self.run_turn(task, || unsafe { task.resume_to_end() });
        }
        tasks.len()
    }

    /// Runs a task that is runnable until it suspends, unless it has not started, or is over.
    fn run_last_turn(&self, task: TaskRef) {
        // SAFETY: it is this worker's to run.
        if unsafe { task.has_started() } && !task.is_over.get() {
            // SAFETY: as above.
            self.run_turn(task, || unsafe { task.resume() });
        }
    }

    fn run_turn(&self, task: TaskRef, resume: impl Fn() -> Switch<Command>) {
        // Waits while the world is stopped.
        self.count_pick();
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
            let command = self.part_with_halves(command);
            self.set_current(None);
            match command {
                // Whoever has claimed it makes it runnable, or has.
                Command::CLAIMED => return,
                Command::OVER => return task.is_over.set(true),
                command => match command.decode() {
                    Action::Parked if task.wait.commit() == Commit::Parked => return,
                    // Claimed meanwhile, and so to be used as well.
                    Action::Parked => {}
                    // SAFETY: the lock belongs to what the task waits for, and lives as long as the task's borrow
                    // of it.
                    Action::ParkedHolding(lock) => return unsafe { lock.release() },
                    // It owes nobody anything. (And the child is not started.)
                    Action::Yielded | Action::Spawned(_) => return task.is_over.set(true),
                },
            }
            self.set_current(Some(task));
            // SAFETY: its wait was claimed as it was about to sleep, so it is this worker's still.
            switch = unsafe { task.resume() };
        }
    }
}
