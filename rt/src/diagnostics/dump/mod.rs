//! The content of a dump: its data ([`Dump`] and below), its text, and call stacks.
//!
//! The scheduler collects the data (`diagnostics/snapshot.rs`); nothing here knows a task.

mod cycles;
mod frames;
mod quoted;
mod text;

use std::fmt;
use std::net::SocketAddr;
use std::panic::Location;

pub(crate) use crate::diagnostics::dump::frames::{Names, Scratch, Walk};
pub(crate) use crate::diagnostics::dump::quoted::Quoted;

/// All green threads, as [`dump`](crate::dump) found them.
///
/// Its `Display` is for people; threads that are alike (same location, same state, same call stack)
/// are described once. With the feature `serde` it can be serialised, and so turned into JSON,
/// field by field.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Dump {
    /// The OS threads that wait in gthread, and are not blocked by a green thread that they run. In
    /// the order of their [`os_id`](OsThreadDump::os_id)s.
    pub os_threads: Vec<OsThreadDump>,
    /// The runtimes, in the order in which they were started.
    pub runtimes: Vec<RuntimeDump>,
}

/// An OS thread in a [`Dump`] that waits in gthread, like main in [`run`](crate::run), in a `join`,
/// or for a message.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OsThreadDump {
    /// Its number in gthread, the same as in [`ThreadId`](crate::ThreadId).
    pub id: u64,
    /// The system's number of the thread; zero if it is not known.
    pub os_id: u32,
    /// The name that it was started with; "main" for the main thread.
    pub name: Option<String>,
    /// The wait of the thread.
    pub wait: WaitDump,
}

/// One runtime in a [`Dump`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RuntimeDump {
    /// The name given with [`RuntimeBuilder::name`](crate::RuntimeBuilder::name).
    pub name: String,
    /// Its workers, by number; workers that replace blocked ones come last.
    pub workers: Vec<WorkerDump>,
    /// Its green threads that have not ended, the oldest first.
    pub threads: Vec<ThreadDump>,
    /// The number of parked threads whose call stack was not taken: there were too many, or a
    /// worker did not stop.
    pub without_backtrace: usize,
}

/// A worker in a [`Dump`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WorkerDump {
    /// The activity of the worker.
    pub state: WorkerState,
    /// The green thread that it was running.
    pub thread: Option<u64>,
}

/// The activity of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum WorkerState {
    /// Between two green threads, or looking for one to run.
    Awake,
    /// Without work.
    Asleep,
    /// In a green thread that did not suspend within about 10 ms.
    Inside,
    /// In a green thread that blocks it, in [`blocking`](crate::blocking) or while it unwinds.
    Blocked,
    /// It did not answer: its OS thread gets no processor time, or is stopped.
    Lost,
}

/// A green thread in a [`Dump`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ThreadDump {
    /// Its number, the same as in [`ThreadId`](crate::ThreadId).
    pub id: u64,
    /// The name given with [`Builder::name`](crate::Builder::name).
    pub name: Option<String>,
    /// The location where it was spawned.
    pub spawned_at: Place,
    /// The state of the thread.
    pub state: ThreadState,
    /// Its wait, if it is parked, or blocks its worker in one of gthread's waits.
    pub wait: Option<WaitDump>,
    /// The number of the worker that it runs on, or is pinned to.
    pub worker: Option<usize>,
    /// Its stack, if it is parked.
    pub stack: Option<StackDump>,
    /// Its calls, the innermost first, if it is parked and the feature `backtrace` is on. They
    /// begin with the call of gthread in which it waits.
    pub backtrace: Vec<FrameDump>,
}

/// The state of a green thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum ThreadState {
    /// It runs. Only its number and name are known then, and only if it still ran when it was asked
    /// for them.
    Running,
    /// It runs, and blocks its worker: in [`blocking`](crate::blocking), or while it unwinds.
    Blocked,
    /// Not started yet.
    New,
    /// Suspended, and about to be resumed.
    Runnable,
    /// Suspended until an event happens.
    Parked,
}

/// The wait of a thread.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WaitDump {
    /// The operation in which it waits: "recv", "join", …
    pub reason: &'static str,
    /// The location of the call of gthread.
    pub at: Place,
    /// The duration of the wait so far, in milliseconds: at most about 10 too few.
    pub waited_ms: u64,
    /// The number of the green thread that must end, or release the lock, first; if there is one
    /// and it is known.
    pub thread: Option<u64>,
    /// The lock, if it waits for one.
    pub lock: Option<LockDump>,
    /// The descriptor, if it waits for one.
    pub descriptor: Option<DescriptorDump>,
}

/// A descriptor that a green thread waits for, as it was when the dump was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DescriptorDump {
    /// Its number.
    pub fd: i32,
    /// "TCP", "UDP", "unix socket", or "descriptor" if it is another or is closed.
    pub kind: &'static str,
    /// The addresses of an internet socket.
    pub local: Option<SocketAddr>,
    /// The peer's address, if it is connected.
    pub peer: Option<SocketAddr>,
}

impl DescriptorDump {
    pub(crate) fn numbered(fd: i32) -> Self {
        Self { fd, kind: "descriptor", local: None, peer: None }
    }

    /// Looks at the descriptor.
    #[cfg(feature = "io")]
    pub(crate) fn described(self) -> Self {
        use rustix::net::{AddressFamily, SocketType, getpeername, getsockname, sockopt};
        // SAFETY: the number is used for calls that change nothing. If the descriptor has been closed
        // since, they fail, or speak of another.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(self.fd) };
        let Ok(kind) = sockopt::socket_type(fd) else { return self };
        let kind = match (sockopt::socket_domain(fd), kind) {
            (Ok(AddressFamily::INET | AddressFamily::INET6), SocketType::STREAM) => "TCP",
            (Ok(AddressFamily::INET | AddressFamily::INET6), SocketType::DGRAM) => "UDP",
            (Ok(AddressFamily::UNIX), _) => "unix socket",
            _ => "socket",
        };
        let local = getsockname(fd).ok().and_then(|address| SocketAddr::try_from(address).ok());
        let peer = getpeername(fd).ok().flatten();
        let peer = peer.and_then(|address| SocketAddr::try_from(address).ok());
        Self { kind, local, peer, ..self }
    }

    #[cfg(not(feature = "io"))]
    pub(crate) fn described(self) -> Self {
        self
    }
}

impl fmt::Display for DescriptorDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fd, kind, local, peer } = self;
        match (local, peer) {
            (Some(local), Some(peer)) => write!(f, "{kind} {local} → {peer}, fd {fd}"),
            (Some(local), None) => write!(f, "{kind} {local}, fd {fd}"),
            (None, _) => write!(f, "{kind}, fd {fd}"),
        }
    }
}

/// A lock that a green thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LockDump {
    /// "Mutex" or "RwLock".
    pub kind: &'static str,
    /// Its address, to distinguish it from others.
    pub address: usize,
    /// A thread holds the lock, for writing if it is an `RwLock`. If [`WaitDump::thread`] is
    /// `None`, that is an OS thread, or a green thread that has locked it inside a
    /// [`with_stack`](crate::with_stack) and has moved the guard out.
    pub held: bool,
}

/// The stack of a green thread.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StackDump {
    /// The number of bytes that it may use.
    pub size: usize,
    /// The number of bytes in use.
    pub used: usize,
    /// `true` if it is the temporary stack of a [`with_stack`](crate::with_stack).
    pub temporary: bool,
}

/// A call in a backtrace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FrameDump {
    /// The address to which it returns.
    pub address: usize,
    /// The function, if the program has symbols.
    pub function: Option<String>,
    /// The source file, if the program has debug information.
    pub file: Option<String>,
    /// The line in the file.
    pub line: Option<u32>,
}

/// A location in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Place {
    /// The file as it was passed to the compiler.
    pub file: &'static str,
    /// Counted from one.
    pub line: u32,
    /// Counted from one.
    pub column: u32,
}

impl From<&'static Location<'static>> for Place {
    fn from(location: &'static Location<'static>) -> Self {
        Self { file: location.file(), line: location.line(), column: location.column() }
    }
}

impl Dump {
    /// Returns all threads of all runtimes.
    pub fn threads(&self) -> impl Iterator<Item = &ThreadDump> {
        self.runtimes.iter().flat_map(|runtime| &runtime.threads)
    }
}
