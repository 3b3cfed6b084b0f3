//! Which task a worker runs next, and what it attends to before each.

use crate::runtime::status::{NORMAL, RETAKEN};
use crate::runtime::worker::{Next, Worker};
use crate::task::header::TaskRef;

/// With more continuations than this waiting on one worker, children are queued instead of run at
/// once: a chain of threads that each start their successor and end must not pile up.
const DEEP: usize = 1024;

/// Of so many ticks one is for those who are stuck, and looks at all timers: this one.
const TURNS: u32 = 5;

pub(crate) const STUCKS_TURN: u32 = TURNS - 1;

impl Worker {
    /// The next task of this worker's own, or from the injector. None means that it has none left.
    pub(crate) fn next_task(&self, fair: bool) -> Option<TaskRef> {
        let picked = match fair {
            true if self.injector_turns.is_on() => self.next_in_injector_turn(),
            true => self.next_on_tick(),
            false => None,
        };
        let picked = picked.or_else(|| self.next_in_order());
        // What is left here is for those who have nothing.
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

    /// Counts a switch: true if it is time for a fair one.
    #[inline]
    pub(crate) fn tick(&self) -> bool {
        self.move_on();
        let fair = self.count_to_tick();
        if fair {
            self.until_tick.set(self.tick_interval);
        }
        fair
    }

    /// Counts a switch that leaves no choice; a fair one that is due stays due: true then.
    #[inline]
    pub(crate) fn count_switch(&self) -> bool {
        self.move_on();
        self.count_to_tick()
    }

    /// Tells sysmon that the worker moves on; waits while the world is stopped.
    #[inline]
    pub(crate) fn move_on(&self) {
        let own = &self.core.remote.own;
        own.counters.task_switches.count();
        if !own.status.is_plain() {
            self.attend();
        }
    }

    /// True if a tick is due.
    #[inline]
    pub(crate) fn count_to_tick(&self) -> bool {
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

    /// Something is to be done before the next switch.
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

    /// Moves on to `status`. Counts the worker as running again if sysmon had retaken it.
    #[cold]
    pub(crate) fn set_status(&self, status: usize) {
        if self.core.remote.own.status.enter(status) == RETAKEN {
            self.shared.idle.unblock();
            if self.shared.idle.over_limit() {
                // The switch looks whether it is one too many: with tasks that compute, one in 61 would be seldom.
                self.until_tick.set(1);
            }
            self.end_turn();
            // A few may have been woken just now, by those that come back.
            if self.shared.injector.len() > self.shared.config.workers as usize {
                self.shared.sysmon.note_progress();
            }
            // All others may have fallen asleep meanwhile, and sysmon with them.
            self.shared.sysmon.notify();
        }
    }

    /// What the usual order would leave waiting: due timers, the injector, the oldest of each queue,
    /// and now and then the work of another worker, which may be stuck.
    #[cold]
    pub(crate) fn next_on_tick(&self) -> Option<TaskRef> {
        self.counters().ticks.count();
        let turn = self.tick_turn.get();
        self.tick_turn.set(turn.wrapping_add(1));
        self.fire_timers(turn % TURNS == STUCKS_TURN);
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

    /// Whether one of the workers must stop, and may as well be this one: a worker that was blocked is
    /// back, and others run in its place.
    pub(crate) fn must_retire(&self) -> bool {
        self.shared.idle.over_limit() && !self.has_pinned_work()
    }

    pub(crate) fn retire(&self) -> Next {
        self.give_up_work();
        self.sleep()
    }

    /// Whether only this worker can run something that is waiting.
    pub(crate) fn has_pinned_work(&self) -> bool {
        self.core.remote.has_post() || !self.pinned.borrow().is_empty()
    }
}
