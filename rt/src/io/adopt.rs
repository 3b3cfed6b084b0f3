//! Sockets that come from std's types and from raw descriptors, and go back there.
//!
//! Ours have time-outs and whether they block beside the kernel, which does not ask for either in
//! calls that do not block. Elsewhere the kernel has both.
//!
//! Listening sockets are different. No flag keeps `accept` from blocking, so the descriptor itself
//! does not block as long as it is ours. It has this in common with all clones. So after one of
//! them was given away, and blocks there, the others' descriptors block too: they look first, and
//! call `accept` where a spare takes the worker's place, since another thread may take the
//! connection in between.

use std::io;
use std::os::fd::AsFd;
use std::panic::Location;
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::ioctl_fionbio;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_timeout};

use crate::io::nowait::expect_ready;
use crate::io::options::{Interest, Options};
use crate::io::watched::Watched;
use crate::task::wait_info::Reason;
use crate::wait::park::blocking;

const TIMEOUTS: [(Interest, Timeout); 2] =
    [(Interest::Read, Timeout::Recv), (Interest::Write, Timeout::Send)];

/// Takes a socket over, with its time-outs and whether it blocks.
pub(crate) fn take<T: AsFd>(inner: T) -> Watched<T> {
    let options = Options::default();
    for (interest, kind) in TIMEOUTS {
        // A descriptor that is no socket has none, and every operation will say so.
        let timeout = socket_timeout(&inner, kind).ok().flatten();
        let _ = options.set_timeout(interest, timeout);
    }
    let flags = fcntl_getfl(&inner);
    options.set_nonblocking(flags.is_ok_and(|flags| flags.contains(OFlags::NONBLOCK)));
    Watched::with_options(inner, Arc::new(options))
}

/// Gives a socket away. The kernel has the time-outs then.
pub(crate) fn give<T: AsFd>(socket: Watched<T>) -> T {
    for (interest, kind) in TIMEOUTS {
        // It fails only if every operation does.
        let _ = set_socket_timeout(&socket, kind, socket.timeout(interest));
    }
    socket.into_inner()
}

/// Takes a listening socket over.
pub(crate) fn take_listener<T: AsFd>(inner: T) -> Watched<T> {
    let listener = take(inner);
    if ioctl_fionbio(&listener, true).is_err() {
        listener.options().set_given_away();
    }
    listener
}

/// Gives a listening socket away.
pub(crate) fn give_listener<T: AsFd>(listener: Watched<T>) -> T {
    let options = listener.options();
    if Arc::strong_count(options) > 1 {
        options.set_given_away();
    }
    // It fails only if every operation does.
    let _ = ioctl_fionbio(&listener, options.is_nonblocking());
    give(listener)
}

/// Sets whether `accept` fails instead of waiting.
pub(crate) fn set_listener_nonblocking<T: AsFd>(
    listener: &Watched<T>,
    nonblocking: bool,
) -> io::Result<()> {
    let options = listener.options();
    if options.is_given_away() {
        ioctl_fionbio(listener, nonblocking)?;
    }
    options.set_nonblocking(nonblocking);
    Ok(())
}

/// Waits for a connection. `accept` is std's.
pub(crate) fn accept<T: AsFd, R>(
    listener: &Watched<T>,
    site: &'static Location<'static>,
    accept: impl Fn(&T) -> io::Result<R>,
) -> io::Result<R> {
    let options = listener.options();
    listener.read(
        Reason::Accept,
        site,
        |_| false,
        |inner| {
            if !options.is_given_away() {
                return in_one_go(|| accept(inner));
            }
            expect_ready(inner.as_fd(), Interest::Read)?;
            blocking(|| in_one_go(|| accept(inner)))
        },
    )
}

/// Calls std, which reads `errno`. Not inlined: its address is another after a wait, and the
/// compiler may compute it once.
#[inline(never)]
fn in_one_go<R>(f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    f()
}

/// Returns `true` if an error says that there are too few descriptors, or too little memory.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|error| shortages.contains(&error))
}
