//! How long a task that forks and joins goes on before it lets others run.

use std::time::{Duration, Instant};

/// For so long a task that forks and joins goes on before it looks whether others wait, and lets them run: when it
/// is suspended all that it has deferred must become tasks, and a look at other workers takes their cache lines.
const QUANTUM: Duration = Duration::from_micros(100);

/// Turns between two looks at the clock, at most.
pub(crate) const MOST_UNTIMED: u32 = 8;

/// Since a worker has last looked, in a `join`, whether others wait.
#[derive(Clone, Copy)]
pub(crate) struct Stretch {
    since: Instant,
    turns: u32,
    /// With which turn to look at the clock: the first, the second, the fourth, the eighth, and each eighth then.
    look_at: u32,
}

impl Stretch {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), turns: 0, look_at: 1 }
    }

    /// One more turn. If it was the last: true, and begins anew.
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
