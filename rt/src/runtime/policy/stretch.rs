//! The time for which a task that forks and joins goes on before it lets others run.

use std::time::{Duration, Instant};

/// How long a task that forks and joins goes on before it checks whether other tasks wait, and lets
/// them run. Not shorter, because all that it has deferred must become tasks when it is suspended,
/// and because a look at other workers takes their cache lines.
const QUANTUM: Duration = Duration::from_micros(100);

/// The most turns between two looks at the clock.
pub(crate) const MOST_UNTIMED: u32 = 8;

/// The time since a worker last checked, in a `join`, whether other tasks wait.
#[derive(Clone, Copy)]
pub(crate) struct Stretch {
    since: Instant,
    turns: u32,
    /// The turn at which to look at the clock: the first, the second, the fourth, the eighth, and
    /// then each eighth.
    look_at: u32,
}

impl Stretch {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), turns: 0, look_at: 1 }
    }

    /// Counts a turn. Returns `true` if the stretch is over, and begins a new one then.
    pub(crate) fn is_over(&mut self) -> bool {
        self.turns += 1;
        if self.turns < self.look_at {
            return false;
        }
        self.look_at = self.turns + self.turns.min(MOST_UNTIMED);
        let is_over = self.since.elapsed() >= QUANTUM;
        if is_over {
            *self = Self::new();
        }
        is_over
    }
}
