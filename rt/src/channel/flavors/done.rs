//! Channels that carry no values and are disconnected by a signal or at a deadline.
//! `context::Context::done` returns one.
//!
//! There is no timer: each waiting thread wakes up at the deadline by itself, so nothing runs at
//! the deadline if no thread waits.

use std::panic::Location;
use std::time::Instant;

use crate::loom::{AtomicBool, Ordering};
use crate::task::wait_info::Reason;
use crate::wait::list::WaitList;
use crate::wait::park::Retry;
use crate::wait::queue::DISCONNECTED;

pub(crate) struct Done {
    /// The signal was raised or dropped. If this is `false`, the deadline may have passed
    /// nevertheless.
    settled: AtomicBool,
    deadline: Option<Instant>,
    /// The threads that wait for the signal.
    pub(crate) receivers: WaitList,
}

impl Done {
    /// Creates the flavor of a channel that is disconnected at `deadline`, if that comes first.
    pub(crate) fn new(deadline: Option<Instant>) -> Self {
        Self { settled: AtomicBool::new(false), deadline, receivers: WaitList::new() }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_settled() || self.has_expired()
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::SeqCst)
    }

    fn has_expired(&self) -> bool {
        self.deadline.is_some_and(|at| Instant::now() >= at)
    }

    pub(crate) fn settle(&self) {
        if !self.settled.swap(true, Ordering::SeqCst) {
            self.receivers.notify_all(DISCONNECTED);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Blocks until the channel is done or until `deadline`. Returns `true` if it is done.
    pub(crate) fn wait(&self, deadline: Option<Instant>, site: &'static Location<'static>) -> bool {
        let until = [self.deadline, deadline].into_iter().flatten().min();
        let mut retry = None;
        loop {
            if self.is_done() {
                return true;
            }
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return false;
            }
            if retry.get_or_insert_with(Retry::new).again() {
                continue;
            }
            self.receivers.wait(|| self.is_settled(), Reason::Recv, until, site);
            retry = None;
        }
    }
}
