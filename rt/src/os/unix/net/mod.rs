//! Unix domain sockets, like [`std::os::unix::net`].
//!
//! All that is stable there is here. What waits parks the green thread, and its worker runs others
//! meanwhile; on an OS thread it blocks that. Time-outs, `set_nonblocking`, errors and what clones
//! share are std's. Deadlines are added.
//!
//! # Where the kernel reports nothing
//!
//! A green thread waits until the kernel reports that a socket is ready. Linux does not report some
//! changes for which a thread that blocks in a system call is woken:
//!
//! - The backlog of a listener has room again. [`UnixStream::connect`] tries again, after pauses
//!   that grow to 10 ms.
//! - A datagram socket which the sender is not connected to has room again.
//!   [`UnixDatagram::send_to`] does the same.
//! - The peer shuts down reading while the sender's buffer is full. A write that waits ends when
//!   the peer closes its socket, or takes what is there.

mod addr;
mod datagram;
mod listener;
mod pauses;
mod stream;

pub use std::os::unix::net::SocketAddr;

pub use datagram::UnixDatagram;
pub use listener::{Incoming, UnixListener};
pub use stream::UnixStream;

/// The conversions from and to std's type and descriptors. The type has `into_std`.
macro_rules! conversions {
    ($name:ident, $std:ty) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.io.inner().fmt(f)
            }
        }

        impl From<$name> for $std {
            fn from(socket: $name) -> Self {
                socket.into_std()
            }
        }

        impl From<std::os::fd::OwnedFd> for $name {
            fn from(fd: std::os::fd::OwnedFd) -> Self {
                <$std>::from(fd).into()
            }
        }

        impl From<$name> for std::os::fd::OwnedFd {
            fn from(socket: $name) -> Self {
                socket.into_std().into()
            }
        }

        impl std::os::fd::AsFd for $name {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.io.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $name {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.io.as_raw_fd()
            }
        }

        impl std::os::fd::IntoRawFd for $name {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                self.into_std().into_raw_fd()
            }
        }

        impl std::os::fd::FromRawFd for $name {
            unsafe fn from_raw_fd(fd: std::os::fd::RawFd) -> Self {
                // SAFETY: the caller guarantees that the descriptor is open and its own.
                unsafe { <$std>::from_raw_fd(fd) }.into()
            }
        }
    };
}
use conversions;
