//! A worker's part in timers: it fires them, and announces new ones to the threads that sleep. See
//! [`driver`](crate::runtime::driver).

use std::time::Instant;

use crate::runtime::driver::Unannounced;
use crate::runtime::driver::heap::NEVER;
use crate::runtime::driver::keeper::Notify;
use crate::runtime::driver::poller::{self, Poller, Role};
use crate::runtime::handle::wake;
use crate::runtime::shared::Shared;
use crate::runtime::worker::Worker;
use crate::task::header::Wake;

impl Worker {
    /// Fires due timers, this worker's own or those of all workers. Returns how many.
    pub(crate) fn fire_timers(&self, all: bool) -> usize {
        let wake = |fired| self.push_fired(fired);
        if all {
            self.shared.fire(self.shared.workers(), 0, wake)
        } else {
            self.shared.fire(std::iter::once(&self.core.remote), 0, wake)
        }
    }

    /// Makes a thread run whose timer is due. Green threads are queued in the order in which they
    /// come. In the LIFO slot the last one would run first.
    pub(crate) fn push_fired(&self, fired: Wake) {
        match fired {
            Wake::Green(task) => self.push_ready(task),
            other => wake(other),
        }
    }

    /// Takes the I/O events that are there, unless another thread does. Returns `true` if there were
    /// any. Called by a worker that is out of tasks.
    #[inline]
    pub(crate) fn poll(&self) -> bool {
        let Some(mut role) = poller::active().and_then(Poller::try_take) else { return false };
        let has_events = role.look();
        if has_events {
            self.push_events(role);
        }
        has_events
    }

    /// Makes threads run for which there were I/O events. This worker, which has no other tasks, runs
    /// the first itself.
    pub(crate) fn push_events(&self, role: Role) {
        let mut first = true;
        role.hand_out(|event| match event {
            Wake::Green(task) if self.serves(Shared::of(&task)) && std::mem::take(&mut first) => {
                self.push_next(task);
            }
            other => self.push_event(other),
        });
    }

    /// Makes a thread run for which there was an I/O event, in its own runtime.
    fn push_event(&self, event: Wake) {
        match event {
            Wake::Green(task) if !self.serves(Shared::of(&task)) => wake(event),
            _ => self.push_fired(event),
        }
    }

    /// Like [`poll`](Self::poll), if nobody has for [`STALE`](poller::STALE).
    #[inline]
    pub(crate) fn poll_if_stale(&self) {
        let role = poller::active().and_then(|poller| poller.try_take_after(poller::STALE));
        let Some(mut role) = role else { return };
        if role.look() {
            role.hand_out(|event| self.push_event(event));
        }
    }

    /// Announces new timers, and wakes the keeper or sysmon if both would sleep too long. Called
    /// before the worker turns to another green thread, which may take long.
    #[inline]
    pub(crate) fn notify_of_timers(&self) {
        if self.unannounced.get() != Unannounced::Nothing {
            self.tell();
        }
    }

    #[cold]
    pub(crate) fn tell(&self) {
        let when = match self.unannounced.replace(Unannounced::Nothing) {
            Unannounced::Nothing => NEVER,
            Unannounced::Own => self.core.remote.timers.earliest(),
            Unannounced::All => self.shared.earliest(),
        };
        if when == NEVER {
            return;
        }
        match self.shared.driver.watch.tell(when) {
            Notify::Nobody => {}
            Notify::Keeper(worker) => self.shared.remote(worker).parker.unpark(),
            Notify::Sysmon => self.shared.sysmon.unpark(),
        }
    }

    /// Announces that the worker goes to sleep. Returns until when it may sleep, if it is the
    /// keeper now and there is a timer.
    pub(crate) fn keep_timers(&self) -> Option<Instant> {
        let shared = &self.shared;
        let until = shared.driver.watch.keep(self.index(), || shared.earliest());
        self.unannounced.set(Unannounced::Nothing);
        until.and_then(|until| shared.driver.instant(until))
    }

    /// Announces that the worker is awake. If it was the keeper, it must announce all timers later.
    pub(crate) fn unkeep_timers(&self) {
        if self.shared.driver.watch.unkeep(self.index()) {
            self.unannounced.set(Unannounced::All);
        }
    }

    /// Fires this worker's due timers, and injects the woken threads, for any worker.
    pub(crate) fn inject_due(&self) {
        let inject = |fired| match fired {
            Wake::Green(task) => self.shared.inject(task),
            other => wake(other),
        };
        self.shared.fire(std::iter::once(&self.core.remote), 0, inject);
    }
}
