//! Counts of a channel's senders and receivers.

use std::ops::Deref;
use std::sync::Arc;

use crate::channel::flavors::buffer::Buffer;
use crate::channel::flavors::buffered::Buffered;
use crate::channel::flavors::zero::Zero;
use crate::loom::{AtomicUsize, Ordering};

/// A channel, with the number of its senders and receivers.
pub(crate) struct Shared<C> {
    senders: AtomicUsize,
    receivers: AtomicUsize,
    channel: C,
}

impl<C> Shared<C> {
    /// Creates the shared state with one end of each kind.
    pub(crate) fn new(channel: C) -> Arc<Self> {
        let one = || AtomicUsize::new(1);
        Arc::new(Self { senders: one(), receivers: one(), channel })
    }
}

impl<C> Deref for Shared<C> {
    type Target = C;
    #[inline]
    fn deref(&self) -> &C {
        &self.channel
    }
}

impl<C: Disconnect> Shared<C> {
    pub(crate) fn clone_sender(self: &Arc<Self>) -> Arc<Self> {
        self.senders.fetch_add(1, Ordering::Relaxed);
        Arc::clone(self)
    }

    pub(crate) fn clone_receiver(self: &Arc<Self>) -> Arc<Self> {
        self.receivers.fetch_add(1, Ordering::Relaxed);
        Arc::clone(self)
    }

    pub(crate) fn drop_sender(&self) {
        if self.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.channel.senders_gone();
        }
    }

    pub(crate) fn drop_receiver(&self) {
        if self.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.channel.receivers_gone();
        }
    }
}

/// A channel that is notified when its last sender or its last receiver is dropped.
pub(crate) trait Disconnect {
    fn senders_gone(&self);
    fn receivers_gone(&self);
}

impl<T, B: Buffer<T>> Disconnect for Buffered<T, B> {
    fn senders_gone(&self) {
        self.close();
    }
    fn receivers_gone(&self) {
        self.disconnect_receivers();
    }
}

impl<T> Disconnect for Zero<T> {
    fn senders_gone(&self) {
        self.rendezvous.close();
    }
    fn receivers_gone(&self) {
        self.rendezvous.close();
    }
}
