//! The part of a worker that outlives its OS thread.

use std::sync::Arc;

use crate::runtime::queue::run_queue::RunQueue;
use crate::runtime::remote::Remote;

/// The queues of a worker. They outlive a spare worker's OS thread, to serve the next one.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) index: u32,
    pub(crate) remote: Arc<Remote>,
    pub(crate) queues: RunQueue,
}

impl Core {
    pub(crate) fn new(index: u32) -> Self {
        let (queues, remote) = RunQueue::new();
        Self { index, remote, queues }
    }
}
