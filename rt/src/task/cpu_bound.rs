//! Whether a task computes for long without a pause.

/// What the scheduler knows of a task. Belongs to whoever has it as runnable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CpuBound {
    No,
    /// It stays so for so many short turns.
    Known(u8),
    /// It has waited for its turn, and was let in.
    Admitted(u8),
}

impl CpuBound {
    /// For how many short turns it stays known.
    pub(crate) fn credit(self) -> u8 {
        match self {
            Self::No => 0,
            Self::Known(credit) | Self::Admitted(credit) => credit,
        }
    }

    /// One that has used up its credit is none.
    pub(crate) fn known(credit: u8) -> Self {
        if credit == 0 { Self::No } else { Self::Known(credit) }
    }
}
