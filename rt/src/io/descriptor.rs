//! A descriptor of any kind: a file, a pipe, a terminal, a socket.
//!
//! The descriptor is *blocking*, because it may be shared with other processes, which would see
//! `O_NONBLOCK`. So each operation of a green thread goes one of these ways:
//!
//! - *Without waiting*: `preadv2` or `pwritev2` with `RWF_NOWAIT`. If the call would wait, the thread
//!   waits in the poller and tries again. For pipes and sockets, where the kernel can do it (for
//!   pipes: Linux 6.4).
//! - *When ready*: the thread waits in the poller, and then makes a plain call in [`blocking`], which
//!   waits only if another process was faster. For terminals, and on older kernels.
//! - *Off the worker*: a plain call, for files. The poller cannot watch them.
//!
//! A file is read without waiting first: data in the page cache is copied at once, on the worker. A
//! file is not written like that, because most file systems refuse if the file's times change.
//!
//! On OS threads, a plain call blocks the thread.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::{Errno, ReadWriteFlags};

use crate::io::off_worker::off_worker;
use crate::io::options::{Interest, Options};
use crate::io::source::{How, Source};
use crate::task::wait_info::Reason;
use crate::wait::park::{blocking, is_green, spend};

/// A ready pipe has room for so many bytes.
const PIPE_BUF: usize = 4096;

// The flags in `Descriptor::known`. Each is set once it is found out, and stays.

/// The descriptor was looked at: `FILE` says whether it is a file.
const LOOKED_AT: u8 = 1;
/// The descriptor is one that is always ready for the poller.
const FILE: u8 = 2;
/// The kernel does not read this descriptor without waiting.
const NO_NOWAIT_READ: u8 = 4;
/// The kernel does not write to this descriptor without waiting.
const NO_NOWAIT_WRITE: u8 = 8;
/// If the descriptor has `O_NONBLOCK`, an operation that would wait is an error.
const MAY_BE_NONBLOCKING: u8 = 16;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Descriptor<T: AsFd> {
    /// Taken when `self` ends.
    inner: Option<T>,
    source: Source,
    /// The usual ones: there are no time-outs.
    options: Options,
    known: AtomicU8,
}

/// The place of an operation in a file.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// The descriptor's own position, which the operation advances.
    Current,
    At(u64),
}

impl Place {
    fn for_nowait(self) -> u64 {
        match self {
            Self::Current => u64::MAX,
            Self::At(offset) => offset,
        }
    }
}

impl<T: AsFd> Descriptor<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self::knowing(0, inner)
    }

    /// For a descriptor from the user, who may have set `O_NONBLOCK` and mean it.
    pub(crate) fn of_user(inner: T) -> Self {
        Self::knowing(MAY_BE_NONBLOCKING, inner)
    }

    fn knowing(known: u8, inner: T) -> Self {
        let (source, options) = (Source::new(), Options::default());
        Self { inner: Some(inner), source, options, known: AtomicU8::new(known) }
    }

    #[inline]
    pub(crate) fn inner(&self) -> &T {
        self.inner.as_ref().expect("taken at the end only")
    }

    /// Returns the object, which no longer waits in the poller.
    pub(crate) fn into_inner(mut self) -> T {
        self.end();
        self.inner.take().expect("taken here only")
    }

    fn end(&mut self) {
        if let Some(inner) = &self.inner {
            self.source.end(inner.as_fd(), &self.options);
        }
    }

    fn knows(&self, flag: u8) -> bool {
        self.known.load(Ordering::Relaxed) & flag != 0
    }

    fn note(&self, flag: u8) {
        self.known.fetch_or(flag, Ordering::Relaxed);
    }

    /// Returns `true` if the descriptor is a file's. The first call asks the kernel, which has the
    /// type of an open file in memory.
    pub(crate) fn is_file(&self) -> bool {
        use FileType::{BlockDevice, Directory, RegularFile, Symlink};
        if !self.knows(LOOKED_AT) {
            let kind = fstat(self.as_fd()).map(|stat| FileType::from_raw_mode(stat.st_mode));
            let is_file = matches!(kind, Ok(RegularFile | BlockDevice | Directory | Symlink));
            self.note(if is_file { LOOKED_AT | FILE } else { LOOKED_AT });
        }
        self.knows(FILE)
    }

    /// Returns `true` if the user wants an error where an operation would wait.
    fn is_nonblocking(&self) -> bool {
        self.knows(MAY_BE_NONBLOCKING)
            && fcntl_getfl(self.as_fd()).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK))
    }

    /// Reads, like `preadv`.
    #[track_caller]
    pub(crate) fn read(&self, place: Place, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let fd = self.as_fd();
        let plain = |bufs: &mut [IoSliceMut<'_>]| match place {
            Place::Current => rustix::io::readv(fd, bufs),
            Place::At(offset) => rustix::io::preadv(fd, bufs, offset),
        };
        let nowait = |bufs: &mut [IoSliceMut<'_>]| {
            rustix::io::preadv2(fd, bufs, place.for_nowait(), ReadWriteFlags::NOWAIT)
        };
        let is_empty = bufs.iter().all(|buf| buf.is_empty());
        self.run(
            Interest::Read,
            NO_NOWAIT_READ,
            bufs,
            |bufs| match nowait(bufs) {
                // Linux 5.9 and 5.10 may say that the file ends where the page cache does. So the
                // end of a file is found off the worker.
                Ok(0) if !is_empty && (self.knows(FILE) || !self.knows(LOOKED_AT)) => {
                    Err(Errno::AGAIN)
                }
                result => result,
            },
            plain,
        )
    }

    /// Writes, like `pwritev`.
    #[track_caller]
    pub(crate) fn write(&self, place: Place, mut bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let fd = self.as_fd();
        // On an OS thread, a write to a pipe waits for room for all.
        let all = !is_green();
        self.run(
            Interest::Write,
            NO_NOWAIT_WRITE,
            &mut bufs,
            |bufs| rustix::io::pwritev2(fd, bufs, place.for_nowait(), ReadWriteFlags::NOWAIT),
            |bufs| match place {
                Place::Current if all || self.knows(FILE) => rustix::io::writev(fd, bufs),
                // A pipe that is ready may have no room for more.
                Place::Current => match bufs.iter().find(|buf| !buf.is_empty()) {
                    Some(buf) => rustix::io::write(fd, &buf[..buf.len().min(PIPE_BUF)]),
                    None => rustix::io::writev(fd, bufs),
                },
                Place::At(offset) => rustix::io::pwritev(fd, bufs, offset),
            },
        )
    }

    /// Runs an operation: `nowait`, which fails with `AGAIN` if it would wait, or `plain`. `refused`
    /// is the flag which says that the kernel does not have the first.
    #[track_caller]
    fn run<B: ?Sized>(
        &self,
        interest: Interest,
        refused: u8,
        bufs: &mut B,
        nowait: impl Fn(&mut B) -> rustix::io::Result<usize>,
        plain: impl Fn(&mut B) -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        let site = Location::caller();
        let plain = |bufs: &mut B| rustix::io::retry_on_intr(|| plain(bufs));
        if !is_green() {
            return Ok(blocking(|| plain(bufs))?);
        }
        // A read of a file, or the first read of anything.
        let may_be_cached =
            interest == Interest::Read && (!self.knows(LOOKED_AT) || self.is_file());
        if may_be_cached && !self.knows(refused) {
            match rustix::io::retry_on_intr(|| nowait(bufs)) {
                Ok(count) => {
                    spend(site);
                    return Ok(count);
                }
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.note(refused),
                // Would wait; or an error that the plain call repeats, unless the system allows
                // only that.
                Err(_) => {}
            }
        }
        if self.is_file() {
            return Ok(off_worker(|| plain(bufs))?);
        }
        if self.is_nonblocking() {
            return Ok(plain(bufs)?);
        }
        let reason = match interest {
            Interest::Read => Reason::IoRead,
            Interest::Write => Reason::IoWrite,
        };
        let how = How { interest, reason, options: &self.options, site };
        while !self.knows(refused) {
            let attempt = || nowait(bufs).map_err(io::Error::from);
            let result = self.source.run(self.as_fd(), how, |_| false, attempt);
            match result.as_ref().err().and_then(Errno::from_io_error) {
                // The last one is from the poller, if it does not watch this, or from a filter of
                // system calls.
                Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => self.note(refused),
                _ => return result,
            }
        }
        loop {
            self.source.wait(self.as_fd(), how)?;
            match blocking(|| plain(bufs)) {
                // Another process was faster, and one has set `O_NONBLOCK`.
                Err(Errno::AGAIN) => {}
                result => return Ok(result?),
            }
        }
    }
}

impl<T: AsFd> Drop for Descriptor<T> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<T: AsFd> AsFd for Descriptor<T> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner().as_fd()
    }
}

impl<T: AsFd> AsRawFd for Descriptor<T> {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
