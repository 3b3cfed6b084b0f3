//! Turns for injected tasks when no worker is free for them.
//!
//! A worker takes injected tasks when it has none of its own, and at some ticks. Ticks are counted, not
//! timed: if every task runs for a millisecond before it yields, 61 switches are a long time. So sysmon
//! asks the running workers for an injector turn when tasks are injected and no worker is free for
//! them. That includes tasks that sysmon has injected itself, because their timers were late.
//!
//! During the turn the worker takes injected tasks before all others, until there are no more or the
//! turn is over. Then the next task is its own, whatever sysmon asks meanwhile. A turn lasts as long as
//! the worker's own tasks had since the last turn, within limits, so neither starves the other.
//!
//! Sysmon asks in the status word, which every switch reads anyway.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The limits of a turn. Not shorter, so that a turn serves several tasks; not longer, so that the
/// worker's own tasks wait no longer than a few time slices of the kernel.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(20);

/// A worker's turns at injected tasks.
#[derive(Debug)]
pub(crate) struct InjectorTurns {
    turn: Cell<Option<Turn>>,
    /// When the last turn ended.
    last: Cell<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    /// The end of the turn, which begins when the worker first looks for a task in it.
    until: Option<Instant>,
    /// The switches until the next tick, which are not counted during the turn.
    until_tick: u32,
}

impl InjectorTurns {
    pub(crate) fn new() -> Self {
        Self { turn: Cell::new(None), last: Cell::new(Instant::now()) }
    }

    /// Returns `true` during a turn.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.turn.get().is_some()
    }

    /// Begins a turn. `until_tick` is kept until its [end](Self::end).
    pub(crate) fn begin(&self, until_tick: u32) {
        self.turn.set(Some(Turn { until: None, until_tick }));
    }

    /// Returns `true` while there is time for another injected task.
    pub(crate) fn has_time(&self, now: Instant) -> bool {
        let Some(turn) = self.turn.get() else { return false };
        let time = || (now - self.last.get()).clamp(SHORTEST, LONGEST);
        let until = turn.until.unwrap_or_else(|| now + time());
        self.turn.set(Some(Turn { until: Some(until), ..turn }));
        now < until
    }

    /// Ends the turn. Returns what `begin` was given.
    pub(crate) fn end(&self, now: Instant) -> Option<u32> {
        self.last.set(now);
        Some(self.turn.take()?.until_tick)
    }
}
