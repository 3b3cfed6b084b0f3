//! The server: accepts connections, each with a thread of its own, and ends in an orderly way.
//!
//! # The end
//!
//! 1. [`Stop`] says so, and a deadline that has passed ends the wait for connections. The address
//!    is free again.
//! 2. The same ends the waits of all connections. One that waits for a request closes; one that
//!    waits for the rest of a request sets its own deadline again. The response says that the
//!    connection is closed.
//! 3. When all connections have returned their permits, that is all. After the time for that, those
//!    that are left are shut down.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gthread::channel::Receiver;
use gthread::io::{self, ErrorKind, Write};
use gthread::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use gthread::signal::{self, Signal};
use gthread::sync::{Mutex, OnceLock, Semaphore};
use gthread::{Builder, fs, go};
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::STATUS_INTERRUPTED;
use crate::args::Config;
use crate::connection::{Connection, linger};
use crate::log::Log;
use crate::output::{complain, reason};

/// The length of the queue of connections that are not accepted yet.
const BACKLOG: i32 = 4096;

/// Descriptors for other things than connections: the standard streams, the listener, the log, the
/// runtime's own.
const RESERVED: usize = 16;

/// The most connections, and how many are so few that it is worth a line.
const MOST: usize = 1_000_000;
const FEW: usize = 1000;

/// How many clients are told at once that there are too many. More are told nothing.
const REFUSALS: usize = 64;

/// The pause after a connection could not be accepted, and between two complaints about that.
const PAUSE: Duration = Duration::from_millis(10);
const COMPLAINTS: Duration = Duration::from_secs(1);

/// How long the last connections may take to end once they are shut down.
const CUT_TIME: Duration = Duration::from_secs(1);

/// What the connections have in common.
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) log: Option<Log>,
    pub(crate) stop: Stop,
    /// As many as there may be connections.
    permits: Arc<Semaphore>,
    connections: usize,
    refusals: Arc<Semaphore>,
    open: OpenConnections,
}

/// Whether the server is to end, and when it must have.
#[derive(Default)]
pub(crate) struct Stop {
    has_begun: AtomicBool,
    end: OnceLock<Instant>,
}

impl Stop {
    /// Returns `true` once the server is to end.
    ///
    /// A connection asks after it has taken its deadline away, and before it waits for a request.
    /// So either it sees this, or its wait is ended.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::SeqCst)
    }

    fn begin(&self, end: Instant) {
        let _ = self.end.set(end);
        self.has_begun.store(true, Ordering::SeqCst);
    }

    /// Returns a deadline, or the end of the server if that is earlier.
    pub(crate) fn before_end(&self, deadline: Instant) -> Instant {
        self.end.get().map_or(deadline, |&end| end.min(deadline))
    }
}

/// The connections, for the one who ends them.
#[derive(Default)]
struct OpenConnections {
    next: AtomicU64,
    streams: Mutex<HashMap<u64, Arc<TcpStream>>>,
}

impl OpenConnections {
    fn add(&self, stream: &Arc<TcpStream>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.streams.lock().unwrap().insert(number, Arc::clone(stream));
        number
    }

    fn remove(&self, number: u64) {
        self.streams.lock().unwrap().remove(&number);
    }

    /// Calls `f` for each, and returns how many there are.
    fn for_each(&self, f: impl Fn(&TcpStream) -> io::Result<()>) -> usize {
        let streams = self.streams.lock().unwrap();
        for stream in streams.values() {
            // It fails if the connection is over already.
            let _ = f(stream);
        }
        streams.len()
    }
}

/// Serves until a signal ends it. The error is a line for the user.
pub(crate) fn run(mut config: Config) -> Result<(), String> {
    if let Some(root) = &config.root {
        config.root = Some(check_root(root)?);
    }
    let (log, writer) = match &config.log {
        None => (None, None),
        Some(path) => {
            let opened = Log::open(path);
            let (log, writer) =
                opened.map_err(|error| format!("cannot write to {path:?}: {}", reason(&error)))?;
            (Some(log), Some(writer))
        }
    };
    let connections = limit_connections(&config);
    let signals = signal::notify(&[Signal::INTERRUPT, Signal::TERMINATE])
        .map_err(|error| format!("cannot wait for signals: {}", reason(&error)))?;
    let listener = listen(&config)
        .map_err(|error| format!("cannot listen at {}: {}", config.address, reason(&error)))?;
    let server = Arc::new(Server {
        permits: Arc::new(Semaphore::new(connections)),
        connections,
        refusals: Arc::new(Semaphore::new(REFUSALS)),
        config,
        log,
        stop: Stop::default(),
        open: OpenConnections::default(),
    });
    let cut = server.serve(listener, signals);
    if let Some((log, writer)) = server.log.as_ref().zip(writer) {
        log.close();
        writer.finish();
    }
    match cut {
        0 => Ok(()),
        cut => Err(format!("{cut} connections were cut off")),
    }
}

/// Returns how many connections there may be: as many as are wanted, and for which there are enough
/// descriptors.
fn limit_connections(config: &Config) -> usize {
    let descriptors = raise_descriptors();
    // A connection may also read a file.
    let of_one = if config.root.is_some() { 2 } else { 1 };
    let possible = (descriptors.saturating_sub(RESERVED) / of_one).clamp(1, MOST);
    if possible < config.connections.unwrap_or(FEW) {
        complain(&format!("at most {possible} connections at once: ulimit -n is {descriptors}"));
    }
    config.connections.unwrap_or(MOST).min(possible)
}

fn check_root(root: &Path) -> Result<PathBuf, String> {
    let checked = fs::canonicalize(root).and_then(|root| match root.is_dir() {
        true => Ok(root),
        false => Err(ErrorKind::NotADirectory.into()),
    });
    checked.map_err(|error| format!("cannot serve {root:?}: {}", reason(&error)))
}

/// Allows this process as many descriptors as it may have, and returns their number.
fn raise_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.and_then(|limit| limit.try_into().ok()).unwrap_or(usize::MAX)
}

/// Listens, with options that the connections inherit: that costs no system call for each.
fn listen(config: &Config) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(&config.address)?;
    // std's queue has room for 128, which many clients at once fill.
    rustix::net::listen(&listener, BACKLOG)?;
    sockopt::set_tcp_nodelay(&listener, true)?;
    // So that the kernel gives up a client too, while it sends a file.
    let patience = config.limits.write_time.as_millis().try_into().unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(&listener, patience)?;
    Ok(listener)
}

impl Server {
    /// Serves until the first signal, and ends. Returns how many connections were cut off.
    fn serve(self: &Arc<Self>, listener: TcpListener, signals: Receiver<Signal>) -> usize {
        let address = listener.local_addr().map_or("?".into(), |address| address.to_string());
        let listener = Arc::new(listener);
        let acceptor = go!({
            let (server, listener) = (Arc::clone(self), Arc::clone(&listener));
            move || server.accept(&listener)
        });
        complain(&format!("listening at {address}"));

        let _ = signals.recv();
        go!(move || {
            if signals.recv().is_ok() {
                process::exit(STATUS_INTERRUPTED);
            }
        });
        let end = Instant::now() + self.config.drain;
        self.stop.begin(end);
        let _ = listener.set_deadline(Some(Instant::now()));
        // It only fails if the acceptor has panicked, which is said already.
        let _ = acceptor.join();
        drop(listener);
        self.open.for_each(|stream| stream.set_read_deadline(Some(Instant::now())));
        let all = self.connections;
        let left = end.saturating_duration_since(Instant::now());
        if self.permits.acquire_many_timeout(all, left).is_some() {
            return 0;
        }
        let cut = self.open.for_each(|stream| stream.shutdown(Shutdown::Both));
        let _ = self.permits.acquire_many_timeout(all, CUT_TIME);
        cut
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut complained: Option<Instant> = None;
        while !self.stop.has_begun() {
            match listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer.ip()),
                // Its deadline: the server is to end.
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => {
                    // Too many descriptors, for example. It may go on for long.
                    if complained.is_none_or(|at| at.elapsed() >= COMPLAINTS) {
                        complain(&format!("cannot accept: {}", reason(&error)));
                        complained = Some(Instant::now());
                    }
                    gthread::sleep(PAUSE);
                }
            }
        }
    }

    /// Starts a thread for a connection, if there are not too many.
    fn admit(self: &Arc<Self>, stream: TcpStream, peer: IpAddr) {
        let limits = &self.config.limits;
        // They are not zero, which is the only error.
        let _ = stream.set_read_timeout(Some(limits.idle));
        let _ = stream.set_write_timeout(Some(limits.write_time));
        let Some(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return self.turn_away(stream);
        };
        let server = Arc::clone(self);
        let stream = Arc::new(stream);
        let number = self.open.add(&stream);
        let serve = move || {
            // Also if the thread panics; the permit last.
            let _permit = permit;
            let _entry = Entry { server: &server, number };
            Connection::new(&server, &stream, peer).serve();
        };
        // Queued: the request has often arrived when its turn comes, and needs no wait.
        if let Err(error) = Builder::new().queued(true).spawn(serve) {
            self.open.remove(number);
            complain(&format!("cannot start a thread: {}", reason(&error)));
        }
    }

    /// Tells a client that there are too many.
    fn turn_away(&self, mut stream: TcpStream) {
        const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
            Connection: close\r\nContent-Length: 0\r\n\r\n";
        let Some(permit) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        let answer = move || {
            if stream.write_all(ANSWER).is_ok() {
                linger(&stream);
            }
            drop(permit);
        };
        // If there is no thread, the connection closes.
        let _ = Builder::new().queued(true).spawn(answer);
    }
}

/// A place in [`OpenConnections`].
struct Entry<'a> {
    server: &'a Server,
    number: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.server.open.remove(self.number);
    }
}
