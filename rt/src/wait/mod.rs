//! Waiting: the only blocking primitive, and the queues and latches that use it.

pub(crate) mod ahead;
pub(crate) mod latch;
pub(crate) mod list;
pub(crate) mod no_switch;
pub(crate) mod park;
pub(crate) mod queue;
