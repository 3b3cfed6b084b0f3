//! Looking at all green threads from outside.

use std::io;

use crate::diagnostics::dump::Dump;
use crate::diagnostics::sigquit;
use crate::diagnostics::snapshot::Snapshot;
use crate::runtime::registry::live_runtimes;
use crate::wait::park::blocking;

/// All green threads of all runtimes as they are at one moment: who they are, what they wait for, where and for
/// how long, and the call stacks of those that are parked. And the OS threads that wait in gthread.
///
/// For finding out why a program hangs: `eprintln!("{}", gthread::dump())`. As Go's goroutine dump or the
/// JVM's thread dump.
///
/// While it looks, no green thread starts or goes on; those that run go on running, and of them little is
/// said. That is some 10 ms if one runs on and on, else less than one, and some 10 µs more for each parked
/// thread, of which 4,096 in each runtime are asked for their call stack. Finding names for the calls takes
/// longer, the first time perhaps a second, but then everything goes on. A program that is never dumped pays
/// nothing for it.
///
/// Blocks the OS thread that calls; no suspension point. Call stacks take the feature `backtrace`, which is
/// on unless switched off.
///
/// # Examples
///
/// ```
/// let (tx, rx) = gthread::channel::bounded::<u32>(0);
/// let waits = gthread::go!(move || rx.recv());
/// let dump = loop {
///     let dump = gthread::dump();
///     if dump.threads().any(|thread| thread.wait.is_some()) {
///         break dump;
///     }
/// };
/// let thread = dump.threads().next().unwrap();
/// assert_eq!(thread.wait.unwrap().reason, "recv");
/// assert!(dump.to_string().contains("parked in recv"));
/// drop(tx);
/// assert!(waits.join().unwrap().is_err());
/// ```
pub fn dump() -> Dump {
    let census = Snapshot::take(&live_runtimes());
    blocking(|| census.into_dump())
}

/// From now on SIGQUIT (Ctrl-\\ in a terminal, `kill -QUIT` elsewhere) prints a [`dump`] to stderr, and the
/// process goes on. As the JVM's; Go's ends the process.
///
/// The environment variable `GTHREAD_DUMP=sigquit` does the same for a program that does not call this, when its
/// first runtime starts. May be called again; costs an OS thread that sleeps.
///
/// # Errors
///
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the program has a handler for the signal. What the system
/// says if it has no pipe or thread.
///
/// # Examples
///
/// ```
/// gthread::dump_on_sigquit()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn dump_on_sigquit() -> io::Result<()> {
    sigquit::dump_on_sigquit()
}
