//! Tasks that block the OS thread: another worker takes the place of theirs.

use crate::runtime::driver::poller;
use crate::runtime::status::{BLOCKING, NORMAL};
use crate::runtime::worker::{NO_SWITCH, Worker};

impl Worker {
    /// Lets another worker take this worker's place, because the running task is about to block the
    /// OS thread.
    pub(crate) fn enter_blocking(&self) {
        let holds = self.holds.get();
        self.holds.set(holds + 1);
        if holds & !NO_SWITCH > 0 {
            return;
        }
        self.start_jobs();
        self.step_aside(BLOCKING);
        self.end_turn();
    }

    /// Lets another worker take this worker's place, because the task that runs now or next keeps
    /// the OS thread.
    pub(crate) fn step_aside(&self, status: usize) {
        self.core.queues.publish_all();
        if self.core.remote.own.status.enter(status) == NORMAL {
            self.shared.idle.block();
        }
        let work = self.core.remote.has_stealable() || self.shared.has_work();
        if work || poller::is_deserted() {
            self.shared.answer(self.shared.idle.notify_outside());
        }
    }

    /// Ends a call of `enter_blocking`: the running task no longer blocks the OS thread.
    pub(crate) fn leave_blocking(&self) {
        let holds = self.holds.get() - 1;
        self.holds.set(holds);
        if holds & !NO_SWITCH == 0 {
            self.core.remote.own.status.enter(NORMAL);
            self.shared.idle.unblock();
            self.shared.sysmon.notify();
        }
    }
}
