//! Channels that nobody sends into, and that are disconnected: by a signal, or at a deadline. What
//! `context::Context::done` gives out.
//!
//! There is no timer: whoever waits wakes up at the deadline by itself, and so nothing happens then if
//! nobody waits.

use std::panic::Location;
use std::time::Instant;

use crate::loom::{AtomicBool, Ordering};
use crate::task::wait_info::Reason;
use crate::wait::list::WaitList;
use crate::wait::park::Retry;
use crate::wait::queue::DISCONNECTED;

pub(crate) struct Done {
    /// The signal was raised, or is gone. If not, the deadline may have passed all the same.
    settled: AtomicBool,
    deadline: Option<Instant>,
    /// Those who wait for the signal.
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

    /// Blocks until it is done: true; or until `deadline`: false.
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
