//! What a dump says: its data ([`Dump`] and below), its text, call stacks.
//!
//! Where the data come from is the scheduler's matter (`sched/census.rs`); nothing here knows a task.

mod cycles;
mod frames;
mod quoted;
mod text;

use std::panic::Location;

pub(crate) use crate::diagnostics::dump::frames::{Names, Scratch, Walk};
pub(crate) use crate::diagnostics::dump::quoted::Quoted;

/// All green threads, as [`dump`](crate::diagnostics::dump) found them.
///
/// Its `Display` is for people; what is alike (same place, same state, same call stack) is said once. With the
/// feature `serde` it can be serialised, and so turned into JSON; the fields are what is serialised.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Dump {
    /// The OS threads that wait in gthread, and are not blocked by a green thread that they run. In the order of their
    /// [`os_id`](OsThreadDump::os_id)s.
    pub os_threads: Vec<OsThreadDump>,
    /// One for each runtime, in the order in which they were started.
    pub runtimes: Vec<RuntimeDump>,
}

/// An OS thread in a [`Dump`]: one that waits in gthread, as main does in [`run`](crate::run), in a `join`, or for a message.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OsThreadDump {
    /// Its number in gthread: [`ThreadId`](crate::ThreadId) shows the same.
    pub id: u64,
    /// The system's number of it; zero where that is not known.
    pub os_id: u32,
    /// The name that it was started with; "main" for the main thread.
    pub name: Option<String>,
    /// What it waits for.
    pub wait: WaitDump,
}

/// One runtime in a [`Dump`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RuntimeDump {
    /// As given with [`RuntimeBuilder::name`](crate::RuntimeBuilder::name).
    pub name: String,
    /// Its workers, by number; those that replace blocked ones come last.
    pub workers: Vec<WorkerDump>,
    /// Its green threads that have not ended, the oldest first.
    pub threads: Vec<ThreadDump>,
    /// Parked threads whose call stack was not taken: there were too many, or a worker did not stop.
    pub without_backtrace: usize,
}

/// A worker in a [`Dump`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WorkerDump {
    /// What it was doing.
    pub state: WorkerState,
    /// The green thread that it was in the middle of.
    pub thread: Option<u64>,
}

/// What a worker was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum WorkerState {
    /// Between two green threads, or looking for one to run.
    Awake,
    /// Without work.
    Asleep,
    /// In a green thread that did not suspend within some 10 ms.
    Inside,
    /// In a green thread that blocks it, in [`blocking`](crate::blocking) or while it unwinds.
    Blocked,
    /// It did not answer: its OS thread gets no processor, or is stopped.
    Lost,
}

/// A green thread in a [`Dump`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ThreadDump {
    /// Its number: [`ThreadId`](crate::ThreadId) shows the same.
    pub id: u64,
    /// As given with [`Builder::name`](crate::Builder::name).
    pub name: Option<String>,
    /// Where it was spawned.
    pub spawned_at: Place,
    /// What it was doing.
    pub state: ThreadState,
    /// What it waits for, if it is parked, or blocks its worker in a wait of gthread's.
    pub wait: Option<WaitDump>,
    /// The number of the worker that it runs on, or is pinned to.
    pub worker: Option<usize>,
    /// Its stack, if it is parked.
    pub stack: Option<StackDump>,
    /// Its calls, the innermost first, if it is parked: from the call of gthread that it waits in, if the
    /// feature `backtrace` is on.
    pub backtrace: Vec<FrameDump>,
}

/// What a green thread was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum ThreadState {
    /// It runs. Nothing but its number and name is known of it then, and that only if it still ran when it
    /// was asked for.
    Running,
    /// It runs, and blocks its worker: in [`blocking`](crate::blocking), or while it unwinds.
    Blocked,
    /// Not started yet.
    New,
    /// Suspended, and about to be resumed.
    Runnable,
    /// Suspended until something happens.
    Parked,
}

/// What a green thread waits for.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WaitDump {
    /// The operation that it waits in: "recv", "join", …
    pub reason: &'static str,
    /// The call of gthread.
    pub at: Place,
    /// For how long, in milliseconds: some 10 too few at the most.
    pub waited_ms: u64,
    /// The number of the green thread that must do something first, if there is one and it is known: end, or
    /// let go of the lock.
    pub thread: Option<u64>,
    /// The lock, if it waits for one.
    pub lock: Option<LockDump>,
}

/// A lock that a green thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LockDump {
    /// "Mutex" or "RwLock".
    pub kind: &'static str,
    /// Its address, to tell it from others.
    pub address: usize,
    /// Somebody has it, to write if it is an `RwLock`. If [`WaitDump::thread`] says nothing, that is an OS thread;
    /// or a green thread that has locked it inside a [`with_stack`](crate::with_stack) and brought the guard out.
    pub held: bool,
}

/// The stack of a green thread.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StackDump {
    /// Bytes that it may use.
    pub size: usize,
    /// Bytes in use.
    pub used: usize,
    /// It is the stack that [`with_stack`](crate::with_stack) gave it.
    pub temporary: bool,
}

/// A call in a backtrace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FrameDump {
    /// The address that it returns to.
    pub address: usize,
    /// The function, if the program has symbols.
    pub function: Option<String>,
    /// The source file, if the program has debug information.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u32>,
}

/// A place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Place {
    /// As the compiler was given it.
    pub file: &'static str,
    /// From one on.
    pub line: u32,
    /// From one on.
    pub column: u32,
}

impl From<&'static Location<'static>> for Place {
    fn from(location: &'static Location<'static>) -> Self {
        Self { file: location.file(), line: location.line(), column: location.column() }
    }
}

impl Dump {
    /// All threads of all runtimes.
    pub fn threads(&self) -> impl Iterator<Item = &ThreadDump> {
        self.runtimes.iter().flat_map(|runtime| &runtime.threads)
    }
}
