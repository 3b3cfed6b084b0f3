//! What a worker tells its policies, and what it asks them. The decisions are in `runtime/policy`.

use std::time::{Duration, Instant};

use crate::runtime::policy::injector_turn::{InjectorTurn, LONGEST_TURN, SHORTEST_TURN};
use crate::runtime::policy::sharing::{LONG_HOLDS, MOST_UNTIMED, WORTH_A_THEFT};
use crate::runtime::policy::wake_beside::WORTH_A_WAKE;
use crate::runtime::worker::Worker;
use crate::task::header::TaskRef;

impl Worker {
    /// Whether the task that is being woken should be run by another worker.
    #[inline]
    pub(crate) fn wakes_beside(&self) -> bool {
        match self.timing.skips.get() {
            0 => self.look_at_wake(),
            left => {
                self.timing.skips.set(left - 1);
                false
            }
        }
    }

    #[cold]
    pub(crate) fn look_at_wake(&self) -> bool {
        let Self { timing, core, .. } = self;
        let beside = core.remote.own.wakes_beside();
        timing.look_at_each(beside);
        // A worker that wakes a task between two tasks is about to take the next one.
        if self.running().is_none() || !self.shared.idle.has_idle_workers() {
            return false;
        }
        if timing.woke_at.get().is_none() {
            timing.woke_at.set(Some(Instant::now()));
            core.remote.own.status.time();
        }
        beside
    }

    /// The task that woke another has suspended.
    pub(crate) fn judge_wake(&self) {
        let Self { timing, core, .. } = self;
        core.remote.own.status.take_timed();
        if let Some(woke_at) = timing.woke_at.take() {
            let beside = woke_at.elapsed() >= WORTH_A_WAKE;
            core.remote.own.set_wakes_beside(beside);
            timing.look_at_each(beside);
        }
    }

    /// The running task has to wait for a lock.
    pub(crate) fn note_lock_met(&self) {
        self.takeover.met_lock.set(true);
    }

    /// The worker is out of work.
    pub(crate) fn judge_takeover(&self, now: Instant) {
        if let Some(was_worth_it) = self.takeover.judge(now) {
            self.shared.takeover_pause.judge(was_worth_it, now);
        }
    }

    /// Whether to let others take what is ready, now that there are idle workers.
    pub(crate) fn shares(&self) -> bool {
        let sharing = &self.sharing;
        match sharing.skips.get() {
            0 => {
                let (shares, skips) = self.decide();
                sharing.shares.set(shares);
                sharing.skips.set(skips);
                shares
            }
            left => {
                sharing.skips.set(left - 1);
                sharing.shares.get()
            }
        }
    }

    /// What to do with this chance, and with so many more.
    #[cold]
    pub(crate) fn decide(&self) -> (bool, u32) {
        let Self { sharing, shared, core, .. } = self;
        if core.remote.own.is_on_trial() || shared.chaos.is_some() {
            return (true, 0);
        }
        let now = Instant::now();
        if sharing.long_until.get().is_some_and(|until| now < until) {
            return (true, MOST_UNTIMED - 1);
        }
        if let Some(quiet) = shared.sharing_pause.until(now) {
            let stretches = &sharing.stretches;
            let long = stretches.look(quiet, now, self.counters().task_switches.get());
            if long {
                sharing.long_until.set(Some(now + LONG_HOLDS));
            }
            return (long, stretches.untimed.get() - 1);
        }
        sharing.published_at.set(Some(now));
        core.remote.own.set_on_trial(true);
        (true, 0)
    }

    /// This worker, being out of work, has taken ready tasks of another.
    pub(crate) fn note_theft(&self, victim: u32) {
        if self.shared.remote(victim).own.is_on_trial() {
            self.sharing.taken.set(Some((Instant::now(), victim)));
        }
    }

    /// It is out of work now. Of the two in a trial the first that is ends it.
    pub(crate) fn judge_thefts(&self, now: Instant) {
        let Self { sharing, shared, core, .. } = self;
        let published_at = sharing.published_at.take().map(|since| (since, core.index));
        for (since, victim) in published_at.into_iter().chain(sharing.taken.take()) {
            let own = &shared.remote(victim).own;
            if own.is_on_trial() {
                own.set_on_trial(false);
                let both_had_work = now.saturating_duration_since(since);
                shared.sharing_pause.judge(both_had_work >= WORTH_A_THEFT, now);
            }
        }
    }

    /// It was out of work for so long.
    pub(crate) fn note_wait(&self, waited: Duration) {
        self.last_wait.set(waited);
        let began = &self.sharing.stretches.began;
        began.set(began.get().map(|(since, task_switches)| (since + waited, task_switches)));
    }

    /// Begins an injector turn; one that comes in its turn is for the next.
    pub(crate) fn begin_injector_turn(&self) {
        if self.injector_turn.get().is_none() {
            self.core.remote.own.status.take_injector_turn();
            // Those whose timers are due are as late as what was injected.
            self.inject_due();
            self.injector_turn
                .set(Some(InjectorTurn { until: None, until_tick: self.until_tick.get() }));
        }
        // All ways to go on without a switch end here.
        self.until_tick.set(1);
    }

    /// The next injected task, as long as its turn lasts.
    pub(crate) fn next_in_injector_turn(&self, injector_turn: InjectorTurn) -> Option<TaskRef> {
        let now = Instant::now();
        let turn = || (now - self.last_injector_turn.get()).clamp(SHORTEST_TURN, LONGEST_TURN);
        let until = injector_turn.until.unwrap_or_else(|| now + turn());
        let task = if now < until { self.take_injected() } else { None };
        if task.is_some() {
            self.injector_turn.set(Some(InjectorTurn { until: Some(until), ..injector_turn }));
            self.until_tick.set(1);
        } else {
            self.until_tick.set(injector_turn.until_tick);
            self.injector_turn.set(None);
            self.last_injector_turn.set(now);
        }
        task
    }
}
