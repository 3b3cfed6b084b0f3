//! What a worker keeps to itself, under a lock that costs its owner next to nothing.

use std::collections::VecDeque;

use crate::task::header::TaskRef;
use crate::task::stack_job::StackJobRef;

/// Tasks that the owner keeps for itself as long as there are no idle workers; see `queue/run_queue.rs`.
#[derive(Debug)]
pub(crate) struct Private {
    /// The task just woken, to run next.
    pub(crate) lifo_slot: Option<TaskRef>,
    pub(crate) forks: VecDeque<TaskRef>,
    pub(crate) ready: VecDeque<TaskRef>,
    /// Ready tasks that the owner has taken back from a burst of published ones: older than all others.
    pub(crate) front: VecDeque<TaskRef>,
    /// Some were taken out by another: the owner was stuck.
    pub(crate) taken_over: bool,
}

impl Private {
    /// How many tasks there are.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.lifo_slot.is_some())
            + self.forks.len()
            + self.front.len()
            + self.ready.len()
    }
}

/// What the running task has deferred; see `worker/fork_join.rs`.
#[derive(Debug)]
pub(crate) struct DeferredJobs {
    /// The oldest first.
    pub(crate) list: VecDeque<StackJobRef>,
    /// As in [`Private`].
    pub(crate) taken_over: bool,
}

/// What another thread takes out of a stuck worker's private queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeOver {
    /// The LIFO slot, else the oldest continuation, else half of the ready tasks.
    Some,
    All,
}
