//! A view of all green threads from outside.

use std::io;

use crate::diagnostics::dump::Dump;
use crate::diagnostics::sigquit;
use crate::diagnostics::snapshot::Snapshot;
use crate::runtime::registry::live_runtimes;
use crate::wait::park::blocking;

/// Returns all green threads of all runtimes as they are at one moment: their names, what they wait
/// for, where and for how long, and the call stacks of the parked ones. The result also contains
/// the OS threads that wait in gthread.
///
/// For finding out why a program hangs: `eprintln!("{}", gthread::dump())`. Like Go's goroutine
/// dump or the JVM's thread dump.
///
/// While it looks, no green thread starts or continues. Running ones go on running, and little is
/// reported of them. That takes about 10 ms if a green thread runs without suspending, and much
/// less otherwise. Each parked thread adds a little; at most 4,096 of them in each runtime are
/// asked for their call stack. Finding names for the calls takes longer, particularly the first
/// time, but by then all threads continue. A program that is never dumped pays nothing for it.
///
/// Blocks the calling OS thread; not a suspension point. Call stacks need the feature `backtrace`,
/// which is on by default.
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
    let snapshot = Snapshot::take(&live_runtimes());
    blocking(|| snapshot.into_dump())
}

/// Makes SIGQUIT (Ctrl-\\ in a terminal, `kill -QUIT` elsewhere) print a [`dump`] to stderr from
/// now on; the process continues. This is the JVM's behaviour; Go ends the process.
///
/// The environment variable `GTHREAD_DUMP=sigquit` does the same for a program that does not call
/// this, when its first runtime starts. May be called again; costs an OS thread that sleeps.
///
/// # Errors
///
/// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the program has a handler for the signal. The
/// system's error if it has no pipe or thread.
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
