//! The last turns: what becomes of a scheduler's tasks when it stops.
//!
//! None of them may keep from others what it waits for or was woken for. So:
//!
//! - The wait of a task that is asleep is **ended**, as by a deadline: from then on to claim it fails
//!   ([`WaitState::end`](crate::task::state::WaitState::end)), and whoever wants to wake somebody passes it over.
//! - A task that was claimed before has used up a wake. It gets a **last turn**: it runs until it suspends the next time,
//!   and so uses what it was woken for, or passes it on.
//! - A task whose wait was ended is in a queue still. It **withdraws**, as one that has timed out does: it leaves the queue
//!   and sees to those behind it (`Wait::withdrawn`). Then it stays where it is, for ever.
//!
//! Who does it: the workers gather in a *room*, each when the task that it runs has suspended. When all OS threads of the
//! scheduler have come, or ended, one of them leads. It ends the waits, runs what is runnable, sends a worker to run what is
//! pinned to it, and waits for it, and then has those withdraw whose waits were ended. Of all the scheduler's tasks one at a
//! time runs then.
//!
//! Invariants, and why it ends (README.md, §11):
//! - `threads` counts the OS threads that have started, or may, and have not ended. Only sysmon starts others, and
//!   counts them before it ends. So once all who are left wait in the room, that is all there will ever be.
//! - One thread has the turn: the leader, or the worker that it has sent. Nobody else runs a task, or has the fiber of
//!   one that has started.
//! - A task that has started and is not over is asleep, or runnable, or was claimed by somebody who is about to make it
//!   runnable. The leader waits for these too. Each turn leaves it finished or over, or asleep with its wait ended; and then
//!   the next, in which it withdraws, leaves it over, or claimed by one that had looked before its wait was ended.

use crate::loom::{Condvar, Mutex, MutexGuard, lock};

/// The room.
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

    /// An OS thread is about to be started.
    pub(crate) fn expect_thread(&self) {
        lock(&self.inside).threads += 1;
    }

    /// It has ended, or was not started. The last thing that it does with tasks.
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

    /// A worker comes.
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

    /// Sends a worker and waits for it: false if it is not there. By the leader.
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
        /// OS threads that may run tasks outside the room.
        outside: AtomicUsize,
        leads: AtomicUsize,
        sent: AtomicUsize,
    }

    impl World {
        /// What a worker does that finds the scheduler stopped, or a spare that ends without.
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

    /// A worker, and sysmon that starts a spare.
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
