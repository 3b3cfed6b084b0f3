//! The sending end.

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{SendError, SendTimeoutError, TrySendError};

use crate::channel::counter::Shared;
use crate::channel::flavors::buffer::{NotReady, PushError};
use crate::channel::flavors::buffered::{Bounded, Unbounded};
use crate::channel::flavors::zero::Zero;
use crate::wait::park::may_suspend;

/// The sending end of a channel. Clones send into the same channel. When the last one is dropped
/// the channel is disconnected: receivers get the values that it still holds, then an error.
pub struct Sender<T>(pub(super) Flavor<T>);

/// The kinds of channels that can be sent into.
pub(super) enum Flavor<T> {
    Bounded(Arc<Shared<Bounded<T>>>),
    Unbounded(Arc<Shared<Unbounded<T>>>),
    Zero(Arc<Shared<Zero<T>>>),
}

// SAFETY: the ends pass values between threads, so these must be `Send`. All other state is atomic
// or under locks.
unsafe impl<T: Send> Send for Sender<T> {}
// SAFETY: as for `Send`; a shared end does the same.
unsafe impl<T: Send> Sync for Sender<T> {}

impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}

impl<T> Sender<T> {
    /// Sends without blocking.
    ///
    /// On a channel of capacity zero this succeeds only if a receiver waits.
    ///
    /// # Errors
    ///
    /// The value comes back if the channel is full or disconnected.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut value = Some(value);
        let sent = match &self.0 {
            Flavor::Bounded(channel) => channel.try_send(&mut value),
            Flavor::Unbounded(channel) => channel.try_send(&mut value),
            Flavor::Zero(channel) => channel.try_send(&mut value),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(PushError::Full) => Err(TrySendError::Full(unsent(value))),
            Err(PushError::Closed) => Err(TrySendError::Disconnected(unsent(value))),
        }
    }

    /// Sends, waiting while the channel is full. On a channel of capacity zero, waits until a
    /// receiver takes the value.
    ///
    /// # Errors
    ///
    /// The value comes back if the channel is disconnected.
    #[track_caller]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let site = Location::caller();
        match &self.0 {
            Flavor::Bounded(channel) => {
                may_suspend(site);
                // A local that does not escape here, so a small value stays in registers.
                let mut value = Some(value);
                match channel.send_at_once(&mut value) {
                    Ok(()) => Ok(()),
                    Err(not_ready) => send_bounded(channel, value, not_ready, site),
                }
            }
            Flavor::Unbounded(channel) => send_unbounded(channel, value),
            Flavor::Zero(channel) => send_zero(channel, value, site),
        }
    }

    /// Sends, waiting no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The value comes back if the time is over or the channel is disconnected.
    #[track_caller]
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        // A deadline that the clock cannot represent means no deadline.
        self.send_until(value, Instant::now().checked_add(timeout), Location::caller())
    }

    /// Sends, waiting no longer than until `deadline`.
    ///
    /// # Errors
    ///
    /// See [`Sender::send_timeout`].
    #[track_caller]
    pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, Some(deadline), Location::caller())
    }

    fn send_until(
        &self,
        value: T,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<(), SendTimeoutError<T>> {
        if !matches!(self.0, Flavor::Unbounded(_)) {
            may_suspend(site);
        }
        let mut value = Some(value);
        let unknown = NotReady::Unknown;
        let sent = match &self.0 {
            Flavor::Bounded(channel) => channel.send_slowly(&mut value, unknown, deadline, site),
            Flavor::Unbounded(channel) => channel.send_slowly(&mut value, unknown, deadline, site),
            Flavor::Zero(channel) => channel.send(&mut value, deadline, site),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(PushError::Full) => Err(SendTimeoutError::Timeout(unsent(value))),
            Err(PushError::Closed) => Err(SendTimeoutError::Disconnected(unsent(value))),
        }
    }

    /// Closes the channel: disconnects it, even though other senders live. This is an addition to
    /// crossbeam-channel's API, after Go's `close`.
    ///
    /// From now on all sends fail, on clones and for waiting senders too. Receivers get the values
    /// that the channel holds, then an error. Does not block. Returns `true` if the channel was not
    /// disconnected before; Go panics if it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use gthread::channel::{SendError, unbounded};
    ///
    /// let (tx, rx) = unbounded();
    /// let other = tx.clone();
    /// tx.send(1).unwrap();
    /// assert!(tx.close());
    /// assert_eq!(other.send(2), Err(SendError(2)));
    /// assert_eq!(rx.iter().collect::<Vec<_>>(), [1]);
    /// ```
    pub fn close(&self) -> bool {
        match &self.0 {
            Flavor::Bounded(channel) => channel.close(),
            Flavor::Unbounded(channel) => channel.close(),
            Flavor::Zero(channel) => channel.rendezvous.close(),
        }
    }

    /// Has `hook` called when the last receiver is gone, or the channel is closed, by the thread
    /// that does that. For a channel with a buffer, while no other thread has an end.
    #[cfg_attr(not(feature = "io"), expect(dead_code))]
    pub(crate) fn on_close(&self, hook: impl Fn() + Send + Sync + 'static) {
        match &self.0 {
            Flavor::Bounded(channel) => channel.on_close(hook),
            Flavor::Unbounded(channel) => channel.on_close(hook),
            Flavor::Zero(_) => unreachable!("has no buffer"),
        }
    }

    /// Returns `true` if a thread waits for a value.
    #[cfg_attr(not(feature = "io"), expect(dead_code))]
    pub(crate) fn is_waited_for(&self) -> bool {
        match &self.0 {
            Flavor::Bounded(channel) => channel.receivers.is_waited_for(),
            Flavor::Unbounded(channel) => channel.receivers.is_waited_for(),
            Flavor::Zero(_) => unreachable!("has no buffer"),
        }
    }

    /// Returns `true` if the channel holds no value. Always `true` for capacity zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if the channel can hold no more. Always `true` for capacity zero.
    pub fn is_full(&self) -> bool {
        self.capacity() == Some(self.len())
    }

    /// Returns the number of values that the channel holds.
    pub fn len(&self) -> usize {
        match &self.0 {
            Flavor::Bounded(channel) => channel.len(),
            Flavor::Unbounded(channel) => channel.len(),
            Flavor::Zero(_) => 0,
        }
    }

    /// Returns the number of values that the channel can hold, or `None` if there is no limit.
    pub fn capacity(&self) -> Option<usize> {
        match &self.0 {
            Flavor::Bounded(channel) => channel.capacity(),
            Flavor::Unbounded(channel) => channel.capacity(),
            Flavor::Zero(_) => Some(0),
        }
    }

    /// Returns `true` if both ends belong to one channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        match (&self.0, &other.0) {
            (Flavor::Bounded(a), Flavor::Bounded(b)) => Arc::ptr_eq(a, b),
            (Flavor::Unbounded(a), Flavor::Unbounded(b)) => Arc::ptr_eq(a, b),
            (Flavor::Zero(a), Flavor::Zero(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

// The less usual cases of `send`, and all channels that are not bounded, are in separate functions.
// So a send into a bounded channel with room takes few instructions and no stack frame.

#[inline(never)]
fn send_bounded<T>(
    channel: &Bounded<T>,
    mut value: Option<T>,
    not_ready: NotReady,
    site: &'static Location<'static>,
) -> Result<(), SendError<T>> {
    match channel.send_slowly(&mut value, not_ready, None, site) {
        Ok(()) => Ok(()),
        Err(_) => Err(SendError(unsent(value))),
    }
}

#[inline(never)]
fn send_unbounded<T>(channel: &Unbounded<T>, value: T) -> Result<(), SendError<T>> {
    let mut value = Some(value);
    match channel.try_send(&mut value) {
        Ok(()) => Ok(()),
        Err(_) => Err(SendError(unsent(value))),
    }
}

#[inline(never)]
fn send_zero<T>(
    channel: &Zero<T>,
    value: T,
    site: &'static Location<'static>,
) -> Result<(), SendError<T>> {
    may_suspend(site);
    let mut value = Some(value);
    match channel.send(&mut value, None, site) {
        Ok(()) => Ok(()),
        Err(_) => Err(SendError(unsent(value))),
    }
}

/// Returns the value that was not sent; it is still where it was.
pub(super) fn unsent<T>(value: Option<T>) -> T {
    value.expect("taken by a send that failed")
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Flavor::Bounded(channel) => Flavor::Bounded(channel.clone_sender()),
            Flavor::Unbounded(channel) => Flavor::Unbounded(channel.clone_sender()),
            Flavor::Zero(channel) => Flavor::Zero(channel.clone_sender()),
        })
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        match &self.0 {
            Flavor::Bounded(channel) => channel.drop_sender(),
            Flavor::Unbounded(channel) => channel.drop_sender(),
            Flavor::Zero(channel) => channel.drop_sender(),
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}
