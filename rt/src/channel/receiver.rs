//! The receiving end.

use std::fmt;
use std::mem::MaybeUninit;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvError, RecvTimeoutError, TryRecvError};

use crate::channel::counter::Shared;
use crate::channel::flavors::buffer::NotReady;
use crate::channel::flavors::buffered::{Bounded, Unbounded};
use crate::channel::flavors::done::Done;
use crate::channel::flavors::timer::{At, Tick, sleep_until};
use crate::channel::flavors::zero::Zero;
use crate::wait::park::may_suspend;

/// The receiving end of a channel. Clones receive from the same channel, and each value goes to one
/// of them. When the last one is dropped the channel is disconnected. The values that it still
/// holds are dropped, at the latest when the senders are gone too.
pub struct Receiver<T>(pub(super) Flavor<T>);

/// The kinds of channels. `At` and `Tick` are created with `T` = `Instant` only, `Done` with
/// `Infallible`.
pub(super) enum Flavor<T> {
    Bounded(Arc<Shared<Bounded<T>>>),
    Unbounded(Arc<Shared<Unbounded<T>>>),
    Zero(Arc<Shared<Zero<T>>>),
    At(Arc<At>),
    Tick(Arc<Tick>),
    Done(Arc<Done>),
    Never,
}

/// Writes the message of a timer to the receiver's place.
fn write_message<T>(place: &mut MaybeUninit<T>, instant: Instant) {
    assert_eq!(size_of::<T>(), size_of::<Instant>());
    // SAFETY: receivers of timers are created with `T` = `Instant` only, so the place is for an
    // `Instant`.
    unsafe { place.as_mut_ptr().cast::<Instant>().write(instant) };
}

// SAFETY: the ends pass values between threads, so these must be `Send`. All other state is atomic
// or under locks.
unsafe impl<T: Send> Send for Receiver<T> {}
// SAFETY: as for `Send`; a shared end does the same.
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
    #[track_caller]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut place = MaybeUninit::uninit();
        match self.try_recv_to(&mut place, Location::caller()) {
            // SAFETY: the receive succeeded, so it has written the place; the value is read once.
            Ok(()) => Ok(unsafe { place.assume_init_read() }),
            Err(error) => Err(error),
        }
    }

    /// Does the work of [`Receiver::try_recv`], and writes the value to a place. All receive
    /// functions do so, which moves a large value only once on its way.
    pub(super) fn try_recv_to(
        &self,
        place: &mut MaybeUninit<T>,
        site: &'static Location<'static>,
    ) -> Result<(), TryRecvError> {
        match &self.0 {
            Flavor::Bounded(channel) => channel.try_recv(place),
            Flavor::Unbounded(channel) => channel.try_recv(place),
            Flavor::Zero(channel) => channel.try_recv(place, site),
            Flavor::At(timer) => timer.try_recv().map(|when| write_message(place, when)),
            Flavor::Tick(timer) => timer.try_recv().map(|when| write_message(place, when)),
            Flavor::Done(done) if done.is_done() => Err(TryRecvError::Disconnected),
            Flavor::Done(_) | Flavor::Never => Err(TryRecvError::Empty),
        }
    }

    /// Receives, waiting while the channel is empty.
    ///
    /// # Errors
    ///
    /// If the channel is empty and disconnected.
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_from(Location::caller())
    }

    /// Does the work of [`Receiver::recv`], for a caller that waits at `site`.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn recv_from(&self, site: &'static Location<'static>) -> Result<T, RecvError> {
        match &self.0 {
            Flavor::Bounded(channel) => {
                may_suspend(site);
                let mut place = MaybeUninit::uninit();
                match channel.recv_at_once(&mut place) {
                    // SAFETY: the receive succeeded, so it has written the place; the value is read
                    // once.
                    Ok(()) => Ok(unsafe { place.assume_init_read() }),
                    Err(not_ready) => recv_bounded(channel, not_ready, site),
                }
            }
            Flavor::Unbounded(channel) => recv_unbounded(channel, site),
            Flavor::Zero(channel) => recv_zero(channel, site),
            _ => self.recv_other(site),
        }
    }

    /// Separate, like the functions below.
    #[inline(never)]
    fn recv_other(&self, site: &'static Location<'static>) -> Result<T, RecvError> {
        self.recv_at(None, site).map_err(|_| RecvError)
    }

    /// Receives, waiting no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// If the time is over, or the channel is empty and disconnected.
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        // A deadline that the clock cannot represent means no deadline.
        self.recv_at(Instant::now().checked_add(timeout), Location::caller())
    }

    /// Receives, waiting no longer than until `deadline`.
    ///
    /// # Errors
    ///
    /// See [`Receiver::recv_timeout`].
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_at(Some(deadline), Location::caller())
    }

    fn recv_at(
        &self,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<T, RecvTimeoutError> {
        let mut place = MaybeUninit::uninit();
        match self.recv_to(&mut place, deadline, site) {
            // SAFETY: the receive succeeded, so it has written the place; the value is read once.
            Ok(()) => Ok(unsafe { place.assume_init_read() }),
            Err(error) => Err(error),
        }
    }

    pub(super) fn recv_to(
        &self,
        place: &mut MaybeUninit<T>,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<(), RecvTimeoutError> {
        may_suspend(site);
        let unknown = NotReady::Unknown;
        match &self.0 {
            Flavor::Bounded(channel) => channel.recv_slowly(place, unknown, deadline, site),
            Flavor::Unbounded(channel) => channel.recv_slowly(place, unknown, deadline, site),
            Flavor::Zero(channel) => channel.recv(place, deadline, site),
            Flavor::At(timer) => timer.recv(deadline, site).map(|when| write_message(place, when)),
            Flavor::Tick(timer) => {
                timer.recv(deadline, site).map(|when| write_message(place, when))
            }
            Flavor::Done(done) if done.wait(deadline, site) => Err(RecvTimeoutError::Disconnected),
            Flavor::Done(_) => Err(RecvTimeoutError::Timeout),
            Flavor::Never => {
                sleep_until(deadline, site);
                Err(RecvTimeoutError::Timeout)
            }
        }
    }

    /// Closes the channel for sending, like [`Sender::close`](crate::channel::Sender::close).
    ///
    /// The values that it holds can still be received. Returns `false`, without effect, for
    /// channels without senders: `after`, `at`, `tick`, `never`, and a context's `done`.
    pub fn close(&self) -> bool {
        match &self.0 {
            Flavor::Bounded(channel) => channel.close(),
            Flavor::Unbounded(channel) => channel.close(),
            Flavor::Zero(channel) => channel.rendezvous.close(),
            Flavor::At(_) | Flavor::Tick(_) | Flavor::Done(_) | Flavor::Never => false,
        }
    }

    /// Returns `true` if the channel holds no value. Always `true` for capacity zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if the channel can hold no more. Always `true` for capacity zero, and for
    /// [`never`](crate::channel::never).
    pub fn is_full(&self) -> bool {
        self.capacity() == Some(self.len())
    }

    /// Returns the number of values that the channel holds.
    pub fn len(&self) -> usize {
        match &self.0 {
            Flavor::Bounded(channel) => channel.len(),
            Flavor::Unbounded(channel) => channel.len(),
            Flavor::At(timer) => usize::from(timer.is_ready()),
            Flavor::Tick(timer) => usize::from(timer.is_ready()),
            Flavor::Zero(_) | Flavor::Done(_) | Flavor::Never => 0,
        }
    }

    /// Returns the number of values that the channel can hold, or `None` if there is no limit.
    pub fn capacity(&self) -> Option<usize> {
        match &self.0 {
            Flavor::Bounded(channel) => channel.capacity(),
            Flavor::Unbounded(channel) => channel.capacity(),
            Flavor::At(_) | Flavor::Tick(_) => Some(1),
            Flavor::Zero(_) | Flavor::Done(_) | Flavor::Never => Some(0),
        }
    }

    /// Returns `true` if both ends belong to one channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        match (&self.0, &other.0) {
            (Flavor::Bounded(a), Flavor::Bounded(b)) => Arc::ptr_eq(a, b),
            (Flavor::Unbounded(a), Flavor::Unbounded(b)) => Arc::ptr_eq(a, b),
            (Flavor::Zero(a), Flavor::Zero(b)) => Arc::ptr_eq(a, b),
            (Flavor::At(a), Flavor::At(b)) => Arc::ptr_eq(a, b),
            (Flavor::Tick(a), Flavor::Tick(b)) => Arc::ptr_eq(a, b),
            (Flavor::Done(a), Flavor::Done(b)) => Arc::ptr_eq(a, b),
            (Flavor::Never, Flavor::Never) => true,
            _ => false,
        }
    }
}

// As for `send`: the less usual cases of `recv`, and all channels that are not bounded, are in
// separate functions.

#[inline(never)]
fn recv_bounded<T>(
    channel: &Bounded<T>,
    not_ready: NotReady,
    site: &'static Location<'static>,
) -> Result<T, RecvError> {
    let mut place = MaybeUninit::uninit();
    match channel.recv_slowly(&mut place, not_ready, None, site) {
        // SAFETY: the receive succeeded, so it has written the place; the value is read once.
        Ok(()) => Ok(unsafe { place.assume_init_read() }),
        Err(_) => Err(RecvError),
    }
}

#[inline(never)]
fn recv_unbounded<T>(
    channel: &Unbounded<T>,
    site: &'static Location<'static>,
) -> Result<T, RecvError> {
    may_suspend(site);
    let mut place = MaybeUninit::uninit();
    let received = match channel.recv_at_once(&mut place) {
        Ok(()) => Ok(()),
        Err(not_ready) => channel.recv_slowly(&mut place, not_ready, None, site),
    };
    match received {
        // SAFETY: the receive succeeded, so it has written the place; the value is read once.
        Ok(()) => Ok(unsafe { place.assume_init_read() }),
        Err(_) => Err(RecvError),
    }
}

#[inline(never)]
fn recv_zero<T>(channel: &Zero<T>, site: &'static Location<'static>) -> Result<T, RecvError> {
    may_suspend(site);
    let mut place = MaybeUninit::uninit();
    match channel.recv(&mut place, None, site) {
        // SAFETY: the receive succeeded, so it has written the place; the value is read once.
        Ok(()) => Ok(unsafe { place.assume_init_read() }),
        Err(_) => Err(RecvError),
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Flavor::Bounded(channel) => Flavor::Bounded(channel.clone_receiver()),
            Flavor::Unbounded(channel) => Flavor::Unbounded(channel.clone_receiver()),
            Flavor::Zero(channel) => Flavor::Zero(channel.clone_receiver()),
            Flavor::At(timer) => Flavor::At(Arc::clone(timer)),
            Flavor::Tick(timer) => Flavor::Tick(Arc::clone(timer)),
            Flavor::Done(done) => Flavor::Done(Arc::clone(done)),
            Flavor::Never => Flavor::Never,
        })
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        match &self.0 {
            Flavor::Bounded(channel) => channel.drop_receiver(),
            Flavor::Unbounded(channel) => channel.drop_receiver(),
            Flavor::Zero(channel) => channel.drop_receiver(),
            Flavor::At(_) | Flavor::Tick(_) | Flavor::Done(_) | Flavor::Never => {}
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}
