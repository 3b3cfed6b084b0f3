//! What waits for a worker to be free, when none is.
//!
//! A worker takes injected tasks when it has none of its own, and at some of the fair picks. Those are counted,
//! not timed: where every task runs for a millisecond before it yields, sixty-one picks are a long time. So the
//! monitor *urges* the workers that run, when tasks are injected and nobody is free for them, those too that it
//! has injected itself because their timers were late. An urged worker takes injected tasks, one after the other,
//! before all others, until there are no more or its turn is over; then the next pick is its own again, whatever
//! the monitor says meanwhile. A turn lasts as long as the worker's own work had since the last, within limits: so
//! neither starves the other.
//!
//! It costs nothing where nobody is urged: the monitor says it in the status word, which every pick looks at.

use std::time::{Duration, Instant};

use super::Sched;
use super::status::NORMAL;
use super::worker::Worker;
use crate::task::TaskRef;

/// The limits of how long an urged worker runs what was injected before it turns to its own work again.
const SHORTEST_TURN: Duration = Duration::from_millis(1);
const LONGEST_TURN: Duration = Duration::from_millis(20);

/// A worker's turn at what was injected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Urge {
    /// When it ends; it begins with its first pick.
    until: Option<Instant>,
    /// Picks until the next fair one, which are not counted meanwhile.
    until_fair: u32,
}

/// The monitor's part.
impl Sched {
    /// Urges all workers that run, if there is something and nobody is free for it: whether there is.
    pub(super) fn urge_workers(&self) -> bool {
        let urgent = !self.injector.is_empty() && !self.idle.has_room();
        if urgent {
            let running = self.workers().filter(|worker| worker.own.status.state() == NORMAL);
            running.for_each(|worker| worker.own.status.urge());
        }
        urgent
    }
}

impl Worker {
    /// Heeds an urge; one that comes in its turn is for the next.
    pub(super) fn heed_urge(&self) {
        if self.urge.get().is_none() {
            self.core.remote.own.status.take_urge();
            // Those whose timers are due are as late as what was injected.
            self.sched.inject_due(&self.core.remote);
            self.urge.set(Some(Urge { until: None, until_fair: self.until_fair.get() }));
        }
        // All ways to go on without a pick end here.
        self.until_fair.set(1);
    }

    /// The next injected task, as long as its turn lasts.
    pub(super) fn pick_urged(&self, urge: Urge) -> Option<TaskRef> {
        let now = Instant::now();
        let turn = || (now - self.last_urged.get()).clamp(SHORTEST_TURN, LONGEST_TURN);
        let until = urge.until.unwrap_or_else(|| now + turn());
        let task = if now < until { self.take_injected() } else { None };
        if task.is_some() {
            self.urge.set(Some(Urge { until: Some(until), ..urge }));
            self.until_fair.set(1);
        } else {
            self.until_fair.set(urge.until_fair);
            self.urge.set(None);
            self.last_urged.set(now);
        }
        task
    }
}
