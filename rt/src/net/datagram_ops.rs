//! Receiving datagrams, until the socket is shut down.
//!
//! A call that blocks ends with zero bytes once the socket is shut down for reading. One that does
//! not block fails as if nothing had come yet. So a thread that found nothing asks the kernel,
//! unless it is about to wait for the first time: then an event comes if the socket is shut down.
//! The answer is kept, since there is no further event.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::panic::Location;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::io::watched::Watched;
use crate::task::wait_info::Reason;

/// Runs a system call that receives and does not block, and waits as long as there is nothing.
/// Returns `end` if the socket is shut down, and was not made non-blocking by its user.
pub(crate) fn receive<T: AsFd, R>(
    socket: &Watched<T>,
    site: &'static Location<'static>,
    end: impl Fn() -> R,
    mut op: impl FnMut(&T) -> io::Result<R>,
) -> io::Result<R> {
    let options = socket.options();
    let mut has_waited = false;
    socket.read(
        Reason::IoRead,
        site,
        |_| false,
        |inner| {
            let error = match op(inner) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => error,
                result => return result,
            };
            if options.is_nonblocking() {
                return Err(error);
            }
            if has_waited && is_shut_down(inner)? {
                options.set_shut_down();
            }
            has_waited = true;
            if options.is_shut_down() { Ok(end()) } else { Err(error) }
        },
    )
}

fn is_shut_down(socket: impl AsFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(&socket, PollFlags::RDHUP)];
    poll(&mut polled, Some(&Timespec::default()))?;
    Ok(polled[0].revents().contains(PollFlags::RDHUP))
}
