//! What a worker tells its policies, and what it asks them. The decisions are in `runtime/policy`.

use std::time::{Duration, Instant};

use crate::runtime::policy::sharing::Decision;
use crate::runtime::worker::Worker;
use crate::task::header::TaskRef;

impl Worker {
    /// Returns `true` if another worker should run the task that is being woken.
    #[inline]
    pub(crate) fn wakes_beside(&self) -> bool {
        self.timing.is_due() && self.look_at_wake()
    }

    #[cold]
    fn look_at_wake(&self) -> bool {
        let Self { timing, core, .. } = self;
        let beside = core.remote.own.wakes_beside();
        timing.look_at_each(beside);
        // A worker that wakes a task between two tasks is about to take the next one.
        if self.running().is_none() || !self.shared.idle.has_idle_workers() {
            return false;
        }
        if timing.begin() {
            core.remote.own.status.time();
        }
        beside
    }

    /// The task that woke another has suspended.
    pub(crate) fn judge_wake(&self) {
        let own = &self.core.remote.own;
        own.status.take_timed();
        if let Some(beside) = self.timing.end() {
            own.set_wakes_beside(beside);
        }
    }

    /// The running task has to wait for a lock.
    pub(crate) fn note_lock_met(&self) {
        self.last_takeover.note_lock_met();
    }

    /// The worker is out of work.
    pub(crate) fn judge_takeover(&self, now: Instant) {
        if let Some(was_worth_it) = self.last_takeover.judge(now) {
            self.shared.takeover_pause.judge(was_worth_it, now);
        }
    }

    /// Returns `true` if the worker should publish ready tasks, since there are idle workers.
    pub(crate) fn shares(&self) -> bool {
        self.sharing.next(|| self.decide_sharing())
    }

    #[cold]
    fn decide_sharing(&self) -> Decision {
        let own = &self.core.remote.own;
        if own.is_on_trial() || self.shared.chaos.is_some() {
            return (true, 0);
        }
        let now = Instant::now();
        let quiet = self.shared.sharing_pause.until(now);
        let decision = self.sharing.decide(now, quiet, self.counters().task_switches.get());
        decision.unwrap_or_else(|| {
            own.set_on_trial(true);
            (true, 0)
        })
    }

    /// The worker, being out of work, has taken ready tasks of another.
    pub(crate) fn note_theft(&self, victim: u32) {
        if self.shared.remote(victim).own.is_on_trial() {
            self.sharing.note_theft(victim);
        }
    }

    /// The worker is out of work. Of the two workers in a trial, the first that is ends it.
    pub(crate) fn judge_thefts(&self, now: Instant) {
        for (worker, was_worth_it) in self.sharing.end_trials(self.core.index, now) {
            let own = &self.shared.remote(worker).own;
            if own.is_on_trial() {
                own.set_on_trial(false);
                self.shared.sharing_pause.judge(was_worth_it, now);
            }
        }
    }

    /// The worker was out of work for `waited`.
    pub(crate) fn note_wait(&self, waited: Duration) {
        self.last_wait.set(waited);
        self.sharing.note_wait(waited);
    }

    /// Begins the injector turn that sysmon has asked for. A request during a turn is for the next.
    pub(crate) fn begin_injector_turn(&self) {
        if !self.injector_turns.is_on() {
            self.core.remote.own.status.take_injector_turn();
            // Tasks whose timers are due are as late as the injected ones.
            self.inject_due();
            self.injector_turns.begin(self.until_tick.get());
        }
        // The next switch looks for a task, instead of going on with a child or a continuation.
        self.until_tick.set(1);
    }

    /// Returns the next injected task while the turn lasts, and ends the turn otherwise.
    pub(crate) fn next_in_injector_turn(&self) -> Option<TaskRef> {
        let now = Instant::now();
        let has_time = self.injector_turns.has_time(now);
        let task = if has_time { self.take_injected() } else { None };
        let until_tick = if task.is_some() { Some(1) } else { self.injector_turns.end(now) };
        until_tick.into_iter().for_each(|left| self.until_tick.set(left));
        task
    }
}
