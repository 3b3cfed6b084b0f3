//! Whether a task computes for long without a pause.

/// What the scheduler knows of a task. Belongs to whoever has it as runnable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hog {
    No,
    Known,
    /// It has waited for its turn, and was let in.
    Admitted,
}
