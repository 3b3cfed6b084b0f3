//! The choice of a worker's next task, and the requests that the worker attends to before it.

use crate::runtime::status::{NORMAL, RETAKEN};
use crate::runtime::worker::{Next, Worker};
use crate::task::header::TaskRef;

/// If more continuations than this wait on a worker, children are queued instead of run at once.
/// Otherwise a chain of threads that each start their successor and then end would pile up.
const DEEP: usize = 1024;

/// One tick in this many, number [`STUCKS_TURN`], is for the tasks of workers that may be stuck,
/// and for the timers of all workers.
const TURNS: u32 = 5;

pub(crate) const STUCKS_TURN: u32 = TURNS - 1;

impl Worker {
    /// Returns the next task: the worker's own or an injected one, or at some ticks another
    /// worker's. `None` means that the worker is out of work. With `fair`, a tick is due.
    pub(crate) fn next_task(&self, fair: bool) -> Option<TaskRef> {
        let picked = match fair {
            true if self.injector_turns.is_on() => self.next_in_injector_turn(),
            true => self.next_on_tick(),
            false => None,
        };
        let picked = picked.or_else(|| self.next_in_order());
        // The private tasks that are left are for the idle workers.
        if self.shared.idle.has_idle_workers() && self.core.remote.has_private() {
            self.publish_private();
        }
        picked
    }

    #[inline]
    pub(crate) fn next_in_order(&self) -> Option<TaskRef> {
        let queues = &self.core.queues;
        queues
            .pop_newest()
            .or_else(|| self.next_pinned())
            .or_else(|| queues.pop_ready())
            .or_else(|| self.take_injected_burst())
    }

    /// Counts a task switch. Returns `true` if it is a tick: the choice of the next task must be
    /// fair.
    #[inline]
    pub(crate) fn tick(&self) -> bool {
        self.move_on();
        let fair = self.count_to_tick();
        if fair {
            self.until_tick.set(self.tick_interval);
        }
        fair
    }

    /// Counts a task switch that leaves no choice of the next task. Returns `true` if a tick is
    /// due; it stays due.
    #[inline]
    pub(crate) fn count_switch(&self) -> bool {
        self.move_on();
        self.count_to_tick()
    }

    /// Counts a task switch, so that sysmon sees the worker move on, and attends to requests. Waits
    /// while the world is stopped.
    #[inline]
    fn move_on(&self) {
        let own = &self.core.remote.own;
        own.counters.task_switches.count();
        if !own.status.is_plain() {
            self.attend();
        }
    }

    /// Counts down to the next tick. Returns `true` if it is due.
    #[inline]
    fn count_to_tick(&self) -> bool {
        match self.until_tick.get() {
            1 => {
                self.deep.set(self.core.queues.forks() > DEEP);
                true
            }
            left => {
                self.until_tick.set(left - 1);
                false
            }
        }
    }

    /// Attends to the requests in the status word.
    #[cold]
    pub(crate) fn attend(&self) {
        let status = &self.core.remote.own.status;
        if status.state() == RETAKEN {
            self.set_status(NORMAL);
        }
        if status.is_asked() {
            self.shared.world.pass_gate(status);
        }
        if status.is_timed() {
            self.judge_wake();
        }
        if status.wants_injector_turn() {
            self.begin_injector_turn();
        }
    }

    /// Sets the worker's status. If the worker was retaken, it counts as running again.
    #[cold]
    pub(crate) fn set_status(&self, status: usize) {
        if self.core.remote.own.status.enter(status) == RETAKEN {
            self.shared.idle.unblock();
            if self.shared.idle.over_limit() {
                // The worker may be one too many. The next choice of a task checks that: among
                // tasks that compute, 61 switches take too long.
                self.until_tick.set(1);
            }
            self.end_turn();
            // A few injected tasks are no sign of waiting work: other workers that come back may
            // have woken them just now.
            if self.shared.injector.len() > self.shared.config.workers as usize {
                self.shared.sysmon.note_progress();
            }
            // All other workers may have gone to sleep meanwhile, and sysmon with them.
            self.shared.sysmon.notify();
        }
    }

    /// Fires timers, and returns a task that the usual order would leave waiting: an injected one,
    /// the oldest of one of the queues, or now and then one of another worker, which may be stuck.
    #[cold]
    pub(crate) fn next_on_tick(&self) -> Option<TaskRef> {
        self.counters().ticks.count();
        let turn = self.tick_turn.get();
        self.tick_turn.set(turn.wrapping_add(1));
        self.fire_timers(turn % TURNS == STUCKS_TURN);
        self.poll_if_stale();
        self.stacks.borrow_mut().tend(&self.shared.pool);
        if let Some(chaos) = &self.shared.chaos {
            return self.next_at_random(chaos);
        }
        if turn % TURNS == STUCKS_TURN {
            return self.steal().or_else(|| self.take_over_stuck());
        }
        (0..4).find_map(|source| match (turn + source) % 4 {
            0 => self.take_injected(),
            1 => self.core.queues.pop_ready(),
            2 => self.core.queues.oldest_fork(),
            _ => self.next_pinned(),
        })
    }

    pub(crate) fn next_pinned(&self) -> Option<TaskRef> {
        if self.core.remote.has_post() {
            self.pinned.borrow_mut().append(&mut self.core.remote.take_post());
        }
        self.pinned.borrow_mut().pop_front()
    }

    /// Returns `true` if the worker should retire: more workers run than may, for example because a
    /// blocked one has come back, and no runnable task is pinned to this one.
    pub(crate) fn must_retire(&self) -> bool {
        self.shared.idle.over_limit() && !self.has_pinned_work()
    }

    pub(crate) fn retire(&self) -> Next {
        self.give_up_work();
        self.sleep()
    }

    /// Returns `true` if a runnable task waits that only this worker may run.
    pub(crate) fn has_pinned_work(&self) -> bool {
        self.core.remote.has_post() || !self.pinned.borrow().is_empty()
    }
}
