//! Datagrams.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::unix::net::{self as std_net, SocketAddr};
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrUnix, recvfrom, sendto};

use crate::io::adopt;
use crate::io::options::Interest;
use crate::io::watched::{Watched, wait_limits};
use crate::net::datagram_ops::receive;
use crate::net::stream_ops::{try_recv, try_send};
use crate::os::unix::net::addr::{of_sender, raw};
use crate::os::unix::net::conversions;
use crate::os::unix::net::pauses::Pauses;
use crate::os::unix::net::stream::retry_after;
use crate::task::wait_info::Reason;
use crate::wait::park::spend;

/// A Unix datagram socket, like [`std::os::unix::net::UnixDatagram`].
///
/// A receive that finds no datagram and a send that finds no room park the green thread; its worker
/// runs others meanwhile. On an OS thread they block that. Everything else is std's: options,
/// addresses, errors, and what clones share.
///
/// Several threads may use a socket at once, by reference or by clones. Each wait ends when the
/// socket is [shut down](Self::shutdown), and when a [deadline](Self::set_deadline) passes, even
/// one that is set while the thread waits.
///
/// # Examples
///
/// ```
/// use gthread::os::linux::net::SocketAddrExt;
/// use gthread::os::unix::net::{SocketAddr, UnixDatagram};
///
/// let name = format!("gthread example of datagrams {}", std::process::id());
/// let addr = SocketAddr::from_abstract_name(name)?;
/// let server = UnixDatagram::bind_addr(&addr)?;
/// let receives = gthread::go!(move || {
///     let mut buf = [0; 16];
///     let (len, from) = server.recv_from(&mut buf)?;
///     assert!(from.is_unnamed());
///     std::io::Result::Ok(buf[..len].to_vec())
/// });
/// UnixDatagram::unbound()?.send_to_addr(b"hello", &addr)?;
/// assert_eq!(receives.join().unwrap()?, b"hello");
/// # std::io::Result::Ok(())
/// ```
pub struct UnixDatagram {
    io: Watched<std_net::UnixDatagram>,
}

impl UnixDatagram {
    /// Creates a socket at a path, like [`std::os::unix::net::UnixDatagram::bind`].
    ///
    /// # Errors
    ///
    /// `AddrInUse` if the path is there; `InvalidInput` if it is too long or has a zero byte; those
    /// of the system calls.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Ok(Self::new(std_net::UnixDatagram::bind(path)?))
    }

    /// Creates a socket at an address, like [`std::os::unix::net::UnixDatagram::bind_addr`].
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<Self> {
        Ok(Self::new(std_net::UnixDatagram::bind_addr(socket_addr)?))
    }

    /// Creates a socket without an address, like [`std::os::unix::net::UnixDatagram::unbound`].
    ///
    /// # Errors
    ///
    /// If the process has too many descriptors.
    pub fn unbound() -> io::Result<Self> {
        Ok(Self::new(std_net::UnixDatagram::unbound()?))
    }

    /// Creates two sockets that are connected to each other, like
    /// [`std::os::unix::net::UnixDatagram::pair`].
    ///
    /// # Errors
    ///
    /// If the process has too many descriptors.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = std_net::UnixDatagram::pair()?;
        Ok((Self::new(one), Self::new(other)))
    }

    fn new(inner: std_net::UnixDatagram) -> Self {
        Self { io: Watched::new(inner) }
    }

    /// Sets the address that [`send`](Self::send) sends to and [`recv`](Self::recv) receives from, like
    /// [`std::os::unix::net::UnixDatagram::connect`]. Does not wait.
    ///
    /// # Errors
    ///
    /// `NotFound` if the path is not there; `InvalidInput` if it is too long or has a zero byte;
    /// those of the system call.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// Like [`connect`](Self::connect), to an address, like
    /// [`std::os::unix::net::UnixDatagram::connect_addr`].
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    pub fn connect_addr(&self, socket_addr: &SocketAddr) -> io::Result<()> {
        self.io.inner().connect_addr(socket_addr)?;
        // The new peer may have room.
        self.io.options().retry(Interest::Write);
        Ok(())
    }

    /// Returns another handle to the same socket, like
    /// [`std::os::unix::net::UnixDatagram::try_clone`]. Both share all options, time-outs and
    /// deadlines.
    ///
    /// # Errors
    ///
    /// If the process has too many descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clone = self.io.inner().try_clone()?;
        Ok(Self { io: Watched::with_options(clone, Arc::clone(self.io.options())) })
    }

    /// Returns the address of this socket.
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
    /// `NotConnected` if there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.inner().peer_addr()
    }

    /// Receives a datagram, and the address of its sender, like
    /// [`std::os::unix::net::UnixDatagram::recv_from`]. Parks the green thread until there is one.
    /// What does not fit is lost.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the socket is non-blocking and there is no datagram, or the time-out is
    /// over; `TimedOut` after the deadline; those of the system call.
    #[track_caller]
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let site = Location::caller();
        let (len, addr) = receive(
            &self.io,
            site,
            || (0, None),
            |inner| {
                let (len, _, addr) = recvfrom(inner, &mut *buf, RecvFlags::DONTWAIT)?;
                Ok((len, addr))
            },
        )?;
        Ok((len, of_sender(addr.as_ref())?))
    }

    /// Receives a datagram, like [`std::os::unix::net::UnixDatagram::recv`]. Parks the green thread
    /// until there is one. What does not fit is lost.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    #[track_caller]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let site = Location::caller();
        receive(&self.io, site, || 0, |inner| try_recv(inner, buf))
    }

    /// Sends a datagram to a path, like [`std::os::unix::net::UnixDatagram::send_to`].
    ///
    /// Parks the green thread until there is room. The kernel does not report when that is, so the
    /// thread tries again after pauses that grow to 10 ms. [`send`](Self::send) does better.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send); `NotFound` if the path is not there; `InvalidInput` if it is
    /// too long or has a zero byte.
    #[track_caller]
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_raw(buf, &raw(&SocketAddr::from_pathname(path)?)?, Location::caller())
    }

    /// Sends a datagram to an address, like [`std::os::unix::net::UnixDatagram::send_to_addr`].
    /// Waits like [`send_to`](Self::send_to).
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to).
    #[track_caller]
    pub fn send_to_addr(&self, buf: &[u8], socket_addr: &SocketAddr) -> io::Result<usize> {
        self.send_to_raw(buf, &raw(socket_addr)?, Location::caller())
    }

    fn send_to_raw(
        &self,
        buf: &[u8],
        addr: &SocketAddrUnix,
        site: &'static Location<'static>,
    ) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut pauses = Pauses::new();
        let mut start = None;
        loop {
            match sendto(self.io.inner(), buf, flags, addr) {
                Ok(len) => {
                    spend(site);
                    return Ok(len);
                }
                Err(Errno::AGAIN) => {
                    let start = *start.get_or_insert_with(Instant::now);
                    pauses.pause(self.time_left_to_write(start)?, site);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns how long a write that began at `start` may still wait.
    fn time_left_to_write(&self, start: Instant) -> io::Result<Duration> {
        if self.io.options().is_nonblocking() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let now = Instant::now();
        let timeout = self.io.timeout(Interest::Write).and_then(|time| start.checked_add(time));
        let deadline = self.io.options().deadline(Interest::Write);
        let ends = [(timeout, ErrorKind::WouldBlock), (deadline, ErrorKind::TimedOut)];
        let mut left = Duration::MAX;
        for (end, over) in ends {
            let Some(end) = end else { continue };
            left = left.min(end.saturating_duration_since(now));
            if left.is_zero() {
                return Err(over.into());
            }
        }
        Ok(left)
    }

    /// Sends a datagram to the peer, like [`std::os::unix::net::UnixDatagram::send`]. Parks the
    /// green thread until there is room.
    ///
    /// # Errors
    ///
    /// `NotConnected` if there is no peer, `ConnectionRefused` if its socket is gone; `WouldBlock`
    /// if the socket is non-blocking and there is no room, or the time-out is over; `TimedOut`
    /// after the deadline; those of the system call.
    #[track_caller]
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        let site = Location::caller();
        self.io.write(Reason::IoWrite, site, |_| false, |inner| try_send(inner, buf))
    }

    wait_limits!("std::os::unix::net::UnixDatagram", "a receive", "a send", "receives and sends");

    /// Takes the socket's pending error (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.inner().take_error()
    }

    /// Ends receiving, sending or both, like [`std::os::unix::net::UnixDatagram::shutdown`].
    /// Threads that wait in this direction are woken, those that wait at clones too.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.inner().shutdown(how)?;
        if how != Shutdown::Write {
            self.io.options().set_shut_down();
        }
        retry_after(&self.io, how);
        Ok(())
    }

    /// Returns std's object. The kernel has the time-outs then.
    fn into_std(self) -> std_net::UnixDatagram {
        adopt::give(self.io)
    }
}

impl From<std_net::UnixDatagram> for UnixDatagram {
    /// Time-outs and whether it blocks are taken over.
    fn from(inner: std_net::UnixDatagram) -> Self {
        Self { io: adopt::take(inner) }
    }
}

conversions!(UnixDatagram, std_net::UnixDatagram);
