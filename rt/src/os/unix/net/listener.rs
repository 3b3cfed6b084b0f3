//! Listening.

use std::io;
use std::os::unix::net::{self as std_net, SocketAddr};
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::io::adopt;
use crate::io::options::Interest;
use crate::io::watched::Watched;
use crate::os::unix::net::conversions;
use crate::os::unix::net::stream::{UnixStream, has_packets};
use crate::time;

/// How long an accept pauses before it reports that the process or the system is short of
/// something, so that a loop that tries again does not spin.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(10);

/// A listening Unix socket, like [`std::os::unix::net::UnixListener`].
///
/// [`accept`](Self::accept) parks the green thread until there is a connection. On an OS thread it
/// blocks that.
///
/// The descriptor does not block as long as it is a `UnixListener`. It does again, unless
/// [`set_nonblocking`](Self::set_nonblocking) says otherwise, once it is std's, an [`OwnedFd`] or a
/// raw descriptor of its own.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use gthread::os::linux::net::SocketAddrExt;
/// use gthread::os::unix::net::{SocketAddr, UnixListener, UnixStream};
///
/// let name = format!("gthread example {}", std::process::id());
/// let addr = SocketAddr::from_abstract_name(name)?;
/// let listener = UnixListener::bind_addr(&addr)?;
/// let server = gthread::go!(move || {
///     for stream in listener.incoming().take(2) {
///         let mut stream = stream?;
///         gthread::go!(move || stream.write_all(b"hello"));
///     }
///     std::io::Result::Ok(())
/// });
/// for _ in 0..2 {
///     let mut text = String::new();
///     UnixStream::connect_addr(&addr)?.read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
/// }
/// server.join().unwrap()?;
/// # std::io::Result::Ok(())
/// ```
///
/// [`OwnedFd`]: std::os::fd::OwnedFd
pub struct UnixListener {
    io: Watched<std_net::UnixListener>,
    /// Of its connections too.
    packets: bool,
}

/// The connections of a listener, one after the other: returned by [`UnixListener::incoming`], like
/// [`std::os::unix::net::Incoming`]. It never ends.
#[derive(Debug)]
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Incoming<'a> {
    listener: &'a UnixListener,
}

impl UnixListener {
    /// Listens at a path, like [`std::os::unix::net::UnixListener::bind`]. Does not wait.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if the path is there; `InvalidInput` if it is too long or has a zero byte; those
    /// of the system calls.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Self::new(std_net::UnixListener::bind(path)?)
    }

    /// Listens at an address, like [`std::os::unix::net::UnixListener::bind_addr`]. Does not wait.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<Self> {
        Self::new(std_net::UnixListener::bind_addr(socket_addr)?)
    }

    fn new(inner: std_net::UnixListener) -> io::Result<Self> {
        inner.set_nonblocking(true)?;
        Ok(Self { io: Watched::new(inner), packets: false })
    }

    /// Waits for the next connection, like [`std::os::unix::net::UnixListener::accept`]. Parks the
    /// green thread.
    ///
    /// Before an error that says that the process, or the system, is short of descriptors or
    /// memory, the thread sleeps for 10 ms, so that a loop which tries again leaves others the
    /// processor.
    ///
    /// # Errors
    ///
    /// Those of the system call; `WouldBlock` if the listener is
    /// [non-blocking](Self::set_nonblocking) and there is no connection; `TimedOut` after its
    /// [deadline](Self::set_deadline).
    #[track_caller]
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let site = Location::caller();
        let accepted = adopt::accept(&self.io, site, std_net::UnixListener::accept);
        if accepted.as_ref().is_err_and(adopt::is_shortage) && !self.io.options().is_nonblocking() {
            time::sleep_for(SHORTAGE_PAUSE, site);
        }
        let (stream, addr) = accepted?;
        Ok((UnixStream::new(stream, self.packets), addr))
    }

    /// Returns another handle to the same socket, like
    /// [`std::os::unix::net::UnixListener::try_clone`]. Both take connections, and they share all
    /// options.
    ///
    /// # Errors
    ///
    /// If the process has too many descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clone = self.io.inner().try_clone()?;
        let io = Watched::with_options(clone, Arc::clone(self.io.options()));
        Ok(Self { io, packets: self.packets })
    }

    /// Returns the address that is listened at.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.inner().local_addr()
    }

    /// Sets whether [`accept`](Self::accept) fails with `WouldBlock` instead of waiting, like
    /// [`std::os::unix::net::UnixListener::set_nonblocking`]. Clones share it.
    ///
    /// # Errors
    ///
    /// None as a rule; as in std there could be one.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        adopt::set_listener_nonblocking(&self.io, nonblocking)
    }

    /// Sets the moment at which waiting for a connection fails with `TimedOut`, for threads that
    /// wait already too. `None` takes it away. Clones share it.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.io.set_deadline(Interest::Read, deadline);
        Ok(())
    }

    /// Takes the socket's pending error (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// Those of the system call.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io.inner().take_error()
    }

    /// Returns the connections, one after the other, like
    /// [`std::os::unix::net::UnixListener::incoming`].
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Returns std's object, which blocks unless the user wanted otherwise.
    fn into_std(self) -> std_net::UnixListener {
        adopt::give_listener(self.io)
    }
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UnixStream>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}

impl From<std_net::UnixListener> for UnixListener {
    /// Whether it blocks is taken over.
    fn from(inner: std_net::UnixListener) -> Self {
        let packets = has_packets(&inner);
        Self { io: adopt::take_listener(inner), packets }
    }
}

conversions!(UnixListener, std_net::UnixListener);
