//! TCP.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{self as std_net, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::io::adopt;
use crate::io::options::Interest;
use crate::io::watched::{Watched, wait_limits};
use crate::net::ToSocketAddrs;
use crate::net::stream_ops::{
    MOST_BUFFERS, is_short, total, try_peek, try_recv, try_recv_vectored, try_send,
    try_send_vectored,
};
use crate::task::wait_info::Reason;
use crate::time;

/// How long an accept pauses before it reports that the process or the system is short of something, so
/// that a loop that tries again does not spin.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(10);

/// The most connections in a row, given up before they were taken, that an accept passes over.
const MOST_ABORTED: u32 = 1000;

/// A TCP connection, like [`std::net::TcpStream`].
///
/// Reads and writes that cannot go on park the green thread; its worker runs others meanwhile. On an OS
/// thread they block that. Everything else is std's: options, addresses, errors, and what clones
/// share.
///
/// Several threads may use a connection at once, by reference or by clones. Each wait ends when the
/// connection is [shut down](Self::shutdown), and when a [deadline](Self::set_deadline) passes, even
/// one that is set while the thread waits.
///
/// A read or write that need not wait is no suspension point, except that one in many lets other
/// threads run.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use gthread::net::{TcpListener, TcpStream};
///
/// gthread::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let addr = listener.local_addr()?;
///     let server = gthread::go!(move || {
///         let (mut stream, _) = listener.accept()?;
///         let mut request = [0; 4];
///         stream.read_exact(&mut request)?;
///         stream.write_all(&request)
///     });
///     let mut stream = TcpStream::connect(addr)?;
///     stream.write_all(b"ping")?;
///     let mut answer = [0; 4];
///     stream.read_exact(&mut answer)?;
///     assert_eq!(&answer, b"ping");
///     server.join().unwrap()
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct TcpStream {
    io: Watched<std_net::TcpStream>,
}

/// A listening TCP socket, like [`std::net::TcpListener`].
///
/// [`accept`](Self::accept) parks the green thread until there is a connection.
pub struct TcpListener {
    io: Watched<std_net::TcpListener>,
}

/// The connections of a listener, one after the other: returned by [`TcpListener::incoming`], like
/// [`std::net::Incoming`]. It never ends.
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl TcpStream {
    /// Connects to the first of the addresses that accepts, like [`std::net::TcpStream::connect`].
    ///
    /// Parks the green thread meanwhile. A name is looked up off the worker. [`Dialer`] does more:
    /// several addresses at a time, a time-out, cancellation.
    ///
    /// # Errors
    ///
    /// The error of the last address; `InvalidInput` if there is none; those of the look-up.
    ///
    /// [`Dialer`]: crate::net::Dialer
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        let site = Location::caller();
        let mut last = None;
        for addr in crate::net::dns::resolve(addr)? {
            match connect_one(&addr, None, site) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    /// Connects to one address, and waits for `timeout` at most, like
    /// [`std::net::TcpStream::connect_timeout`].
    ///
    /// # Errors
    ///
    /// `TimedOut` if the time is over; `InvalidInput` if `timeout` is zero; those of
    /// [`connect`](Self::connect).
    #[track_caller]
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<Self> {
        if timeout.is_zero() {
            let text = "cannot set a 0 duration timeout";
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        connect_one(addr, Instant::now().checked_add(timeout), Location::caller())
    }

    fn from_accepted(inner: std_net::TcpStream) -> Self {
        Self { io: Watched::new(inner) }
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// If the socket is not connected.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.inner().peer_addr()
    }

    /// Returns the address of this end.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.inner().local_addr()
    }

    /// Ends reading, writing or both, like [`std::net::TcpStream::shutdown`]. Threads that wait in
    /// this direction are woken.
    ///
    /// # Errors
    ///
    /// If the socket is not connected.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.inner().shutdown(how)
    }

    /// Returns another handle to the same connection, like [`std::net::TcpStream::try_clone`]. Both
    /// share all options, time-outs and deadlines.
    ///
    /// # Errors
    ///
    /// If the process has too many descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clone = self.io.inner().try_clone()?;
        Ok(Self { io: Watched::with_options(clone, Arc::clone(self.io.options())) })
    }

    wait_limits!("std::net::TcpStream", "a read", "a write", "reads and writes");

    /// Reads without taking the bytes out, like [`std::net::TcpStream::peek`]. Parks the green thread
    /// until there is something to read.
    ///
    /// # Errors
    ///
    /// Those of a read.
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        let site = Location::caller();
        self.io.read(Reason::IoRead, site, |_| false, |inner| try_peek(inner, buf))
    }

    /// Sets whether small writes are sent at once (`TCP_NODELAY`), like
    /// [`std::net::TcpStream::set_nodelay`].
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.io.inner().set_nodelay(nodelay)
    }

    /// Returns the value of `TCP_NODELAY`.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.io.inner().nodelay()
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

    /// Takes the socket's pending error (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.inner().take_error()
    }

    /// Returns std's object. The kernel has the time-outs then.
    fn into_std(self) -> std_net::TcpStream {
        adopt::give(self.io)
    }
}

/// Connects to one address, until `deadline` at most.
pub(crate) fn connect_one(
    addr: &SocketAddr,
    deadline: Option<Instant>,
    site: &'static Location<'static>,
) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(*addr), kind, Some(Protocol::TCP))?;
    connect_socket(socket, addr, deadline, site)
}

/// Connects a socket, which does not block and does afterwards.
pub(crate) fn connect_socket(
    socket: Socket,
    addr: &SocketAddr,
    deadline: Option<Instant>,
    site: &'static Location<'static>,
) -> io::Result<TcpStream> {
    let connected = socket.connect(&(*addr).into());
    let stream = TcpStream { io: Watched::new(socket.into()) };
    match connected {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            await_connection(&stream, deadline, site)?;
        }
        Err(error) => return Err(error),
    }
    stream.io.inner().set_nonblocking(false)?;
    Ok(stream)
}

/// Waits until a connection is there that is under way.
pub(crate) fn await_connection(
    stream: &TcpStream,
    deadline: Option<Instant>,
    site: &'static Location<'static>,
) -> io::Result<()> {
    stream.io.options().set_deadline(Interest::Write, deadline);
    let ready = stream.io.wait(Interest::Write, Reason::Connect, site);
    stream.io.options().set_deadline(Interest::Write, None);
    match ready {
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            return Err(io::Error::new(ErrorKind::TimedOut, "connection timed out"));
        }
        other => other?,
    }
    match stream.io.inner().take_error()? {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cold]
fn no_address() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "could not resolve to any addresses")
}

impl TcpListener {
    /// Binds to the first of the addresses that can be bound, and listens, like
    /// [`std::net::TcpListener::bind`]. A name is looked up off the worker.
    ///
    /// # Errors
    ///
    /// The error of the last address; `InvalidInput` if there is none; those of the look-up.
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<Self> {
        let mut last = None;
        for addr in crate::net::dns::resolve(addr)? {
            match std_net::TcpListener::bind(addr) {
                Ok(listener) => return Ok(listener.into()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    /// Returns the address that is listened at.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.inner().local_addr()
    }

    /// Returns another handle to the same socket, like [`std::net::TcpListener::try_clone`]. Both
    /// take connections.
    ///
    /// # Errors
    ///
    /// If the process has too many descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clone = self.io.inner().try_clone()?;
        Ok(Self { io: Watched::with_options(clone, Arc::clone(self.io.options())) })
    }

    /// Waits for the next connection, like [`std::net::TcpListener::accept`]. Parks the green thread.
    ///
    /// A connection that was given up before it was taken is passed over. Before an error that says
    /// that the process, or the system, is short of descriptors or memory, the thread sleeps for 10 ms,
    /// so that a loop which tries again leaves others the processor.
    ///
    /// # Errors
    ///
    /// Those of the system call; `WouldBlock` if the listener is
    /// [non-blocking](Self::set_nonblocking) and there is no connection; `TimedOut` after its
    /// [deadline](Self::set_deadline).
    #[track_caller]
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let site = Location::caller();
        let mut aborted = 0;
        loop {
            match adopt::accept(&self.io, site, std_net::TcpListener::accept) {
                Ok((stream, addr)) => return Ok((TcpStream::from_accepted(stream), addr)),
                Err(error)
                    if error.kind() == ErrorKind::ConnectionAborted && aborted < MOST_ABORTED =>
                {
                    aborted += 1;
                }
                Err(error) => {
                    if adopt::is_shortage(&error) {
                        time::sleep_for(SHORTAGE_PAUSE, site);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Returns the connections, one after the other, like [`std::net::TcpListener::incoming`].
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Sets the moment at which waiting for a connection fails with `TimedOut`, for threads that wait
    /// already too. `None` takes it away. Clones share it.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.io.set_deadline(Interest::Read, deadline);
        Ok(())
    }

    /// Sets the time to live (`IP_TTL`) of the connections.
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

    /// Sets whether only IPv6 is listened to (`IPV6_V6ONLY`); too late once the socket is bound, which
    /// it is, as in std.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    #[deprecated = "the option can only be set before a socket is bound"]
    #[allow(deprecated)]
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        self.io.inner().set_only_v6(only_v6)
    }

    /// Returns whether only IPv6 is listened to.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    #[deprecated = "the option can only be set before a socket is bound"]
    #[allow(deprecated)]
    pub fn only_v6(&self) -> io::Result<bool> {
        self.io.inner().only_v6()
    }

    /// Takes the socket's pending error (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.inner().take_error()
    }

    /// Sets whether [`accept`](Self::accept) fails with `WouldBlock` instead of waiting, like
    /// [`std::net::TcpListener::set_nonblocking`]. Clones share it.
    ///
    /// # Errors
    ///
    /// None; as in std there could be one.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        adopt::set_listener_nonblocking(&self.io, nonblocking)
    }

    /// Returns std's object, which blocks unless the user wanted otherwise.
    fn into_std(self) -> std_net::TcpListener {
        adopt::give_listener(self.io)
    }
}

impl<'a> Iterator for Incoming<'a> {
    type Item = io::Result<TcpStream>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl std::iter::FusedIterator for Incoming<'_> {}

impl Read for &TcpStream {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (site, asked) = (Location::caller(), buf.len());
        let drained = |&done: &usize| is_short(asked, done);
        self.io.read(Reason::IoRead, site, drained, |inner| try_recv(inner, buf))
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let most = bufs.len().min(MOST_BUFFERS);
        let bufs = &mut bufs[..most];
        let (site, asked) = (Location::caller(), total(bufs.iter().map(|buf| buf.len())));
        let drained = |&done: &usize| is_short(asked, done);
        self.io.read(Reason::IoRead, site, drained, |inner| try_recv_vectored(inner, bufs))
    }
}

impl Write for &TcpStream {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let site = Location::caller();
        let drained = |&done: &usize| is_short(buf.len(), done);
        self.io.write(Reason::IoWrite, site, drained, |inner| try_send(inner, buf))
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let bufs = &bufs[..bufs.len().min(MOST_BUFFERS)];
        let (site, asked) = (Location::caller(), total(bufs.iter().map(|buf| buf.len())));
        let drained = |&done: &usize| is_short(asked, done);
        self.io.write(Reason::IoWrite, site, drained, |inner| try_send_vectored(inner, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for TcpStream {
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

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.inner().fmt(f)
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.inner().fmt(f)
    }
}

impl From<std_net::TcpStream> for TcpStream {
    /// Time-outs and whether it blocks are taken over.
    fn from(inner: std_net::TcpStream) -> Self {
        Self { io: adopt::take(inner) }
    }
}

impl From<TcpStream> for std_net::TcpStream {
    fn from(stream: TcpStream) -> Self {
        stream.into_std()
    }
}

impl From<std_net::TcpListener> for TcpListener {
    /// Whether it blocks is taken over.
    fn from(inner: std_net::TcpListener) -> Self {
        Self { io: adopt::take_listener(inner) }
    }
}

impl From<TcpListener> for std_net::TcpListener {
    fn from(listener: TcpListener) -> Self {
        listener.into_std()
    }
}

/// The conversions to and from descriptors, by std's type.
macro_rules! descriptors {
    ($($name:ident),*) => {$(
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
                self.into_std().into_raw_fd()
            }
        }

        impl FromRawFd for $name {
            unsafe fn from_raw_fd(fd: RawFd) -> Self {
                // SAFETY: the caller guarantees that the descriptor is open and its own.
                unsafe { std_net::$name::from_raw_fd(fd) }.into()
            }
        }

        impl From<OwnedFd> for $name {
            fn from(fd: OwnedFd) -> Self {
                std_net::$name::from(fd).into()
            }
        }

        impl From<$name> for OwnedFd {
            fn from(socket: $name) -> Self {
                socket.into_std().into()
            }
        }
    )*};
}

descriptors!(TcpStream, TcpListener);
