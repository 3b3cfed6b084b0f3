//! Whether a task is CPU-bound: whether it computes for long without suspending.

/// What the scheduler knows about a task. Belongs to the holder of the task as runnable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CpuBound {
    No,
    /// Known to be CPU-bound, for this many more short turns.
    Known(u8),
    /// CPU-bound, and admitted after a wait in the admission queue.
    Admitted(u8),
}

impl CpuBound {
    /// Returns the number of short turns for which the task stays known as CPU-bound.
    pub(crate) fn credit(self) -> u8 {
        match self {
            Self::No => 0,
            Self::Known(credit) | Self::Admitted(credit) => credit,
        }
    }

    /// Creates the state for this credit: a task without credit is not CPU-bound.
    pub(crate) fn known(credit: u8) -> Self {
        if credit == 0 { Self::No } else { Self::Known(credit) }
    }
}
