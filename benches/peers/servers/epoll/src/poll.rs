//! The system calls that std does not have, by libc.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;

/// Events that are taken at a time.
const BATCH: usize = 256;
const NONE: libc::epoll_event = libc::epoll_event { events: 0, u64: 0 };

/// An epoll instance, level-triggered: each descriptor is registered once, and leaves when it is closed.
pub(crate) struct Poll(OwnedFd);

/// Room for what a wait returns.
pub(crate) struct Events([libc::epoll_event; BATCH]);

impl Events {
    pub(crate) fn new() -> Self {
        Self([NONE; BATCH])
    }
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no memory is concerned.
        let epoll = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is new, so it is ours alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(epoll) }))
    }

    /// Registers a descriptor for reading.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut event =
            libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd.as_raw_fd() as u64 };
        let (epoll, fd) = (self.0.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: `event` is one that the call reads; both descriptors are open.
        checked(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) })?;
        Ok(())
    }

    /// Waits for events, and returns the descriptors from which something can be read.
    pub(crate) fn wait<'a>(
        &self,
        Events(events): &'a mut Events,
    ) -> io::Result<impl Iterator<Item = RawFd> + use<'a>> {
        let (epoll, room) = (self.0.as_raw_fd(), BATCH as libc::c_int);
        // SAFETY: `events` has room for `BATCH` events.
        let count = checked(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), room, -1) });
        let count = match count {
            Ok(count) => count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        Ok(events[..count].iter().map(|event| event.u64 as RawFd))
    }
}

/// Accepts a connection that does not block.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the address is not asked for, so both pointers may be null.
    let fd = checked(unsafe {
        libc::accept4(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), flags)
    })?;
    // SAFETY: the descriptor is new, so it is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until a descriptor can be written to.
pub(crate) fn writable(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: it is one descriptor to be polled.
    checked(unsafe { libc::poll(&mut poll, 1, -1) })?;
    Ok(())
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
