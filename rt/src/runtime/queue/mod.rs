//! The queues of runnable tasks.

pub(crate) mod private;
pub(crate) mod run_queue;
