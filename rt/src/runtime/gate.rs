//! The gate at which workers wait while a dump looks at their tasks. `diagnostics/stop_world.rs`
//! argues why no other thread runs tasks meanwhile.

use crate::loom::{Condvar, Mutex, MutexGuard, lock};
use crate::runtime::status::Status;

/// The gate of one runtime.
#[derive(Debug)]
pub(crate) struct World {
    /// Held while a dump is taken, and while a worker's shared side is created.
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

    /// Keeps the world from being stopped for the lifetime of the guard. Waits while it is stopped.
    pub(crate) fn keep_going(&self) -> MutexGuard<'_, ()> {
        lock(&self.shared_sides)
    }

    /// Waits at the gate while it is shut. Called by the worker of `status`, in no task.
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
