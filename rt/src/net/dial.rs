//! Dialing: connecting to the first of several addresses that answers.
//!
//! RFC 8305, *Happy Eyeballs*: the next address is tried when the one before has failed, or has not
//! answered for a while, and the first connection that is there is taken. So an address that does not
//! answer, like that of an IPv6 network which leads nowhere, costs a moment and not minutes.
//!
//! The caller makes the sockets, and chooses. A green thread for each socket waits for its connection.
//! A thread that is not needed any more is woken by a deadline that has passed.
//!
//! The functions that call socket2 are not inlined: it reads `errno`, whose address is another after a
//! wait, and the compiler may compute it once.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::channel::{Receiver, Select, Sender, bounded, never};
use crate::context::{self, Context};
use crate::io::options::Interest;
use crate::io::watched::Watched;
use crate::net::dns::{self, ToSocketAddrs};
use crate::net::tcp::{TcpStream, connect_socket};
use crate::task::wait_info::Reason;
use crate::thread::spawn::{self, Builder};

/// How long an address is waited for before the next one is tried as well. Go's value; the RFC
/// recommends 250 ms.
const PATIENCE: Duration = Duration::from_millis(300);

/// Makes TCP connections: to the first of several addresses that answers, with limits on the time, and
/// with options that are set before the connection is made. Go's `net.Dialer`.
///
/// The addresses of a name are tried in the order of the resolver, IPv6 and IPv4 in turn. The next one
/// is tried when the one before has failed, or has not answered for 300 ms; the first that answers is
/// taken, and the other attempts are given up (RFC 8305, *Happy Eyeballs*). A dialer may be used many
/// times, also by several threads.
///
/// # Examples
///
/// ```
/// use gthread::context::Context;
/// use gthread::net::{Dialer, TcpListener};
/// use gthread::time::Duration;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let (ctx, _cancel) = Context::background().with_cancel();
/// let dialer = Dialer::new().timeout(Duration::from_secs(5)).context(&ctx).nodelay(true);
/// let stream = gthread::run(|| dialer.connect(listener.local_addr()?))?;
/// assert!(stream.nodelay()?);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a dialer does nothing until it connects"]
pub struct Dialer {
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    context: Context,
    local_addr: Option<SocketAddr>,
    nodelay: bool,
    keepalive: Option<Duration>,
}

impl Dialer {
    /// Creates a dialer without limits, and with the system's options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long a [`connect`](Self::connect) may take: look-up and all attempts together.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the moment when a [`connect`](Self::connect) gives up, like [`timeout`](Self::timeout). The
    /// earlier of both counts.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets a context: when it ends, a [`connect`](Self::connect) gives up. It has no effect on a
    /// connection that is there.
    pub fn context(mut self, context: &Context) -> Self {
        self.context = context.clone();
        self
    }

    /// Sets the address to connect from; its port may be zero. Only addresses of the same family are
    /// tried.
    pub fn local_addr(mut self, addr: SocketAddr) -> Self {
        self.local_addr = Some(addr);
        self
    }

    /// Sets whether small writes are sent at once (`TCP_NODELAY`). They are not by default, as in std.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Has the system ask whether the peer is still there when the connection was silent for so long,
    /// and again each time so much later (`SO_KEEPALIVE`). It does not by default.
    pub fn keepalive(mut self, interval: Duration) -> Self {
        self.keepalive = Some(interval);
        self
    }

    /// Connects to the first of the addresses that answers.
    ///
    /// Parks the green thread, a suspension point, or blocks the OS thread. A name is looked up off the
    /// worker. (A look-up that takes too long cannot be stopped; it goes on without this thread. What
    /// a type of the caller does in its own [`ToSocketAddrs`] is waited for in any case.)
    ///
    /// # Errors
    ///
    /// - The error of the attempt that failed last, or of the look-up.
    /// - `TimedOut` if the time is over. If it is the context's deadline that has passed, the error
    ///   holds [`context::Error::DeadlineExceeded`].
    /// - An error of kind `Other` that holds [`context::Error::Canceled`] if the context was cancelled.
    /// - `InvalidInput` if there is no address, or none of the local address's family, or if the
    ///   time-out is zero.
    #[track_caller]
    pub fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let site = Location::caller();
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            let text = "cannot set a 0 duration timeout";
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        // A deadline that the clock cannot represent means no deadline.
        let timeout = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let deadline = timeout.into_iter().chain(self.deadline).min();
        self.check(deadline)?;
        let is_limited = deadline.is_some() || self.may_be_cancelled();
        let addrs: Vec<_> = match addr.name_to_look_up().filter(|_| is_limited) {
            Some((name, port)) => {
                let found = dns::look_up_until(name, port, deadline, self.context.done())?;
                found.ok_or_else(|| self.ended())?.collect()
            }
            None => addr.to_socket_addrs()?.collect(),
        };
        self.check(deadline)?;
        let addrs = in_turn(self.suitable(addrs)?);
        match *addrs {
            // Nothing to choose from, and nobody who cancels: the caller can wait itself.
            [addr] if !self.may_be_cancelled() => {
                connect_socket(self.socket(addr)?, &addr, deadline, site)
            }
            _ => Race::new(self, deadline, addrs.len(), site).run(&addrs),
        }
    }

    fn may_be_cancelled(&self) -> bool {
        !self.context.done().same_channel(&never())
    }

    /// Returns an error if the time is over already.
    fn check(&self, deadline: Option<Instant>) -> io::Result<()> {
        if self.context.err().is_some() {
            return Err(self.ended());
        }
        if deadline.is_some_and(|at| at <= Instant::now()) {
            return Err(timed_out());
        }
        Ok(())
    }

    /// Returns the error for a context that has ended.
    fn ended(&self) -> io::Error {
        match self.context.err() {
            Some(error @ context::Error::DeadlineExceeded) => {
                io::Error::new(ErrorKind::TimedOut, error)
            }
            // A context that is done says why.
            error => io::Error::other(error.unwrap_or(context::Error::Canceled)),
        }
    }

    fn suitable(&self, mut addrs: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        if addrs.is_empty() {
            let text = "could not resolve to any addresses";
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        if let Some(local) = self.local_addr {
            addrs.retain(|addr| addr.is_ipv4() == local.is_ipv4());
        }
        if addrs.is_empty() {
            let text = "no address of the local address's family";
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(addrs)
    }

    /// Makes a socket, which does not block yet.
    #[inline(never)]
    fn socket(&self, addr: SocketAddr) -> io::Result<Socket> {
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP))?;
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(interval) = self.keepalive {
            let keepalive = TcpKeepalive::new().with_time(interval).with_interval(interval);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        if let Some(local) = self.local_addr {
            socket.bind(&local.into())?;
        }
        Ok(socket)
    }
}

/// Returns the addresses in the order in which they are tried: the families in turn, beginning with the
/// first address's.
fn in_turn(addrs: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let begins_with_ipv4 = addrs.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        addrs.into_iter().partition(|addr| addr.is_ipv4() == begins_with_ipv4);
    let both = first.len().min(second.len());
    let pairs = first.iter().zip(&second).flat_map(|(&first, &second)| [first, second]);
    pairs.chain(first[both..].iter().copied()).chain(second[both..].iter().copied()).collect()
}

fn timed_out() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "connection timed out")
}

/// The attempts of one `connect`. When it is dropped, those that are still under way are given up.
struct Race<'a> {
    dialer: &'a Dialer,
    deadline: Option<Instant>,
    site: &'static Location<'static>,
    /// In the order in which they were begun. An attempt that has ended has none.
    attempts: Vec<Option<Arc<Watched<Socket>>>>,
    under_way: usize,
    result: Sender<(usize, io::Result<()>)>,
    results: Receiver<(usize, io::Result<()>)>,
}

/// What a thread waits for meanwhile.
enum Event {
    Result(usize, io::Result<()>),
    Cancelled,
    TimeOver,
}

impl<'a> Race<'a> {
    fn new(
        dialer: &'a Dialer,
        deadline: Option<Instant>,
        most: usize,
        site: &'static Location<'static>,
    ) -> Self {
        // Room for all results, so that no thread waits to get rid of one.
        let (result, results) = bounded(most);
        let attempts = Vec::with_capacity(most);
        Self { dialer, deadline, site, attempts, under_way: 0, result, results }
    }

    fn run(mut self, addrs: &[SocketAddr]) -> io::Result<TcpStream> {
        let mut addrs = addrs.iter();
        let mut failed = None;
        loop {
            let begun = Instant::now();
            match addrs.next().map(|&addr| self.begin(addr)) {
                Some(Ok(Some(stream))) => return Ok(stream),
                Some(Ok(None)) => {}
                Some(Err(error)) => {
                    failed = Some(error);
                    continue;
                }
                None if self.under_way == 0 => return Err(failed.expect("there is an address")),
                None => {}
            }
            let has_more = !addrs.as_slice().is_empty();
            let next = begun.checked_add(PATIENCE).filter(|_| has_more);
            match self.wait(next) {
                Event::Result(attempt, Ok(())) => return self.take(attempt),
                Event::Result(attempt, Err(error)) => {
                    self.attempts[attempt] = None;
                    failed = Some(error);
                }
                Event::Cancelled => return Err(self.dialer.ended()),
                Event::TimeOver => self.dialer.check(self.deadline)?,
            }
        }
    }

    /// Begins an attempt. Returns the connection if it is there at once.
    #[inline(never)]
    fn begin(&mut self, addr: SocketAddr) -> io::Result<Option<TcpStream>> {
        let socket = self.dialer.socket(addr)?;
        match socket.connect(&addr.into()) {
            Ok(()) => return finish(socket).map(Some),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let socket = Arc::new(Watched::new(socket));
        let (attempt, site) = (self.attempts.len(), self.site);
        let (waits, result) = (Arc::clone(&socket), self.result.clone());
        let run = move || {
            let outcome = await_connection(&waits, site);
            // The winner's socket is the caller's alone.
            drop(waits);
            let _ = result.send((attempt, outcome));
        };
        let options = Builder::new().queued(true).options(site);
        // SAFETY: the closure and its result are `Send` and `'static`, so they may be sent and borrow
        // nothing.
        drop(unsafe { spawn::start(options, run) }?);
        self.attempts.push(Some(socket));
        self.under_way += 1;
        Ok(None)
    }

    /// Waits for what comes first: a result, the end of the context, the deadline, or `next`.
    fn wait(&mut self, next: Option<Instant>) -> Event {
        let mut select = Select::new_biased();
        let result = select.recv(&self.results);
        select.recv(self.dialer.context.done());
        let selected = match next.into_iter().chain(self.deadline).min() {
            None => select.select(),
            Some(at) => match select.select_deadline(at) {
                Ok(selected) => selected,
                Err(_) => return Event::TimeOver,
            },
        };
        if selected.index() == result {
            let (attempt, outcome) = selected.recv(&self.results).expect("this has a sender");
            self.under_way -= 1;
            return Event::Result(attempt, outcome);
        }
        let _ = selected.recv(self.dialer.context.done());
        Event::Cancelled
    }

    fn take(&mut self, attempt: usize) -> io::Result<TcpStream> {
        let socket = self.attempts[attempt].take().and_then(Arc::into_inner);
        finish(socket.expect("its thread has dropped it").into_inner())
    }
}

impl Drop for Race<'_> {
    fn drop(&mut self) {
        let passed = Instant::now();
        for socket in self.attempts.iter().flatten() {
            socket.set_deadline(Interest::Write, Some(passed));
        }
    }
}

fn await_connection(socket: &Watched<Socket>, site: &'static Location<'static>) -> io::Result<()> {
    socket.wait(Interest::Write, Reason::Connect, site)?;
    take_error(socket.inner())
}

#[inline(never)]
fn take_error(socket: &Socket) -> io::Result<()> {
    match socket.take_error()? {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Makes a connection of a socket, which blocks from now on.
#[inline(never)]
fn finish(socket: Socket) -> io::Result<TcpStream> {
    socket.set_nonblocking(false)?;
    Ok(std::net::TcpStream::from(socket).into())
}
