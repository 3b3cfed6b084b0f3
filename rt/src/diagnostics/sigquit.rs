//! Dumps on SIGQUIT: Ctrl-\ in a terminal, `kill -QUIT` from elsewhere.
//!
//! A thread of its own dumps (`sys/signals.rs`). So it works when every worker is stuck, and before
//! any runtime has started.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::diagnostics::deadlock::Ignored;
use crate::diagnostics::snapshot::Snapshot;
use crate::runtime::registry::live_runtimes;
use crate::sys::signals;

/// Installs the handler. See [`crate::dump_on_sigquit`].
pub(crate) fn dump_on_sigquit() -> io::Result<()> {
    /// The pipe to the thread that dumps; negative if there is none.
    static PIPE: AtomicI32 = AtomicI32::new(-1);
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    // In the child of a fork, the signal is not caught, and the thread is the parent's.
    if signals::caught_by(libc::SIGQUIT) == Some(PIPE.load(Ordering::Relaxed)) {
        return Ok(());
    }
    refuse_to_replace()?;
    let (reader, writer) = signals::pipe()?;
    thread::Builder::new().name("gthread-dump".into()).spawn(move || dump_for_each(reader))?;
    // If it fails, the writing end is dropped, and the reader ends with it.
    signals::catch(libc::SIGQUIT, writer.as_raw_fd())?;
    PIPE.store(writer.into_raw_fd(), Ordering::Relaxed);
    Ok(())
}

fn dump_for_each(mut signals: impl Read) {
    // This thread wakes no other.
    let _ignored = Ignored::new();
    // Signals that come faster than dumps are made count as one.
    let mut bytes = [0; 64];
    loop {
        match signals.read(&mut bytes) {
            Ok(1..) => {}
            // Interrupted by another signal of the program, whose handler does not restart calls.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            _ => return,
        }
        let dump = Snapshot::take(&live_runtimes()).into_dump();
        // If the write fails, nothing can be done.
        let _ = write!(io::stderr(), "\nSIGQUIT: all green threads\n\n{dump}");
    }
}

/// Returns an error if the program has its own handler for the signal.
fn refuse_to_replace() -> io::Result<()> {
    let action = signals::action(libc::SIGQUIT)?;
    let is_notified = signals::caught_by(libc::SIGQUIT).is_some();
    match action.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => Ok(()),
        // This crate's handler, in the child of a fork.
        _ if signals::is_ours(&action) && !is_notified => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the program has a handler for SIGQUIT already, which a dump on that signal would replace; \
             call gthread::dump where that handler wants one",
        )),
    }
}
