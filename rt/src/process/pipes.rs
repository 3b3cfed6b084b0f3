//! The pipes to and from a child.
//!
//! The parent's end of a pipe is a descriptor of its own, so the child would not see `O_NONBLOCK` on
//! it. But it may become the standard stream of another child, which would. So it stays blocking.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::process::{self, Stdio};

use crate::io::descriptor::{Descriptor, Place};

/// The writing end of a pipe to a child's stdin, like [`std::process::ChildStdin`]. The child sees
/// the end of its input when this is dropped.
///
/// A write to a full pipe parks the green thread, or blocks the OS thread.
pub struct ChildStdin(Descriptor<process::ChildStdin>);

/// The reading end of a pipe from a child's stdout, like [`std::process::ChildStdout`].
///
/// A read from an empty pipe parks the green thread, or blocks the OS thread.
pub struct ChildStdout(Descriptor<process::ChildStdout>);

/// The reading end of a pipe from a child's stderr, like [`std::process::ChildStderr`].
///
/// A read from an empty pipe parks the green thread, or blocks the OS thread.
pub struct ChildStderr(Descriptor<process::ChildStderr>);

impl Write for &ChildStdin {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(Place::Current, &[IoSlice::new(buf)])
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write(Place::Current, bufs)
    }

    /// Does nothing: there is no buffer.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for ChildStdin {
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

impl Read for ChildStdout {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(Place::Current, &mut [IoSliceMut::new(buf)])
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read(Place::Current, bufs)
    }
}

impl Read for ChildStderr {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(Place::Current, &mut [IoSliceMut::new(buf)])
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read(Place::Current, bufs)
    }
}

/// Implements the conversions of one kind of pipe, which std's type of the same name has.
macro_rules! conversions {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.inner().fmt(f)
            }
        }

        impl From<process::$name> for $name {
            fn from(pipe: process::$name) -> Self {
                Self(Descriptor::new(pipe))
            }
        }

        impl From<$name> for process::$name {
            fn from(pipe: $name) -> Self {
                pipe.0.into_inner()
            }
        }

        impl From<OwnedFd> for $name {
            fn from(fd: OwnedFd) -> Self {
                Self(Descriptor::of_user(process::$name::from(fd)))
            }
        }

        impl From<$name> for OwnedFd {
            fn from(pipe: $name) -> Self {
                process::$name::from(pipe).into()
            }
        }

        impl From<$name> for Stdio {
            fn from(pipe: $name) -> Self {
                process::$name::from(pipe).into()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.0.as_raw_fd()
            }
        }

        impl IntoRawFd for $name {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }
    };
}

conversions!(ChildStdin);
conversions!(ChildStdout);
conversions!(ChildStderr);
