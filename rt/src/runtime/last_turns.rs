//! The last turns: how a runtime that stops deals with its tasks.
//!
//! None of them may keep from other waiters an object that it waits for, or a wake that it got. So:
//!
//! - The wait of a sleeping task is **ended**, like by a deadline. From then on claiming it fails
//!   ([`WaitState::end`](crate::task::wait_state::WaitState::end)), and wakers pass it over.
//! - A task that was claimed before has used up a wake. It gets a **last turn**: it runs until it
//!   next suspends, and so uses the wake or passes it on.
//! - A task whose wait was ended is still in a queue. It **withdraws**, like a task that has timed
//!   out: it leaves the queue and sees to the waiters behind it (`Wait::withdrawn`). Then it stays
//!   where it is, for ever.
//!
//! The workers gather in a *room*, each when the task that it runs has suspended. When all OS
//! threads of the runtime have come, or ended, one of them leads. It ends the waits and runs the
//! runnable tasks. It sends each worker that has pinned tasks to run them, and waits for it. Then
//! it lets the tasks withdraw whose waits were ended. Only one task of the runtime runs at a time.
//!
//! Invariants, and why this ends (`README.md` §11):
//! - `threads` counts the OS threads that have started, or are about to, and have not ended. Only
//!   sysmon starts others, and it counts them before it ends. So when all that are left wait in the
//!   room, no other will come.
//! - One thread has the turn: the leader, or the worker that it has sent. No other thread runs a
//!   task, or has the fiber of a task that has started.
//! - A task that has started and is not over is asleep, or runnable, or claimed by a thread that is
//!   about to make it runnable. The leader waits for the last kind too. Each turn leaves the task
//!   finished, over, or asleep with its wait ended. The next turn, in which it withdraws, leaves it
//!   over, or claimed by a thread that had looked before the wait was ended.

use crate::loom::{Condvar, Mutex, MutexGuard, lock};

/// The room in which the workers gather.
#[derive(Debug)]
pub(crate) struct LastTurns {
    pub(crate) inside: Mutex<Inside>,
    pub(crate) changed: Condvar,
}

#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) threads: usize,
    /// The workers that are in the room, by number.
    pub(crate) waiting: Vec<u32>,
    pub(crate) turn: Turn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Not all threads have come.
    Nobody,
    Leader,
    /// The leader waits for this worker, which runs its pinned tasks.
    Sent(u32),
    /// All tasks are over, and the workers leave.
    Over,
}

/// The order to a worker that waits in the room.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Lead,
    RunPinned,
    Go,
}

impl LastTurns {
    pub(crate) fn new() -> Self {
        let inside = Inside { threads: 0, waiting: Vec::new(), turn: Turn::Nobody };
        Self { inside: Mutex::new(inside), changed: Condvar::new() }
    }

    /// Counts an OS thread that is about to be started.
    pub(crate) fn expect_thread(&self) {
        lock(&self.inside).threads += 1;
    }

    /// Uncounts an OS thread that has ended, or was not started. Afterwards it does nothing with
    /// tasks.
    pub(crate) fn thread_ends(&self) {
        lock(&self.inside).threads -= 1;
        self.changed.notify_all();
    }

    pub(crate) fn pass_to(&self, turn: Turn) {
        lock(&self.inside).turn = turn;
        self.changed.notify_all();
    }

    pub(crate) fn wait<'a>(&'a self, inside: MutexGuard<'a, Inside>) -> MutexGuard<'a, Inside> {
        self.changed.wait(inside).unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Notes that a worker has come.
    pub(crate) fn enter(&self, worker: u32) {
        lock(&self.inside).waiting.push(worker);
        self.changed.notify_all();
    }

    /// Waits until the worker is called.
    pub(crate) fn wait_for_call(&self, worker: u32) -> Call {
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

    /// Sends a worker to run its pinned tasks, and waits until it has. Returns `false` if the
    /// worker is not in the room. Called by the leader.
    pub(crate) fn send(&self, worker: u32) -> bool {
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

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::{AtomicUsize, Ordering};
    use loom::sync::Arc;
    use loom::thread;

    struct World {
        room: LastTurns,
        /// The number of OS threads that may run tasks outside the room.
        outside: AtomicUsize,
        leads: AtomicUsize,
        sent: AtomicUsize,
    }

    impl World {
        /// Does the part of a worker that finds the runtime stopped, or of a spare that ends
        /// without coming to the room.
        fn work(&self, me: u32, spare_ends: bool, pinned: Option<u32>) {
            if !spare_ends {
                self.outside.fetch_sub(1, Ordering::Relaxed);
                self.room.enter(me);
                loop {
                    match self.room.wait_for_call(me) {
                        Call::Go => break,
                        Call::Lead => {
                            self.leads.fetch_add(1, Ordering::Relaxed);
                            assert_eq!(self.outside.load(Ordering::Relaxed), 0, "not all are here");
                            if let Some(pinned) = pinned.filter(|&pinned| pinned != me) {
                                let sent = self.room.send(pinned);
                                assert_eq!(usize::from(sent), self.sent.load(Ordering::Relaxed));
                            }
                            self.room.pass_to(Turn::Over);
                        }
                        Call::RunPinned => {
                            self.sent.fetch_add(1, Ordering::Relaxed);
                            self.room.pass_to(Turn::Leader);
                        }
                    }
                }
            } else {
                self.outside.fetch_sub(1, Ordering::Relaxed);
            }
            self.room.thread_ends();
        }
    }

    /// Models a worker, and sysmon, which starts a spare.
    fn model(spare_ends: bool, pinned: Option<u32>) {
        loom::model(move || {
            let world = Arc::new(World {
                room: LastTurns::new(),
                outside: AtomicUsize::new(1),
                leads: AtomicUsize::new(0),
                sent: AtomicUsize::new(0),
            });
            let start = |me, spare_ends| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.work(me, spare_ends, pinned))
            };
            world.room.expect_thread();
            world.room.expect_thread();
            let first = start(0, false);
            world.room.expect_thread();
            world.outside.fetch_add(1, Ordering::Relaxed);
            let spare = start(1, spare_ends);
            world.room.thread_ends();
            first.join().unwrap();
            spare.join().unwrap();
            assert_eq!(world.leads.load(Ordering::Relaxed), 1);
        });
    }

    #[test]
    fn one_leads_when_all_are_here_or_have_ended() {
        model(false, None);
        model(true, None);
    }

    #[test]
    fn the_leader_waits_for_the_one_that_it_sends() {
        model(false, Some(1));
        model(true, Some(1));
    }
}
