//! The private tasks and deferred jobs of a worker, under a lock that costs its owner next to
//! nothing (`util/biased_lock.rs`).

use std::collections::VecDeque;

use crate::task::header::TaskRef;
use crate::task::stack_job::StackJobRef;

/// Tasks that the owner keeps for itself as long as there are no idle workers; see `queue/run_queue.rs`.
#[derive(Debug)]
pub(crate) struct Private {
    /// The task that was woken last, to run next.
    pub(crate) lifo_slot: Option<TaskRef>,
    pub(crate) forks: VecDeque<TaskRef>,
    pub(crate) ready: VecDeque<TaskRef>,
    /// Ready tasks that the owner has taken from a burst: older than all others.
    pub(crate) front: VecDeque<TaskRef>,
    /// Another thread has taken over continuations: the owner was stuck.
    pub(crate) taken_over: bool,
}

impl Private {
    /// Returns the number of tasks.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.lifo_slot.is_some())
            + self.forks.len()
            + self.front.len()
            + self.ready.len()
    }
}

/// The jobs that the running task has deferred; see `worker/fork_join.rs`.
#[derive(Debug)]
pub(crate) struct DeferredJobs {
    /// The oldest first.
    pub(crate) list: VecDeque<StackJobRef>,
    /// Another thread has taken over a job: the owner was stuck.
    pub(crate) taken_over: bool,
}

/// What another thread takes over from a stuck worker's private queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeOver {
    /// The LIFO slot, or else the oldest continuation, or else half of the ready tasks.
    Some,
    All,
}
