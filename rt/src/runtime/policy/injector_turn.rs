//! What waits for a worker to be free, when none is.
//!
//! A worker takes injected tasks when it has none of its own, and at some of the ticks. Those are counted,
//! not timed: where every task runs for a millisecond before it yields, sixty-one switches are a long time. So the
//! sysmon *asks* the workers that run, when tasks are injected and nobody is free for them, those too that it
//! has injected itself because their timers were late. An worker so asked takes injected tasks, one after the other,
//! before all others, until there are no more or its turn is over; then the next switch is its own again, whatever
//! sysmon says meanwhile. A turn lasts as long as the worker's own work had since the last, within limits: so
//! neither starves the other.
//!
//! It costs nothing where nobody is asked: sysmon says it in the status word, which every switch looks at.

use std::time::{Duration, Instant};

/// The limits of how long an worker so asked runs what was injected before it turns to its own work again.
pub(crate) const SHORTEST_TURN: Duration = Duration::from_millis(1);

pub(crate) const LONGEST_TURN: Duration = Duration::from_millis(20);

/// A worker's turn at what was injected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InjectorTurn {
    /// When it ends; it begins with its first switch.
    pub(crate) until: Option<Instant>,
    /// Picks until the next fair one, which are not counted meanwhile.
    pub(crate) until_tick: u32,
}
