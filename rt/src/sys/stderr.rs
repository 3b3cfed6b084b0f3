//! Lines that the runtime prints on stderr.

use std::{fmt, io};

/// Prints a line, if stderr accepts it.
///
/// Uses the macro, because tests capture only its output. But the macro panics if it cannot print,
/// and the runtime must not, least of all in a panic hook. So this checks first.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    if is_open() {
        eprintln!("{text}");
    }
}

fn is_open() -> bool {
    let mut stderr = libc::pollfd { fd: libc::STDERR_FILENO, events: 0, revents: 0 };
    loop {
        // SAFETY: the array is one entry, which is ours. With a timeout of zero it does not block.
        match unsafe { libc::poll(&raw mut stderr, 1, 0) } {
            // A signal has just come: even a call that does not block may fail for that.
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            count => return count == 0,
        }
    }
}
