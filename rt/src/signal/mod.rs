//! Signals of the operating system, as values of a channel.
//!
//! [`notify`] returns a channel that receives signals, after Go's `signal.Notify`; [`ctrl_c`] is one
//! for Ctrl-C alone. The receivers are ordinary ones, for threads of both kinds, and work in
//! [`select!`](crate::channel::select!).
//!
//! While there is a receiver for a signal, the signal no longer has the effect that it had: SIGINT
//! does not end the process. When the last receiver for it is dropped, the effect comes back.
//!
//! The signals pass through an OS thread, which starts with the first call here and is called
//! `gthread-signal`. So they arrive even if all workers are busy. A thread that waits for a signal is
//! never part of a deadlock that is reported.
//!
//! # Examples
//!
//! A server that ends at Ctrl-C or `kill`:
//!
//! ```
//! use gthread::channel::{select, unbounded};
//! use gthread::signal::{self, Signal};
//!
//! let stop = signal::notify(&[Signal::INTERRUPT, Signal::TERMINATE])?;
//! let (_tx, requests) = unbounded::<u32>();
//! # // SAFETY: has no preconditions.
//! # unsafe { libc::raise(libc::SIGTERM) };
//! let last = gthread::run(|| loop {
//!     select! {
//!         recv(requests) -> request => println!("{request:?}"),
//!         recv(stop) -> signal => break signal,
//!     }
//! });
//! assert_eq!(last, Ok(Signal::TERMINATE));
//! # std::io::Result::Ok(())
//! ```

mod number;
mod registry;

use std::io;

use crate::channel::{Receiver, bounded};
use crate::signal::registry::{To, register};

pub use crate::signal::number::Signal;

/// How many signals a receiver holds.
const CAPACITY: usize = 64;

/// Returns a channel that receives these signals from now on.
///
/// Each call makes a channel of its own: of several that receive the same signal, each gets it.
/// (Clones of one receiver share its channel.)
///
/// Signals can be lost, as everywhere: signals of the same kind that come in quick succession may
/// count as one. And a channel holds 64: more are lost until some are received.
///
/// If the program has a handler for one of these signals, it is not called as long as there are
/// receivers. Child processes start with the signals' defaults. A signal that this process ignored,
/// like SIGPIPE in Rust programs, is no longer ignored meanwhile, so a system call may be
/// interrupted; but what std and gthread do, they do again.
///
/// [Closing](Receiver::close) the channel is like dropping its receivers, once the signals that it
/// holds are received.
///
/// # Errors
///
/// `InvalidInput` if there is no such signal, or the list is empty; for SIGKILL and SIGSTOP, which no
/// program can handle; for SIGSEGV, SIGBUS, SIGFPE and SIGILL, which a thread sends itself by a mistake,
/// and after which it cannot go on; and for SIGQUIT if it [prints a dump](crate::dump_on_sigquit).
/// Others if the process has too many descriptors or threads.
pub fn notify(signals: &[Signal]) -> io::Result<Receiver<Signal>> {
    let (tx, rx) = bounded(CAPACITY);
    register(signals, To::Signals(tx))?;
    Ok(rx)
}

/// Returns a channel that receives a value for each Ctrl-C from now on: for SIGINT.
///
/// It holds one value, so what comes before that is received counts as one. Otherwise like
/// [`notify`].
///
/// # Errors
///
/// If the process has too many descriptors or threads.
///
/// # Examples
///
/// ```
/// let interrupted = gthread::signal::ctrl_c()?;
/// # // SAFETY: has no preconditions.
/// # unsafe { libc::raise(libc::SIGINT) };
/// assert_eq!(interrupted.recv(), Ok(()));
/// # std::io::Result::Ok(())
/// ```
pub fn ctrl_c() -> io::Result<Receiver<()>> {
    let (tx, rx) = bounded(1);
    register(&[Signal::INTERRUPT], To::CtrlC(tx))?;
    Ok(rx)
}
