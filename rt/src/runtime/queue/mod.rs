//! Where runnable tasks wait.

pub(crate) mod private;
pub(crate) mod run_queue;
