//! Channels that nobody sends into, and that are disconnected: by a signal, or at a deadline. What
//! `context::Context::done` gives out.
//!
//! There is no timer: whoever waits wakes up at the deadline by itself, and so nothing happens then if
//! nobody waits.

use std::convert::Infallible;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use super::Receiver;
use super::receiver::Flavor;
use crate::park::Retry;
use crate::prim::{AtomicUsize, Ordering};
use crate::task::Reason;
use crate::wait::{DISCONNECTED, WaitList};

/// Nothing has been said yet; the deadline may have passed.
const OPEN: usize = 0;
/// The signal was raised.
const RAISED: usize = 1;
/// The signal is gone, and was not raised, nor had the deadline passed.
const GONE: usize = 2;

pub(super) struct Done {
    /// One of the constants above. Leaves `OPEN` once.
    state: AtomicUsize,
    deadline: Option<Instant>,
    /// Those who wait for the signal.
    pub(super) receivers: WaitList,
}

impl Done {
    pub(super) fn is_done(&self) -> bool {
        self.is_settled() || self.has_expired()
    }

    fn is_settled(&self) -> bool {
        self.state.load(Ordering::SeqCst) != OPEN
    }

    fn has_expired(&self) -> bool {
        self.deadline.is_some_and(|at| Instant::now() >= at)
    }

    fn settle(&self, state: usize) {
        let settled =
            self.state.compare_exchange(OPEN, state, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        if settled {
            self.receivers.notify_all(DISCONNECTED);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Blocks until it is done: true; or until `deadline`: false.
    pub(super) fn wait(&self, deadline: Option<Instant>, site: &'static Location<'static>) -> bool {
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
        let done =
            Arc::new(Done { state: AtomicUsize::new(OPEN), deadline, receivers: WaitList::new() });
        (Self(Arc::clone(&done)), Receiver(Flavor::Done(done)))
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.is_settled()
    }

    /// Disconnects the channel, and wakes those who wait.
    pub(crate) fn raise(&self) {
        self.0.settle(RAISED);
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.0.settle(if self.0.has_expired() { RAISED } else { GONE });
    }
}

/// Whether a channel that is disconnected is so for the signal or the deadline, and not because the signal
/// is gone.
pub(crate) fn was_raised(done: &Receiver<Infallible>) -> bool {
    match &done.0 {
        Flavor::Done(done) => done.state.load(Ordering::SeqCst) != GONE && done.is_done(),
        _ => false,
    }
}
