//! `Child`.

use std::io::{self, Read};
use std::panic::{Location, resume_unwind};
use std::process;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::io::options::Interest;
use crate::io::watched::Watched;
use crate::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output};
use crate::task::wait_info::Reason;
use crate::thread::scope::scope;
use crate::thread::spawn::Builder;
use crate::wait::park::{blocking, is_green};

/// A child process that was started by a [`Command`](crate::process::Command), like
/// [`std::process::Child`].
///
/// As in std, dropping it neither ends the child nor waits for it: a child that has ended and that is
/// never waited for stays a zombie as long as this process runs.
#[derive(Debug)]
pub struct Child {
    /// The writing end of a pipe to the child's stdin, if that is [`piped`](process::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// The reading end of a pipe from the child's stdout, if that is [`piped`](process::Stdio::piped).
    pub stdout: Option<ChildStdout>,
    /// The reading end of a pipe from the child's stderr, if that is [`piped`](process::Stdio::piped).
    pub stderr: Option<ChildStderr>,
    /// Without its pipes.
    inner: process::Child,
}

impl Child {
    /// Kills the child with SIGKILL, like [`std::process::Child::kill`]. Does nothing if it has been
    /// waited for.
    ///
    /// # Errors
    ///
    /// Those of the system call, for example for lack of permission.
    pub fn kill(&mut self) -> io::Result<()> {
        self.inner.kill()
    }

    /// Returns the process id of the child.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// Closes the child's stdin, waits until the child has ended, and returns its status, like
    /// [`std::process::Child::wait`]. Later calls return the same.
    ///
    /// Parks the green thread in the poller, by the child's pidfd; on an OS thread it blocks that. On a
    /// kernel that has no pidfds, before Linux 5.3, an OS thread waits.
    ///
    /// # Errors
    ///
    /// Those of the system call, for example if the process ignores SIGCHLD, so that the kernel keeps
    /// no status.
    #[track_caller]
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.park_until_end(Location::caller());
        match self.inner.try_wait()? {
            Some(status) => Ok(status),
            // Not with the turns of `off_worker`, which the child's end may depend on.
            None => blocking(|| self.inner.wait()),
        }
    }

    /// Parks the calling green thread until the child has ended. Returns early on other threads, and if
    /// the child cannot be waited for in the poller.
    fn park_until_end(&mut self, site: &'static Location<'static>) {
        if !is_green() || !matches!(self.inner.try_wait(), Ok(None)) {
            return;
        }
        // The child was not waited for, so its id is still its own.
        let Ok(pidfd) = pidfd_open(Pid::from_child(&self.inner), PidfdFlags::empty()) else {
            return;
        };
        // Readable once the child has ended. The caller does without, if it must.
        let _ = Watched::new(pidfd).wait(Interest::Read, Reason::Child, site);
    }

    /// Returns the status of the child if it has ended, like [`std::process::Child::try_wait`]. Does
    /// not block.
    ///
    /// # Errors
    ///
    /// See [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.inner.try_wait()
    }

    /// Closes the child's stdin, waits until the child has ended, and returns its status and all that
    /// came from its stdout and stderr, as far as they are pipes, like
    /// [`std::process::Child::wait_with_output`].
    ///
    /// Both pipes are read at the same time, so the child may fill one while the other is empty. A
    /// green thread starts another one for that.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait) and of the reads; if there is no stack for the other thread.
    #[track_caller]
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        if !is_green() {
            return blocking(|| process::Child::from(self).wait_with_output());
        }
        drop(self.stdin.take());
        let (stdout, stderr) = match (self.stdout.take(), self.stderr.take()) {
            (Some(stdout), Some(stderr)) => read_both(stdout, stderr)?,
            (stdout, stderr) => (read_all(stdout)?, read_all(stderr)?),
        };
        let status = self.wait()?;
        Ok(Output { status, stdout, stderr })
    }
}

#[track_caller]
fn read_all(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

#[track_caller]
fn read_both(stdout: ChildStdout, stderr: ChildStderr) -> io::Result<(Vec<u8>, Vec<u8>)> {
    scope(|scope| {
        let stderr = Builder::new().spawn_scoped(scope, move || read_all(Some(stderr)))?;
        let stdout = read_all(Some(stdout));
        let stderr = stderr.join().unwrap_or_else(|payload| resume_unwind(payload));
        Ok((stdout?, stderr?))
    })
}

impl From<process::Child> for Child {
    fn from(mut child: process::Child) -> Self {
        let stdin = child.stdin.take().map(ChildStdin::from);
        let stdout = child.stdout.take().map(ChildStdout::from);
        let stderr = child.stderr.take().map(ChildStderr::from);
        Self { stdin, stdout, stderr, inner: child }
    }
}

impl From<Child> for process::Child {
    fn from(child: Child) -> Self {
        let Child { stdin, stdout, stderr, mut inner } = child;
        inner.stdin = stdin.map(Into::into);
        inner.stdout = stdout.map(Into::into);
        inner.stderr = stderr.map(Into::into);
        inner
    }
}
