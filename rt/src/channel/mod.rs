//! Channels: crossbeam-channel's API and rules, for green threads and OS threads at once.
//!
//! A program written for crossbeam-channel changes its `use` line. Blocking operations park the green
//! thread that calls, which is a suspension point, or block the OS thread; both kinds may wait on one
//! channel. Errors are crossbeam-channel's own types.
//!
//! # Done channels
//!
//! A channel that nobody sends into tells its receivers, however many, when its last sender is dropped:
//! they all get an error from `recv`. That is Go's *done channel*, closed by dropping.
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
/// With `cap` zero it holds none: each `send` waits for a `recv` and hands it the value directly (a
/// rendezvous, Go's unbuffered channel).
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
/// Of several receivers one gets it. A duration beyond what the clock can say makes a channel that never
/// delivers. Costs nothing while nobody waits: there is no timer, a waiting receiver sleeps until the
/// moment.
///
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

/// Creates a channel that delivers one message, `when` it is that time: the moment itself. As [`after`].
pub fn at(when: Instant) -> Receiver<Instant> {
    Receiver(From::At(std::sync::Arc::new(At::new(when))))
}

/// Creates a channel that delivers a message every `duration`: the moment at which it was due.
///
/// It holds one message at most, and the time to the next one counts from when the last was received, if
/// that was late: nothing piles up. With a duration of zero there is always a message; a duration beyond
/// what the clock can say makes a channel that never delivers.
///
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

/// Creates a channel that never delivers anything, and is never disconnected: Go's nil channel, for an
/// arm of a [`select!`] that is to be switched off.
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
