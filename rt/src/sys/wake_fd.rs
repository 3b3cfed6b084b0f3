//! The eventfd that wakes the thread which sleeps in epoll.
//!
//! It is registered edge-triggered and never read, so that each write wakes, and costs one system
//! call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::event::{EventfdFlags, eventfd};

static FD: OnceLock<OwnedFd> = OnceLock::new();

/// Returns the eventfd. Its first caller makes it, while no other does.
///
/// # Errors
///
/// If the process or the system has too many descriptors.
pub(crate) fn get() -> io::Result<BorrowedFd<'static>> {
    match FD.get() {
        Some(fd) => Ok(fd.as_fd()),
        None => {
            let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            Ok(FD.get_or_init(|| fd).as_fd())
        }
    }
}

/// Wakes the thread that sleeps in epoll, or the next that would.
pub(crate) fn wake() {
    if let Some(fd) = FD.get() {
        // It fails only if nobody has polled for 2^64 wakes.
        let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
    }
}
