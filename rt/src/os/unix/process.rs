//! Processes on Unix, like [`std::os::unix::process`].

use std::ffi::OsStr;
use std::io;

pub use std::os::unix::process::{ExitStatusExt, parent_id};

/// What a [`Command`](crate::process::Command) can do on Unix, like
/// [`std::os::unix::process::CommandExt`], which is closed to other crates.
pub trait CommandExt: sealed::Sealed {
    /// Sets the user of the child.
    fn uid(&mut self, id: u32) -> &mut Self;

    /// Sets the group of the child.
    fn gid(&mut self, id: u32) -> &mut Self;

    /// Has a closure run in the child, between `fork` and `exec`.
    ///
    /// # Safety
    ///
    /// The child is a copy of a process that had other threads: the closure may do only what a
    /// signal handler may. It must not allocate, take locks, or use gthread.
    /// [`std::os::unix::process::CommandExt::pre_exec`] says more.
    unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Self
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static;

    /// The old name of [`pre_exec`](Self::pre_exec).
    ///
    /// # Safety
    ///
    /// As for [`pre_exec`](Self::pre_exec). It is unsafe too, although it was not always.
    #[deprecated(note = "should be unsafe, use `pre_exec` instead, as in std")]
    unsafe fn before_exec<F>(&mut self, f: F) -> &mut Self
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: by this function's contract, which is the same.
        unsafe { self.pre_exec(f) }
    }

    /// Replaces this process by the command. Returns only if that fails, with the error. No
    /// destructors run, and all green threads end.
    #[must_use]
    fn exec(&mut self) -> io::Error;

    /// Sets the first of the child's arguments, which is the program by default.
    fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Self;

    /// Sets the process group of the child. Zero makes it the leader of a group of its own.
    fn process_group(&mut self, pgroup: i32) -> &mut Self;
}

pub(crate) mod sealed {
    /// Of this crate's types only.
    pub trait Sealed {}
}
