//! The signal that disconnects a channel without values.
//! [`Context::done`](crate::context::Context::done) returns such a channel.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use crate::channel::flavors::done::Done;
use crate::channel::receiver::{Flavor, Receiver};

/// The sending side: disconnects the channel when it is raised, at the latest when it is dropped.
pub(crate) struct Signal(Arc<Done>);

impl Signal {
    /// Creates the signal and its channel.
    pub(crate) fn new(deadline: Option<Instant>) -> (Self, Receiver<Infallible>) {
        let done = Arc::new(Done::new(deadline));
        (Self(Arc::clone(&done)), Receiver(Flavor::Done(done)))
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.is_settled()
    }

    /// Disconnects the channel, and wakes the waiting threads.
    pub(crate) fn raise(&self) {
        self.0.settle();
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.0.settle();
    }
}
