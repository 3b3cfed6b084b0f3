//! Connections.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{self as std_net, SocketAddr};
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::sockopt::socket_type;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SocketFlags, SocketType, connect,
    recvmsg, socket_with,
};

use crate::io::adopt;
use crate::io::options::Interest;
use crate::io::watched::{Watched, wait_limits};
use crate::net::stream_ops::{MOST_BUFFERS, is_short, total, try_send, try_send_vectored};
use crate::os::unix::net::addr::raw;
use crate::os::unix::net::conversions;
use crate::os::unix::net::pauses::Pauses;
use crate::task::wait_info::Reason;

/// A Unix stream socket, like [`std::os::unix::net::UnixStream`].
///
/// Reads and writes that cannot go on park the green thread; its worker runs others meanwhile. On
/// an OS thread they block that. Everything else is std's: options, addresses, errors, and what
/// clones share.
///
/// Several threads may use a connection at once, by reference or by clones. Each wait ends when the
/// connection is [shut down](Self::shutdown), and when a [deadline](Self::set_deadline) passes,
/// even one that is set while the thread waits.
///
/// A read or write that need not wait is no suspension point, except that one in many lets other
/// threads run.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use gthread::os::unix::net::UnixStream;
///
/// let (mut ours, mut theirs) = UnixStream::pair()?;
/// let echo = gthread::go!(move || {
///     let mut request = [0; 4];
///     theirs.read_exact(&mut request)?;
///     theirs.write_all(&request)
/// });
/// ours.write_all(b"ping")?;
/// let mut answer = [0; 4];
/// ours.read_exact(&mut answer)?;
/// assert_eq!(&answer, b"ping");
/// echo.join().unwrap()?;
/// # std::io::Result::Ok(())
/// ```
pub struct UnixStream {
    io: Watched<std_net::UnixStream>,
    /// The socket keeps the bounds of messages (`SOCK_SEQPACKET`), so that a short read says
    /// nothing about what is left. Such a socket can only come as a descriptor.
    packets: bool,
}

impl UnixStream {
    /// Connects to a path, like [`std::os::unix::net::UnixStream::connect`].
    ///
    /// Waits only if the listener's backlog is full, until it has room. Parks the green thread
    /// then. The kernel does not report when that is, so the thread tries again after pauses that
    /// grow to 10 ms.
    ///
    /// # Errors
    ///
    /// `NotFound` if the path is not there, `ConnectionRefused` if nobody listens at it;
    /// `InvalidInput` if it is too long or has a zero byte; those of the system calls.
    #[track_caller]
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Self::connect_to(&SocketAddr::from_pathname(path)?, Location::caller())
    }

    /// Connects to an address, like [`std::os::unix::net::UnixStream::connect_addr`]. Waits like
    /// [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    #[track_caller]
    pub fn connect_addr(socket_addr: &SocketAddr) -> io::Result<Self> {
        Self::connect_to(socket_addr, Location::caller())
    }

    fn connect_to(addr: &SocketAddr, site: &'static Location<'static>) -> io::Result<Self> {
        let addr = raw(addr)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let mut pauses = Pauses::new();
        loop {
            match connect(&socket, &addr) {
                Ok(()) => break,
                Err(Errno::AGAIN) => pauses.pause(Duration::MAX, site),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        ioctl_fionbio(&socket, false)?;
        Ok(Self::new(socket.into(), false))
    }

    pub(super) fn new(inner: std_net::UnixStream, packets: bool) -> Self {
        Self { io: Watched::new(inner), packets }
    }

    /// Creates two sockets that are connected to each other, like
    /// [`std::os::unix::net::UnixStream::pair`].
    ///
    /// # Errors
    ///
    /// If the process has too many descriptors.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = std_net::UnixStream::pair()?;
        Ok((Self::new(one, false), Self::new(other, false)))
    }

    /// Returns another handle to the same connection, like
    /// [`std::os::unix::net::UnixStream::try_clone`]. Both share all options, time-outs and
    /// deadlines.
    ///
    /// # Errors
    ///
    /// If the process has too many descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clone = self.io.inner().try_clone()?;
        let io = Watched::with_options(clone, Arc::clone(self.io.options()));
        Ok(Self { io, packets: self.packets })
    }

    /// Returns the address of this end.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.inner().local_addr()
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.inner().peer_addr()
    }

    wait_limits!("std::os::unix::net::UnixStream", "a read", "a write", "reads and writes");

    /// Takes the socket's pending error (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.inner().take_error()
    }

    /// Ends reading, writing or both, like [`std::os::unix::net::UnixStream::shutdown`]. Threads
    /// that wait in this direction are woken, those that wait at clones too.
    ///
    /// # Errors
    ///
    /// If the socket is not connected.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.inner().shutdown(how)?;
        retry_after(&self.io, how);
        Ok(())
    }

    /// Returns std's object. The kernel has the time-outs then.
    fn into_std(self) -> std_net::UnixStream {
        adopt::give(self.io)
    }

    fn receive(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        site: &'static Location<'static>,
    ) -> io::Result<usize> {
        let most = bufs.len().min(MOST_BUFFERS);
        let bufs = &mut bufs[..most];
        let asked = total(bufs.iter().map(|buf| buf.len()));
        let drained =
            |read: &Received| !self.packets && !read.ends_at_control && is_short(asked, read.bytes);
        let read =
            self.io.read(Reason::IoRead, site, drained, |inner| Received::try_new(inner, bufs));
        Ok(read?.bytes)
    }
}

/// The result of one system call that reads.
struct Received {
    bytes: usize,
    /// There was a control message, descriptors for example. The kernel reads no further than to
    /// the end of the bytes that came with it.
    ends_at_control: bool,
}

impl Received {
    fn try_new(socket: impl AsFd, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Self> {
        let mut control = RecvAncillaryBuffer::default();
        let read = recvmsg(socket, bufs, &mut control, RecvFlags::DONTWAIT)?;
        let ends_at_control = read.flags.contains(ReturnFlags::CTRUNC);
        Ok(Self { bytes: read.bytes, ends_at_control })
    }
}

/// Lets the threads that wait try again after a shutdown, which the kernel does not always report.
pub(super) fn retry_after<T: AsFd>(socket: &Watched<T>, how: Shutdown) {
    if how != Shutdown::Write {
        socket.options().retry(Interest::Read);
    }
    if how != Shutdown::Read {
        socket.options().retry(Interest::Write);
    }
}

/// Returns `true` if a socket keeps the bounds of messages.
pub(super) fn has_packets(socket: impl AsFd) -> bool {
    !socket_type(socket).is_ok_and(|kind| kind == SocketType::STREAM)
}

impl Read for &UnixStream {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.receive(&mut [IoSliceMut::new(buf)], Location::caller())
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.receive(bufs, Location::caller())
    }
}

impl Write for &UnixStream {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let site = Location::caller();
        let drained = |&done: &usize| is_short(buf.len(), done);
        self.io.write(Reason::IoWrite, site, drained, |inner| try_send(inner, buf))
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let site = Location::caller();
        self.io.write(Reason::IoWrite, site, |_| false, |inner| try_send_vectored(inner, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for UnixStream {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for UnixStream {
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

impl From<std_net::UnixStream> for UnixStream {
    /// Time-outs and whether it blocks are taken over.
    fn from(inner: std_net::UnixStream) -> Self {
        let packets = has_packets(&inner);
        Self { io: adopt::take(inner), packets }
    }
}

conversions!(UnixStream, std_net::UnixStream);
