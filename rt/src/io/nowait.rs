//! Reads and writes that do not block, of descriptors that do: pipes, and others that are no
//! sockets.
//!
//! `O_NONBLOCK` would be seen by all that share the description, such as a child process. So the
//! calls ask for it themselves (`RWF_NOWAIT`). Pipes know that from Linux 6.5 on, terminals do not.
//! Otherwise the call is made if `poll` says that it does not block, and for no more bytes than fit
//! then. It blocks after all if another thread or process comes between.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2, readv, write};

use crate::io::options::Interest;

/// The position of `preadv2` that stands for the descriptor's own.
const HERE: u64 = u64::MAX;

/// A pipe that is ready for writing takes so many bytes (`PIPE_BUF`).
const FITS: usize = 4096;

/// Whether the kernel knows how not to block, for one descriptor.
#[derive(Debug, Default)]
pub(crate) struct Nowait {
    is_unknown: AtomicBool,
}

impl Nowait {
    pub(crate) fn read(&self, fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(fd, &mut [IoSliceMut::new(buf)])
    }

    pub(crate) fn read_vectored(
        &self,
        fd: BorrowedFd<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        if let Some(read) = self.attempt(|| preadv2(fd, bufs, HERE, ReadWriteFlags::NOWAIT)) {
            return read;
        }
        // A read of nothing waits for nothing.
        if bufs.iter().any(|buf| !buf.is_empty()) {
            expect_ready(fd, Interest::Read)?;
        }
        Ok(readv(fd, bufs)?)
    }

    pub(crate) fn write(&self, fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(fd, &[IoSlice::new(buf)])
    }

    pub(crate) fn write_vectored(
        &self,
        fd: BorrowedFd<'_>,
        bufs: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if let Some(written) = self.attempt(|| pwritev2(fd, bufs, HERE, ReadWriteFlags::NOWAIT)) {
            return written;
        }
        let first = bufs.iter().find(|buf| !buf.is_empty());
        let first = first.map_or(&[][..], |buf| &buf[..]);
        if !first.is_empty() {
            expect_ready(fd, Interest::Write)?;
        }
        Ok(write(fd, &first[..first.len().min(FITS)])?)
    }

    /// Makes a call that asks the kernel not to block. Returns nothing if the kernel does not know
    /// how.
    fn attempt(
        &self,
        call: impl FnOnce() -> rustix::io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        if self.is_unknown.load(Ordering::Relaxed) {
            return None;
        }
        match call() {
            // The last is a seccomp filter's answer to what it does not know.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                self.is_unknown.store(true, Ordering::Relaxed);
                None
            }
            result => Some(result.map_err(io::Error::from)),
        }
    }
}

/// Asks the kernel whether an operation would not wait; fails with `WouldBlock` if it would.
pub(crate) fn expect_ready(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
    let now = Timespec::default();
    if poll_one(fd, interest, Some(&now))? { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
}

/// Waits in `poll`, for ever or until the time is over. Returns `true` if the descriptor is ready.
pub(crate) fn poll_one(
    fd: BorrowedFd<'_>,
    interest: Interest,
    timeout: Option<&Timespec>,
) -> io::Result<bool> {
    let flags = match interest {
        Interest::Read => PollFlags::IN,
        Interest::Write => PollFlags::OUT,
    };
    Ok(poll(&mut [PollFd::new(&fd, flags)], timeout)? > 0)
}
