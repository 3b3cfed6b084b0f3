//! Processes that were forked from one with a runtime.
//!
//! The child of a `fork` has one OS thread, a copy of the one that called. None of the runtime's is there, so what
//! waits for them would wait for ever. Here is whether this process is such a child, and what it is told:
//! whatever is about to wait panics, whatever starts green threads or a runtime fails. The flag is asked only where a
//! thread is about to wait anyway; what green threads do on their way costs nothing, because the one that has
//! forked is one that may not suspend (`sched/at_fork.rs`).
//!
//! A process whose runtimes have all ended has nothing that a child would lack.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Runtimes that may have OS threads.
static RUNTIMES: AtomicUsize = AtomicUsize::new(0);

/// Cause and remedy.
pub(crate) const WHY: &str = "this process was forked from one that had a gthread runtime, of whose OS threads it has \
    none. Call exec in the child of a fork, or fork before the first use of gthread";

/// Whether this process is the child of one that had a runtime.
#[inline]
pub(crate) fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}

/// In the child, before `fork` returns: whether it lacks what its parent had. Does what a signal handler may.
pub(crate) fn mark_child() -> bool {
    if RUNTIMES.load(Ordering::Relaxed) > 0 {
        IS_CHILD.store(true, Ordering::Relaxed);
    }
    is_child()
}

/// A runtime is about to start OS threads.
pub(crate) fn count_runtime() {
    RUNTIMES.fetch_add(1, Ordering::Relaxed);
}

/// All of its OS threads have ended.
pub(crate) fn forget_runtime() {
    RUNTIMES.fetch_sub(1, Ordering::Relaxed);
}

/// An error if this process is such a child.
pub(crate) fn check() -> io::Result<()> {
    if is_child() { Err(error()) } else { Ok(()) }
}

/// What starts something there gets this.
#[cold]
pub(crate) fn error() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, WHY)
}

/// A thread of the runtime's, or one in the middle of its code, cannot go on: ends the process.
#[cold]
pub(crate) fn end(what: fmt::Arguments<'_>) -> ! {
    // Not with the macro: a vanished thread may have its lock. Nothing can be done if nobody reads it.
    let text = format!("fatal: {what}: {WHY}\n");
    // SAFETY: the bytes are there. To exit so runs nothing of the parent's.
    unsafe {
        libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        libc::_exit(1)
    }
}
