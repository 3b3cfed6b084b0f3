//! What a worker does when its task blocks the OS thread: it lets another worker take its place.

use crate::runtime::status::{BLOCKING, NORMAL};
use crate::runtime::worker::{NO_SWITCH, Worker};

impl Worker {
    /// The running task is about to block this OS thread: lets another take this worker's place.
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

    /// The task that runs now, or next, will keep this OS thread: lets another take this worker's place.
    pub(crate) fn step_aside(&self, status: usize) {
        self.core.queues.publish_all();
        if self.core.remote.own.status.enter(status) == NORMAL {
            self.shared.idle.block();
        }
        if self.core.remote.has_stealable() || self.shared.has_work() {
            self.shared.answer(self.shared.idle.notify_outside());
        }
    }

    /// The running task has its OS thread back.
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
