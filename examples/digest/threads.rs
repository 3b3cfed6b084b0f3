//! Green threads and OS threads behind one face, so that `--compare` compares nothing else.
//!
//! Only starting a thread differs: a `gthread::channel` serves both kinds.

use std::ffi::OsStr;
use std::io;
use std::thread;

/// The kind of threads that do the work.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Threads {
    Green,
    Std,
}

impl Threads {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Threads::Green => "gthread",
            Threads::Std => "std::thread",
        }
    }

    pub(crate) fn from_name(name: &OsStr) -> Result<Self, String> {
        [Threads::Green, Threads::Std]
            .into_iter()
            .find(|threads| name == threads.name())
            .ok_or(format!("no such kind of threads: {name:?}"))
    }

    /// Runs the whole program's work and returns its result.
    pub(crate) fn run<T: Send>(self, work: impl FnOnce() -> T + Send) -> T {
        match self {
            Threads::Green => gthread::run(work),
            Threads::Std => work(),
        }
    }

    /// Starts a thread that nobody joins. An error, unlike the panic of a plain `spawn`, can be
    /// reported for the one file that it hits.
    pub(crate) fn spawn(self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        match self {
            Threads::Green => gthread::Builder::new().spawn(work).map(drop),
            Threads::Std => thread::Builder::new().spawn(work).map(drop),
        }
    }

    /// Makes a system call that may take long. An OS thread just does; a green thread has to say
    /// so, lest the green threads behind it on the same worker wait for the disk too.
    pub(crate) fn blocking<T>(self, call: impl FnOnce() -> T) -> T {
        match self {
            Threads::Green => gthread::blocking(call),
            Threads::Std => call(),
        }
    }
}
