//! Channels: crossbeam-channel's API and rules, for green threads and OS threads at once.
//!
//! A program written for crossbeam-channel changes its `use` line. Blocking operations park the green
//! thread that calls, which is a suspension point, or block the OS thread; both kinds may wait on one
//! channel. Errors are crossbeam-channel's own types.
//!
//! Not here yet: `select!`, `Select`, `after`, `at`, `tick`, `never`.
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

mod buffered;
mod iter;
mod receiver;
mod sender;
mod zero;

pub use crossbeam_channel::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use iter::{IntoIter, Iter, TryIter};
pub use receiver::Receiver;
pub use sender::Sender;

/// Which implementation serves an end of a channel.
enum Flavor<B, Z> {
    Buffered(B),
    Zero(Z),
}

/// Creates a channel that holds at most `cap` values.
///
/// With `cap` zero it holds none: each `send` waits for a `recv` and hands it the value directly (a
/// rendezvous, Go's unbuffered channel).
pub fn bounded<T>(cap: usize) -> (Sender<T>, Receiver<T>) {
    if cap == 0 {
        let (tx, rx) = zero::new();
        return (Sender(Flavor::Zero(tx)), Receiver(Flavor::Zero(rx)));
    }
    buffered(Some(cap))
}

/// Creates a channel that holds any number of values: `send` never blocks.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    buffered(None)
}

fn buffered<T>(cap: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = buffered::new(cap);
    (Sender(Flavor::Buffered(tx)), Receiver(Flavor::Buffered(rx)))
}
