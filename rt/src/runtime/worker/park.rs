//! How a worker that is out of work goes to sleep, and wakes up. The protocol is in
//! `runtime/README.md`.

use std::time::{Duration, Instant};

use crate::runtime::driver::poller::{self, Poller, Role};
use crate::runtime::status::{NORMAL, SLEEPING};
use crate::runtime::worker::{Next, Worker};

/// A worker that has fired this many timers since it last slept is busy with a burst of them. It
/// then sleeps for at least `TIMER_SLACK`, so that more timers are due when it wakes up.
const BURST_OF_TIMERS: usize = 16;
const TIMER_SLACK: Duration = Duration::from_micros(100);

/// How long a spare worker sleeps before its OS thread ends.
const SPARE_KEEPALIVE: Duration = Duration::from_secs(1);

impl Worker {
    /// Fires timers, searches, and then sleeps, until there is something to do.
    pub(crate) fn wait_for_work(&self) -> Next {
        if self.fire_all_timers() {
            return Next::LookAgain;
        }
        let since = Instant::now();
        self.judge_thefts(since);
        self.judge_takeover(since);
        // A worker that is alone sleeps at once, in the poller.
        if !self.shared.idle.is_alone() && self.poll() {
            return Next::LookAgain;
        }
        let after_timer = self.slept_until_timer.replace(false);
        let next = self.search(since, after_timer).unwrap_or_else(|| self.sleep());
        self.note_wait(since.elapsed());
        next
    }

    /// Sleeps. The worker has no tasks of its own except pinned ones.
    pub(crate) fn sleep(&self) -> Next {
        debug_assert!(!self.core.remote.has_private(), "asleep with a task in hand");
        let shared = &*self.shared;
        let me = self.core.index;
        self.flush_stacks();
        self.slept_until_timer.set(false);
        self.counters().sleeps.count();
        // From here on sysmon must not take this worker for a stuck one.
        self.set_status(SLEEPING);
        shared.idle.sleep(me, self.searching.replace(false));
        if self.finds_anything() {
            if !shared.idle.wake_self(me) {
                // Another thread has taken this worker out of the sleepers, and the wake is on its
                // way.
                self.core.remote.parker.park(None);
            }
            self.wake_up(None)
        } else if let Some(role) = self.sleep_in_driver() {
            self.wake_up(role)
        } else {
            // The worker has taken itself out of the sleepers, and so counts as running and
            // searching. Its status stays `SLEEPING`, so sysmon does not take it for stuck.
            shared.idle.leave();
            if shared.has_work() {
                shared.answer(shared.idle.notify_outside());
            }
            // The worker may have been the keeper, on which sysmon relied.
            shared.sysmon.unpark();
            Next::End
        }
    }

    /// Awake again: runs on. Hands out the events that it has taken in its sleep, if any.
    fn wake_up(&self, role: Option<Role>) -> Next {
        let shared = &*self.shared;
        self.set_status(NORMAL);
        self.come_to_help();
        shared.advance_clock();
        // Whether the worker or another thread took it out of the sleepers, it counts as searching.
        self.searching.set(true);
        shared.sysmon.notify();
        if let Some(role) = role {
            self.push_events(role);
        }
        self.fire_all_timers();
        if shared.is_stopped() { Next::End } else { Next::LookAgain }
    }

    /// Fires the due timers of all workers. Returns `true` if there were any. Called by a worker
    /// that is out of work.
    fn fire_all_timers(&self) -> bool {
        let fired = self.fire_timers(true);
        self.fired.set(self.fired.get() + fired);
        fired > 0
    }

    /// Returns `true` if there is a reason not to sleep.
    fn finds_anything(&self) -> bool {
        // If as many workers run as may, they look at every queue before they sleep (§5).
        let others_look = !self.shared.idle.has_room();
        (!others_look && self.shared.has_work())
            || self.has_pinned_work()
            || self.shared.is_stopped()
    }

    /// Sleeps until woken, until there are I/O events if it is the poller, or until a timer is due if
    /// it is the keeper. Returns `None` if the worker is a spare that has slept long enough,
    /// otherwise the poller's role, if it has that. In any case it is no longer among the sleepers.
    fn sleep_in_driver(&self) -> Option<Option<Role>> {
        let shared = &*self.shared;
        let (me, parker) = (self.core.index, &self.core.remote.parker);
        let is_spare = self.core.remote.is_spare(me as usize, shared.config.workers);
        let retire_at = is_spare.then(|| Instant::now() + SPARE_KEEPALIVE);
        let mut slack = (self.fired.replace(0) >= BURST_OF_TIMERS).then_some(TIMER_SLACK);
        loop {
            let timer = self.keep_timers_if_needed();
            let timer = match slack.take() {
                Some(slack) => timer.map(|until| until.max(Instant::now() + slack)),
                None => timer,
            };
            let mut role = poller::active().and_then(Poller::try_take);
            let mut has_events = false;
            let woken = match &mut role {
                Some(role) => {
                    shared.idle.note_poller(me);
                    parker.park_in_epoll(|| has_events = role.wait_until(timer))
                }
                None => parker.park([retire_at, timer].into_iter().flatten().min()),
            };
            self.unkeep_timers();
            if woken {
                // Woken by a thread that took this worker out of the sleepers, or by one that has a
                // new earliest timer and did not take it out.
                let _ = shared.idle.wake_self(me);
                return Some(role);
            }
            // The timer may have been withdrawn, or fired by another worker.
            let due = shared.is_timer_due();
            // The poller stays: no other may be there.
            let expired = role.is_none() && retire_at.is_some_and(|at| at <= Instant::now());
            if due || expired || has_events {
                if shared.idle.wake_self(me) {
                    self.slept_until_timer.set(due);
                    return (due || has_events).then_some(role);
                }
                parker.park(None);
                return Some(role);
            }
        }
    }

    /// Returns when the worker, which goes to sleep, must wake up for timers, if it must. If as
    /// many workers run as may, they and sysmon see to the timers: a worker that woke up for them
    /// would be one too many.
    fn keep_timers_if_needed(&self) -> Option<Instant> {
        if self.shared.idle.has_room() {
            self.keep_timers()
        } else {
            self.notify_of_timers();
            None
        }
    }
}
