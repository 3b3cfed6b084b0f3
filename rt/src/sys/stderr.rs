//! What the runtime has to say on stderr.

use std::{fmt, io};

/// Prints a line, if stderr takes it.
///
/// With the macro, because tests capture what it prints and not what is written to stderr otherwise. But the
/// macro panics where it cannot print, and the runtime must not, least of all in a panic hook.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    if is_open() {
        eprintln!("{text}");
    }
}

fn is_open() -> bool {
    let mut stderr = libc::pollfd { fd: libc::STDERR_FILENO, events: 0, revents: 0 };
    loop {
        // SAFETY: one entry, which is ours. Without a timeout it does not block.
        match unsafe { libc::poll(&raw mut stderr, 1, 0) } {
            // Also without a timeout, by a signal that has just come.
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            count => return count == 0,
        }
    }
}
