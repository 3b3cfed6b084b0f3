//! Channels with crossbeam-channel's API and rules, for green threads and OS threads alike.
//!
//! A program written for crossbeam-channel changes its `use` line. A blocking operation parks the
//! calling green thread, which is a suspension point, or blocks the calling OS thread. Both kinds
//! of threads may wait on one channel. Errors are crossbeam-channel's own types.
//!
//! # Done channels
//!
//! A channel that carries no values notifies all its receivers when its last sender is dropped:
//! each of them gets an error from `recv`. This is Go's *done channel*, closed by dropping.
//!
//! ```
//! use gthread::channel::{Receiver, bounded, select, unbounded};
//! use gthread::go;
//!
//! let (done, is_done) = bounded::<()>(0);
//! let (squares, results) = unbounded();
//! let workers = [1, 2].map(|step| {
//!     let (is_done, squares) = (is_done.clone(), squares.clone());
//!     go!(move || {
//!         for n in (step..).step_by(2) {
//!             select! {
//!                 send(squares, n * n) -> sent => if sent.is_err() { break },
//!                 recv(is_done) -> _ => break,
//!             }
//!             gthread::yield_now();
//!         }
//!     })
//! });
//! assert_eq!(results.iter().filter(|n| n % 2 == 1).take(2).count(), 2);
//! drop(done);
//! workers.into_iter().for_each(|worker| worker.join().unwrap());
//! ```
//!
//! # Examples
//!
//! ```
//! use gthread::{channel, go};
//!
//! let (tx, rx) = channel::bounded(1);
//! go!(move || {
//!     for n in 0..3 {
//!         tx.send(n).unwrap();
//!     }
//! });
//! assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 1, 2]);
//! ```

mod counter;
mod flavors;
mod iter;
mod receiver;
mod select;
mod sender;
mod signal;

use std::time::{Duration, Instant};

use crate::channel::counter::Shared;
use crate::channel::flavors::array::Ring;
use crate::channel::flavors::buffered::Buffered;
use crate::channel::flavors::list::List;
use crate::channel::flavors::timer::{At, Tick};
use crate::channel::flavors::zero::Zero;
use crate::channel::receiver::Flavor as From;
use crate::channel::sender::Flavor as To;

pub use crate::channel::iter::{IntoIter, Iter, TryIter};
pub use crate::channel::receiver::Receiver;
#[doc(hidden)]
pub use crate::channel::select::macro_support;
pub use crate::channel::select::{Select, SelectedOperation};
#[doc(inline)]
pub use crate::channel::select::{select, select_biased};
pub use crate::channel::sender::Sender;
pub(crate) use crate::channel::signal::Signal;
pub use crossbeam_channel::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError,
    SendTimeoutError, TryReadyError, TryRecvError, TrySelectError, TrySendError,
};

/// Creates a channel that holds at most `cap` values.
///
/// With `cap` zero it holds none: each `send` waits for a `recv` and passes the value to it
/// directly (a rendezvous, like Go's unbuffered channel).
///
/// # Panics
///
/// If a buffer for `cap` values would not fit in the address space.
pub fn bounded<T>(cap: usize) -> (Sender<T>, Receiver<T>) {
    if cap == 0 {
        let channel = Shared::new(Zero::new());
        return (Sender(To::Zero(channel.clone())), Receiver(From::Zero(channel)));
    }
    let channel = Shared::new(Buffered::new(Ring::new(cap)));
    (Sender(To::Bounded(channel.clone())), Receiver(From::Bounded(channel)))
}

/// Creates a channel that holds any number of values: `send` never blocks.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let channel = Shared::new(Buffered::new(List::new()));
    (Sender(To::Unbounded(channel.clone())), Receiver(From::Unbounded(channel)))
}

/// Creates a channel that delivers one message after `duration`: the moment at which it was due.
///
/// If there are several receivers, one of them gets the message. If the clock cannot represent the
/// moment, the channel never delivers. The channel has no timer of its own and costs nothing until
/// a receiver waits; a waiting receiver sleeps until the moment.
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let due = gthread::channel::after(Duration::from_millis(5)).recv().unwrap();
/// assert!(due - start >= Duration::from_millis(5));
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    Instant::now().checked_add(duration).map_or_else(never, at)
}

/// Creates a channel that delivers one message at the time `when`: that moment itself. See
/// [`after`].
pub fn at(when: Instant) -> Receiver<Instant> {
    Receiver(From::At(std::sync::Arc::new(At::new(when))))
}

/// Creates a channel that delivers a message every `duration`: the moment at which it was due.
///
/// The channel holds at most one message, so messages do not pile up. If a message is received
/// late, the next one is due `duration` after it was received. With a duration of zero there is
/// always a message. If the clock cannot represent the moment of the first message, the channel
/// never delivers.
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let ticker = gthread::channel::tick(Duration::from_millis(2));
/// for _ in 0..3 {
///     ticker.recv().unwrap();
/// }
/// assert!(start.elapsed() >= Duration::from_millis(6));
/// ```
pub fn tick(duration: Duration) -> Receiver<Instant> {
    match Instant::now().checked_add(duration) {
        Some(_) => Receiver(From::Tick(std::sync::Arc::new(Tick::new(duration)))),
        None => never(),
    }
}

/// Creates a channel that never delivers a message and is never disconnected.
///
/// This is Go's nil channel: it switches off an arm of a [`select!`].
///
/// # Examples
///
/// ```
/// use gthread::channel::{after, never, select, unbounded};
/// use std::time::Duration;
///
/// let (_tx, rx) = unbounded::<i32>();
/// let timeout = Some(Duration::from_millis(1));
/// select! {
///     recv(rx) -> _ => unreachable!(),
///     recv(timeout.map_or(never(), after)) -> _ => {}
/// }
/// ```
pub const fn never<T>() -> Receiver<T> {
    Receiver(From::Never)
}
