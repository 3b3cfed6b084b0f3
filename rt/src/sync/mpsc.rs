//! Channels with one receiver: [`std::sync::mpsc`] for green threads.
//!
//! The API is std's, and so are the rules: a program changes its `use` lines. The errors are std's own
//! types. Underneath are the channels of [`gthread::channel`](crate::channel), which can do more:
//! receivers that are cloned and shared, `select!`, deadlines for both ends.
//!
//! A `recv` on an empty channel, and a `send` on a full one, park the calling green thread, which is a
//! suspension point, or block the calling OS thread. Both kinds of threads may use one channel.
//!
//! # Examples
//!
//! ```
//! use gthread::sync::mpsc;
//! use gthread::thread;
//!
//! let (tx, rx) = mpsc::channel();
//! for id in 0..10 {
//!     let tx = tx.clone();
//!     thread::spawn(move || tx.send(id).unwrap());
//! }
//! drop(tx);
//! let mut ids: Vec<i32> = rx.iter().collect();
//! ids.sort();
//! assert_eq!(ids, (0..10).collect::<Vec<_>>());
//! ```

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use crate::channel as channels;

#[doc(inline)]
pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// Creates a channel that holds any number of values: `send` never blocks. Like
/// [`std::sync::mpsc::channel`].
///
/// Values are received in the order in which they were sent.
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = channels::unbounded();
    (Sender(sender), Receiver::new(receiver))
}

/// Creates a channel that holds at most `bound` values: `send` blocks while it is full. Like
/// [`std::sync::mpsc::sync_channel`].
///
/// With a bound of zero it holds none: each `send` waits for a `recv`, and passes the value to it
/// directly (a *rendezvous*).
///
/// # Panics
///
/// If a buffer for `bound` values would not fit in the address space.
///
/// # Examples
///
/// ```
/// use gthread::sync::mpsc::{TrySendError, sync_channel};
///
/// let (tx, rx) = sync_channel(1);
/// tx.send(1).unwrap();
/// assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
/// assert_eq!(rx.recv(), Ok(1));
/// ```
#[must_use]
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (sender, receiver) = channels::bounded(bound);
    (SyncSender(sender), Receiver::new(receiver))
}

/// The sending end of a [`channel`], like [`std::sync::mpsc::Sender`]. Clones send into the same
/// channel. When the last one is dropped the channel is disconnected: the receiver gets the values that
/// it still holds, then an error.
pub struct Sender<T>(channels::Sender<T>);

impl<T> Sender<T> {
    /// Sends a value. Never blocks.
    ///
    /// # Errors
    ///
    /// The value comes back if the receiver was dropped. If there is no error, the value may still
    /// never be received.
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.0.send(t).map_err(|channels::SendError(t)| SendError(t))
    }
}

/// The sending end of a [`sync_channel`], like [`std::sync::mpsc::SyncSender`]. Otherwise like
/// [`Sender`].
pub struct SyncSender<T>(channels::Sender<T>);

impl<T> SyncSender<T> {
    /// Sends a value, and waits while the channel is full; in a channel with a bound of zero, until
    /// the receiver takes it.
    ///
    /// Parks the green thread, a suspension point, or blocks the OS thread.
    ///
    /// # Errors
    ///
    /// The value comes back if the receiver was dropped, also while this waits.
    #[track_caller]
    pub fn send(&self, t: T) -> Result<(), SendError<T>> {
        self.0.send(t).map_err(|channels::SendError(t)| SendError(t))
    }

    /// Sends a value if that is possible without waiting; in a channel with a bound of zero, if the
    /// receiver waits.
    ///
    /// # Errors
    ///
    /// The value comes back if the channel is full, or the receiver was dropped.
    pub fn try_send(&self, t: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(t).map_err(|error| match error {
            channels::TrySendError::Full(t) => TrySendError::Full(t),
            channels::TrySendError::Disconnected(t) => TrySendError::Disconnected(t),
        })
    }
}

/// The receiving end of a channel, like [`std::sync::mpsc::Receiver`]. There is only one, which cannot
/// be shared. When it is dropped, so are the values in the channel, and sends fail.
pub struct Receiver<T> {
    inner: channels::Receiver<T>,
    /// Not `Sync`, like std's: programs must not come to rely on it.
    _not_sync: PhantomData<Cell<()>>,
}

// A panic elsewhere leaves no partial change in a channel.
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Receiver<T> {
    fn new(inner: channels::Receiver<T>) -> Self {
        Self { inner, _not_sync: PhantomData }
    }

    /// Receives a value if there is one. Never blocks.
    ///
    /// # Errors
    ///
    /// If the channel is empty, or empty and disconnected.
    #[track_caller]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inner.try_recv().map_err(|error| match error {
            channels::TryRecvError::Empty => TryRecvError::Empty,
            channels::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }

    /// Receives a value, and waits while the channel is empty.
    ///
    /// Parks the green thread, a suspension point, or blocks the OS thread.
    ///
    /// # Errors
    ///
    /// If the channel is empty, and all senders were dropped.
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.inner.recv().map_err(|channels::RecvError| RecvError)
    }

    /// Receives a value, and waits for no longer than `timeout`. A time that the clock cannot represent
    /// means no limit.
    ///
    /// # Errors
    ///
    /// If the time is over, or the channel is empty and disconnected.
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.inner.recv_timeout(timeout).map_err(|error| match error {
            channels::RecvTimeoutError::Timeout => RecvTimeoutError::Timeout,
            channels::RecvTimeoutError::Disconnected => RecvTimeoutError::Disconnected,
        })
    }

    /// Returns an iterator that waits for each value and ends when the channel is empty and
    /// disconnected.
    #[track_caller]
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { rx: self, site: Location::caller() }
    }

    /// Returns an iterator over the values that are there now: it ends when the channel is empty, and
    /// never waits.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { rx: self }
    }
}

// A waiting iterator reports the location at which it was created. The caller of `next` is often in
// std, in a `sum` or a `collect`.

/// Waits for each value, like [`std::sync::mpsc::Iter`]. Returned by [`Receiver::iter`].
pub struct Iter<'a, T: 'a> {
    rx: &'a Receiver<T>,
    site: &'static Location<'static>,
}

/// Never waits, like [`std::sync::mpsc::TryIter`]. Returned by [`Receiver::try_iter`].
pub struct TryIter<'a, T: 'a> {
    rx: &'a Receiver<T>,
}

/// Waits for each value, and owns the receiver, like [`std::sync::mpsc::IntoIter`].
pub struct IntoIter<T> {
    rx: Receiver<T>,
    site: &'static Location<'static>,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.inner.recv_from(self.site).ok()
    }
}

impl<'a, T> Iterator for TryIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rx.inner.recv_from(self.site).ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    #[track_caller]
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    #[track_caller]
    fn into_iter(self) -> IntoIter<T> {
        IntoIter { rx: self, site: Location::caller() }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("rx", &self.rx).finish()
    }
}

impl<T> fmt::Debug for TryIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryIter").field("rx", &self.rx).finish()
    }
}

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoIter").field("rx", &self.rx).finish()
    }
}
