//! UDP.

use std::any::type_name;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{self as std_net, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, recvfrom, sendto};

use crate::io::adopt;
use crate::io::options::Interest;
use crate::io::watched::{Watched, wait_limits};
use crate::net::ToSocketAddrs;
use crate::net::datagram_ops::receive;
use crate::net::dns::resolve;
use crate::net::stream_ops::{try_peek, try_recv, try_send};
use crate::task::wait_info::Reason;

/// A UDP socket, like [`std::net::UdpSocket`].
///
/// A receive that finds no datagram parks the green thread, and so does a send that finds no room
/// in the socket's buffer; the worker runs other threads meanwhile. On an OS thread they block
/// that. Everything else is std's: options, addresses, errors, and what clones share.
///
/// Several threads may use a socket at once, by reference or by clones. A wait also ends when a
/// [deadline](Self::set_deadline) passes, even one that is set while the thread waits.
///
/// # Examples
///
/// ```
/// use gthread::net::UdpSocket;
///
/// let server = UdpSocket::bind("127.0.0.1:0")?;
/// let addr = server.local_addr()?;
/// let echo = gthread::go!(move || {
///     let mut buf = [0; 1500];
///     let (len, from) = server.recv_from(&mut buf)?;
///     server.send_to(&buf[..len], from)
/// });
/// let client = UdpSocket::bind("127.0.0.1:0")?;
/// client.connect(addr)?;
/// client.send(b"ping")?;
/// let mut answer = [0; 16];
/// assert_eq!(client.recv(&mut answer)?, 4);
/// assert_eq!(echo.join().unwrap()?, 4);
/// # std::io::Result::Ok(())
/// ```
pub struct UdpSocket {
    io: Watched<std_net::UdpSocket>,
}

impl UdpSocket {
    /// Creates a socket at the first of the addresses that can be bound, like
    /// [`std::net::UdpSocket::bind`]. A name is looked up off the worker.
    ///
    /// # Errors
    ///
    /// The error of the last address; `InvalidInput` if there is none; those of the look-up.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        let mut last = None;
        for addr in resolve(addr)? {
            match std_net::UdpSocket::bind(addr) {
                Ok(inner) => return Ok(Self { io: Watched::new(inner) }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    /// Sets where [`send`](Self::send) sends to, and from where [`recv`](Self::recv) receives, like
    /// [`std::net::UdpSocket::connect`]: the first of the addresses that can be set. Does not wait,
    /// except for the look-up of a name.
    ///
    /// # Errors
    ///
    /// The error of the last address; `InvalidInput` if there is none; those of the look-up.
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        let mut last = None;
        for addr in resolve(addr)? {
            match self.io.inner().connect(addr) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    /// Receives a datagram, and the address of its sender, like [`std::net::UdpSocket::recv_from`].
    /// Parks the green thread until there is one. What does not fit is lost.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the socket is non-blocking and there is no datagram, or the time-out is
    /// over; `TimedOut` after the deadline; those of the system call.
    #[track_caller]
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_from(buf, RecvFlags::empty(), Location::caller())
    }

    /// Receives a datagram without taking it out, like [`std::net::UdpSocket::peek_from`]. Parks
    /// the green thread until there is one.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    #[track_caller]
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive_from(buf, RecvFlags::PEEK, Location::caller())
    }

    fn receive_from(
        &self,
        buf: &mut [u8],
        flags: RecvFlags,
        site: &'static Location<'static>,
    ) -> io::Result<(usize, SocketAddr)> {
        let (len, addr) = receive(
            &self.io,
            site,
            || (0, None),
            |inner| {
                let (len, _, addr) = recvfrom(inner, &mut *buf, flags | RecvFlags::DONTWAIT)?;
                Ok((len, addr))
            },
        )?;
        Ok((len, of_sender(addr)?))
    }

    /// Sends a datagram to the first of the addresses, like [`std::net::UdpSocket::send_to`]. Parks
    /// the green thread until the socket's buffer has room. A name is looked up off the worker.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is no address; those of the look-up; `WouldBlock` if the socket is
    /// non-blocking and there is no room, or the time-out is over; `TimedOut` after the deadline;
    /// those of the system call.
    #[track_caller]
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let site = Location::caller();
        let Some(addr) = first(addr)? else {
            return Err(io::Error::new(ErrorKind::InvalidInput, "no addresses to send data to"));
        };
        let addr = raw(addr);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        self.io.write(
            Reason::IoWrite,
            site,
            |_| false,
            |inner| Ok(sendto(inner, buf, flags, &addr)?),
        )
    }

    /// Sends a datagram to the address that the socket is connected to, like
    /// [`std::net::UdpSocket::send`]. Parks the green thread until the socket's buffer has room.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to). Also `ConnectionRefused` if an earlier datagram found
    /// nobody there.
    #[track_caller]
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        let site = Location::caller();
        self.io.write(Reason::IoWrite, site, |_| false, |inner| try_send(inner, buf))
    }

    /// Receives a datagram from the address that the socket is connected to, like
    /// [`std::net::UdpSocket::recv`]. Parks the green thread until there is one. What does not fit
    /// is lost.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from). Also `ConnectionRefused` if an earlier datagram
    /// found nobody there.
    #[track_caller]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let site = Location::caller();
        receive(&self.io, site, || 0, |inner| try_recv(inner, buf))
    }

    /// Receives like [`recv`](Self::recv), without taking the datagram out, like
    /// [`std::net::UdpSocket::peek`].
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let site = Location::caller();
        receive(&self.io, site, || 0, |inner| try_peek(inner, buf))
    }

    /// Returns the address that the socket is connected to.
    ///
    /// # Errors
    ///
    /// `NotConnected` if there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.inner().peer_addr()
    }

    /// Returns the address of this socket.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.inner().local_addr()
    }

    /// Returns another handle to the same socket, like [`std::net::UdpSocket::try_clone`]. Both
    /// share all options, time-outs and deadlines.
    ///
    /// # Errors
    ///
    /// If the process has too many descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clone = self.io.inner().try_clone()?;
        Ok(Self { io: Watched::with_options(clone, Arc::clone(self.io.options())) })
    }

    wait_limits!("std::net::UdpSocket", "a receive", "a send", "receives and sends");

    /// Sets whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.io.inner().set_broadcast(broadcast)
    }

    /// Returns the value of `SO_BROADCAST`.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.io.inner().broadcast()
    }

    /// Sets whether multicasts come back to this host (`IP_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn set_multicast_loop_v4(&self, multicast_loop_v4: bool) -> io::Result<()> {
        self.io.inner().set_multicast_loop_v4(multicast_loop_v4)
    }

    /// Returns the value of `IP_MULTICAST_LOOP`.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.io.inner().multicast_loop_v4()
    }

    /// Sets the time to live of multicasts (`IP_MULTICAST_TTL`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn set_multicast_ttl_v4(&self, multicast_ttl_v4: u32) -> io::Result<()> {
        self.io.inner().set_multicast_ttl_v4(multicast_ttl_v4)
    }

    /// Returns the value of `IP_MULTICAST_TTL`.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.io.inner().multicast_ttl_v4()
    }

    /// Sets whether multicasts come back to this host (`IPV6_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn set_multicast_loop_v6(&self, multicast_loop_v6: bool) -> io::Result<()> {
        self.io.inner().set_multicast_loop_v6(multicast_loop_v6)
    }

    /// Returns the value of `IPV6_MULTICAST_LOOP`.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.io.inner().multicast_loop_v6()
    }

    /// Sets the time to live (`IP_TTL`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.inner().set_ttl(ttl)
    }

    /// Returns the time to live.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.inner().ttl()
    }

    /// Joins a multicast group, at the interface with this address (`IP_ADD_MEMBERSHIP`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.io.inner().join_multicast_v4(multiaddr, interface)
    }

    /// Joins a multicast group, at the interface with this index (`IPV6_ADD_MEMBERSHIP`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.inner().join_multicast_v6(multiaddr, interface)
    }

    /// Leaves a multicast group (`IP_DROP_MEMBERSHIP`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.io.inner().leave_multicast_v4(multiaddr, interface)
    }

    /// Leaves a multicast group (`IPV6_DROP_MEMBERSHIP`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.inner().leave_multicast_v6(multiaddr, interface)
    }

    /// Takes the socket's pending error (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.inner().take_error()
    }

    /// Returns std's object. The kernel has the time-outs then.
    fn into_std(self) -> std_net::UdpSocket {
        adopt::give(self.io)
    }
}

/// Returns the first of the addresses.
fn first<A: ToSocketAddrs>(addr: A) -> io::Result<Option<SocketAddr>> {
    // What yields one address at most is not looked up, and is worth no call of `blocking`. Were
    // another type to have this name, it would only be looked up on the worker.
    if type_name::<A::Iter>() == type_name::<std::option::IntoIter<SocketAddr>>() {
        return Ok(addr.to_socket_addrs()?.next());
    }
    Ok(resolve(addr)?.next())
}

/// Returns the address for the system call. rustix swaps the bytes of the flow label, std does not.
fn raw(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(addr) if addr.flowinfo() != 0 => {
            let flow = u32::from_be(addr.flowinfo());
            SocketAddrV6::new(*addr.ip(), addr.port(), flow, addr.scope_id()).into()
        }
        addr => addr,
    }
}

/// Returns the address of a sender.
fn of_sender(addr: Option<SocketAddrAny>) -> io::Result<SocketAddr> {
    let addr = addr.and_then(|addr| SocketAddr::try_from(addr).ok());
    addr.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the sender has no IP address"))
}

#[cold]
fn no_address() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "could not resolve to any addresses")
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.inner().fmt(f)
    }
}

impl From<std_net::UdpSocket> for UdpSocket {
    /// Time-outs and whether it blocks are taken over.
    fn from(inner: std_net::UdpSocket) -> Self {
        Self { io: adopt::take(inner) }
    }
}

impl From<UdpSocket> for std_net::UdpSocket {
    fn from(socket: UdpSocket) -> Self {
        socket.into_std()
    }
}

impl From<OwnedFd> for UdpSocket {
    fn from(fd: OwnedFd) -> Self {
        std_net::UdpSocket::from(fd).into()
    }
}

impl From<UdpSocket> for OwnedFd {
    fn from(socket: UdpSocket) -> Self {
        socket.into_std().into()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_raw_fd()
    }
}

impl IntoRawFd for UdpSocket {
    fn into_raw_fd(self) -> RawFd {
        self.into_std().into_raw_fd()
    }
}

impl FromRawFd for UdpSocket {
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: the caller guarantees that the descriptor is open and its own.
        unsafe { std_net::UdpSocket::from_raw_fd(fd) }.into()
    }
}
