//! Stopping the world: no worker picks a task up while a dump looks at them all.
//!
//! # Who waits for whom
//!
//! Whoever dumps asks every worker to stop, and shuts the gate. A worker looks at its status before it picks
//! or goes on with a task (`Worker::count_pick`), and if asked waits at the gate. The dumper waits until
//! each worker is one of
//!
//! - *held*: at the gate;
//! - *asleep*: its state is `SLEEPING`, and it passes the gate before it runs anything;
//! - *inside*: it says that it runs task T (`Published::current`). It is given a moment to come out.
//!
//! # Why nothing else runs
//!
//! A worker announces what it runs next, or that it runs nothing, before the task that it ran is another's to
//! run or to free, and before it looks whether it is asked:
//!
//! ```text
//!     worker                               dumper
//!     W1  current = nothing, or the next   D1  ask
//!     W2  light barrier (`is_plain`)       D2  heavy barrier
//!     W3  asked? then wait at the gate     D3  read current
//!     W4  current = what was picked
//!     W5  run it
//! ```
//!
//! If W3 does not see D1, then D3 sees W1 or something later, by the barriers: not the task that the worker
//! ran *before*. So when D3 reads T, the worker runs T, or is about to, or has just stopped running it, and the
//! next time that it gets to W3 it is held. It runs nothing but T meanwhile. If D3 reads that it runs nothing,
//! the worker is between W1 and W4; it runs no user code there, so the dumper waits until it is through.
//!
//! What a worker did before W1 or W4 happened before D3's reading (release and acquire), and so before the
//! dump. Therefore each task, except the one T of every worker that is inside, is suspended or has not started,
//! and what it wrote is seen; and it stays so, because to run it must be picked. It may be claimed meanwhile
//! and put into a queue. It cannot be freed, because it has not finished. New tasks may be made, by T's and OS
//! threads; they are not started.
//!
//! Workers that come later: a spare is started by the monitor, which takes the world's lock to make its
//! shared side; one whose shared side was there is asked with the others, and held when it starts.
//!
//! The dumper itself may be a task or an OS thread of any kind, or the monitor. It takes no lock that a held
//! worker may have (it is held in its loop, where it has none), and suspends nowhere.

use crate::loom::{Condvar, Mutex, MutexGuard, lock};
use crate::runtime::status::Status;

/// The gate of one scheduler.
#[derive(Debug)]
pub(crate) struct World {
    /// Held by whoever dumps, and to make a worker's shared side.
    pub(crate) shared_sides: Mutex<()>,
    pub(crate) gate: Gate,
}

#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) shut: Mutex<bool>,
    pub(crate) opened: Condvar,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            shared_sides: Mutex::new(()),
            gate: Gate { shut: Mutex::new(false), opened: Condvar::new() },
        }
    }

    /// Keeps the world from being stopped, or waits until it is no longer.
    pub(crate) fn keep_going(&self) -> MutexGuard<'_, ()> {
        lock(&self.shared_sides)
    }

    /// Waits at the gate if it is shut. By the worker of `status`, in no task.
    #[cold]
    pub(crate) fn pass_gate(&self, status: &Status) {
        self.gate.pass(status);
    }
}

impl Gate {
    pub(crate) fn pass(&self, status: &Status) {
        let mut shut = lock(&self.shut);
        if !*shut {
            return;
        }
        status.set_held(true);
        while *shut {
            shut = self.opened.wait(shut).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        status.set_held(false);
    }

    pub(crate) fn shut(&self) {
        *lock(&self.shut) = true;
    }

    pub(crate) fn open(&self) {
        *lock(&self.shut) = false;
        self.opened.notify_all();
    }
}
