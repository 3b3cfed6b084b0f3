//! Channels that nobody sends into, and that are disconnected: by a signal, or at a deadline. What
//! `context::Context::done` gives out.
//!
//! There is no timer: whoever waits wakes up at the deadline by itself, and so nothing happens then if
//! nobody waits.

use std::convert::Infallible;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use crate::channel::Receiver;
use crate::channel::receiver::Flavor;
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
    pub(crate) fn is_done(&self) -> bool {
        self.is_settled() || self.has_expired()
    }

    fn is_settled(&self) -> bool {
        self.settled.load(Ordering::SeqCst)
    }

    fn has_expired(&self) -> bool {
        self.deadline.is_some_and(|at| Instant::now() >= at)
    }

    fn settle(&self) {
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

/// What disconnects such a channel, at the latest when it is dropped.
pub(crate) struct Signal(Arc<Done>);

impl Signal {
    /// The signal and the channel.
    pub(crate) fn new(deadline: Option<Instant>) -> (Self, Receiver<Infallible>) {
        let done = Arc::new(Done {
            settled: AtomicBool::new(false),
            deadline,
            receivers: WaitList::new(),
        });
        (Self(Arc::clone(&done)), Receiver(Flavor::Done(done)))
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.is_settled()
    }

    /// Disconnects the channel, and wakes those who wait.
    pub(crate) fn raise(&self) {
        self.0.settle();
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.0.settle();
    }
}
