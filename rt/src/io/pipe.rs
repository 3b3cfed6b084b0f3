//! Pipes within the process, or to a child.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::panic::Location;
use std::process::Stdio;

use crate::io::nowait::Nowait;
use crate::io::watched::Watched;
use crate::task::wait_info::Reason;

/// Creates a pipe, like [`std::io::pipe`]: what is written into one end is read from the other.
///
/// # Errors
///
/// If the process has too many descriptors, or the user too many pipes.
///
/// # Examples
///
/// ```
/// use gthread::io::{self, Read, Write};
///
/// gthread::run(|| {
///     let (mut reader, mut writer) = io::pipe()?;
///     gthread::go!(move || writer.write_all(b"through the pipe"));
///     let mut text = String::new();
///     reader.read_to_string(&mut text)?;
///     assert_eq!(text, "through the pipe");
///     io::Result::Ok(())
/// })?;
/// # io::Result::Ok(())
/// ```
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader.into(), writer.into()))
}

/// The reading end of a [`pipe`], like [`std::io::PipeReader`].
///
/// A read of an empty pipe parks the green thread, or blocks the OS thread, until there is something in
/// it. It reads nothing once all writing ends are closed.
pub struct PipeReader {
    io: Watched<io::PipeReader>,
    nowait: Nowait,
}

/// The writing end of a [`pipe`], like [`std::io::PipeWriter`].
///
/// A write into a full pipe parks the green thread, or blocks the OS thread, until there is room. It
/// fails with `BrokenPipe` once all reading ends are closed. (The process gets a `SIGPIPE` then, which
/// Rust programs ignore by default.)
pub struct PipeWriter {
    io: Watched<io::PipeWriter>,
    nowait: Nowait,
}

impl PipeReader {
    /// Returns another handle to the same end, like [`std::io::PipeReader::try_clone`]. Each byte goes
    /// to one reader.
    ///
    /// # Errors
    ///
    /// If the process has too many descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.io.inner().try_clone().map(Self::from)
    }
}

impl PipeWriter {
    /// Returns another handle to the same end, like [`std::io::PipeWriter::try_clone`].
    ///
    /// # Errors
    ///
    /// If the process has too many descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.io.inner().try_clone().map(Self::from)
    }
}

// A call that moves fewer bytes than it was asked for does not mean that the next would block: a pipe
// may keep messages apart (`O_DIRECT`), and an end may be made of any descriptor.

impl Read for &PipeReader {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = |pipe: &io::PipeReader| self.nowait.read(pipe.as_fd(), buf);
        self.io.read(Reason::IoRead, Location::caller(), |_| false, read)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = |pipe: &io::PipeReader| self.nowait.read_vectored(pipe.as_fd(), bufs);
        self.io.read(Reason::IoRead, Location::caller(), |_| false, read)
    }
}

impl Write for &PipeWriter {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let write = |pipe: &io::PipeWriter| self.nowait.write(pipe.as_fd(), buf);
        self.io.write(Reason::IoWrite, Location::caller(), |_| false, write)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let write = |pipe: &io::PipeWriter| self.nowait.write_vectored(pipe.as_fd(), bufs);
        self.io.write(Reason::IoWrite, Location::caller(), |_| false, write)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for PipeReader {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for PipeWriter {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What both ends have in common: conversions, and what is std's.
macro_rules! ends {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.io.inner().fmt(f)
            }
        }

        impl From<io::$name> for $name {
            fn from(end: io::$name) -> Self {
                Self { io: Watched::new(end), nowait: Nowait::default() }
            }
        }

        impl From<$name> for io::$name {
            fn from(end: $name) -> Self {
                end.io.into_inner()
            }
        }

        impl From<$name> for Stdio {
            fn from(end: $name) -> Self {
                end.io.into_inner().into()
            }
        }

        impl From<$name> for OwnedFd {
            fn from(end: $name) -> Self {
                end.io.into_inner().into()
            }
        }

        impl From<OwnedFd> for $name {
            fn from(fd: OwnedFd) -> Self {
                io::$name::from(fd).into()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.io.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.io.as_raw_fd()
            }
        }

        impl IntoRawFd for $name {
            fn into_raw_fd(self) -> RawFd {
                self.io.into_inner().into_raw_fd()
            }
        }

        impl FromRawFd for $name {
            unsafe fn from_raw_fd(fd: RawFd) -> Self {
                // SAFETY: the caller guarantees that the descriptor is open and its own.
                unsafe { io::$name::from_raw_fd(fd) }.into()
            }
        }
    )*};
}

ends!(PipeReader, PipeWriter);
