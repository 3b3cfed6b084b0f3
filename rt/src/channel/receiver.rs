//! The receiving end.

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use super::{Flavor, Iter, RecvError, RecvTimeoutError, TryIter, TryRecvError, buffered, zero};

/// The receiving end of a channel. Clones receive from the same channel, each value going to one of
/// them; when the last is dropped the channel is disconnected, and the values it still holds are dropped,
/// at the latest when the senders are gone too.
pub struct Receiver<T>(pub(super) Flavor<buffered::Receiver<T>, zero::Receiver<T>>);

// SAFETY: the ends pass values between threads, so these must be `Send`; beyond that all state is
// atomic or under locks.
unsafe impl<T: Send> Send for Receiver<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Receiver<T> {}

impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    /// Receives without blocking.
    ///
    /// On a channel of capacity zero this succeeds only if a sender waits.
    ///
    /// # Errors
    ///
    /// If the channel is empty, or empty and disconnected.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match &self.0 {
            Flavor::Buffered(receiver) => receiver.try_recv(),
            Flavor::Zero(receiver) => receiver.try_recv(),
        }
    }

    /// Receives, waiting while the channel is empty.
    ///
    /// # Errors
    ///
    /// If the channel is empty and disconnected.
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_until(None, Location::caller()).map_err(|_| RecvError)
    }

    /// Receives, waiting no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// If the time is over, or the channel is empty and disconnected.
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        // A deadline beyond what the clock can say is none.
        self.recv_until(Instant::now().checked_add(timeout), Location::caller())
    }

    /// Receives, waiting no longer than until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv_timeout`].
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(Some(deadline), Location::caller())
    }

    fn recv_until(
        &self,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<T, RecvTimeoutError> {
        match &self.0 {
            Flavor::Buffered(receiver) => receiver.recv(deadline, site),
            Flavor::Zero(receiver) => receiver.recv(deadline, site),
        }
    }

    /// Whether the channel holds no value. Always true for capacity zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the channel can hold no more. Always true for capacity zero.
    pub fn is_full(&self) -> bool {
        self.capacity() == Some(self.len())
    }

    /// How many values the channel holds.
    pub fn len(&self) -> usize {
        match &self.0 {
            Flavor::Buffered(receiver) => receiver.len(),
            Flavor::Zero(_) => 0,
        }
    }

    /// How many values the channel can hold; `None` if there is no limit.
    pub fn capacity(&self) -> Option<usize> {
        match &self.0 {
            Flavor::Buffered(receiver) => receiver.capacity(),
            Flavor::Zero(_) => Some(0),
        }
    }

    /// An iterator that waits for each value and ends when the channel is empty and disconnected.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// An iterator over what is there now: it ends when the channel is empty, and never waits.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter::new(self)
    }

    /// Whether both ends belong to one channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        match (&self.0, &other.0) {
            (Flavor::Buffered(a), Flavor::Buffered(b)) => a.same_channel(b),
            (Flavor::Zero(a), Flavor::Zero(b)) => a.same_channel(b),
            _ => false,
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Flavor::Buffered(receiver) => Flavor::Buffered(receiver.clone()),
            Flavor::Zero(receiver) => Flavor::Zero(receiver.clone()),
        })
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}
