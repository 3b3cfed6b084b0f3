//! `Command`.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process;

use crate::io::off_worker;
use crate::os::unix::process::CommandExt;
use crate::os::unix::process::sealed::Sealed;
use crate::process::{Child, CommandArgs, CommandEnvs, ExitStatus, Output, Stdio};
use crate::wait::park::{blocking, is_green};

/// A program to start, with its arguments and environment, like [`std::process::Command`].
pub struct Command {
    inner: process::Command,
    /// Which of stdin, stdout and stderr were chosen.
    chosen: [bool; 3],
}

impl Command {
    /// Creates a command without arguments, with the environment and the working directory of this
    /// process.
    pub fn new<S: AsRef<OsStr>>(program: S) -> Self {
        Self { inner: process::Command::new(program), chosen: [false; 3] }
    }

    /// Adds an argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Self {
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.inner.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env<K, V>(&mut self, key: K, val: V) -> &mut Self
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.env(key, val);
        self
    }

    /// Sets environment variables.
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.inner.envs(vars);
        self
    }

    /// Removes an environment variable.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Self {
        self.inner.env_remove(key);
        self
    }

    /// Removes all environment variables.
    pub fn env_clear(&mut self) -> &mut Self {
        self.inner.env_clear();
        self
    }

    /// Sets the working directory of the child.
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Self {
        self.inner.current_dir(dir);
        self
    }

    /// Sets the child's stdin. By default it is this process's, or `/dev/null` for
    /// [`output`](Self::output).
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Self {
        self.inner.stdin(cfg);
        self.chosen[0] = true;
        self
    }

    /// Sets the child's stdout. By default it is this process's, or a pipe for
    /// [`output`](Self::output).
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Self {
        self.inner.stdout(cfg);
        self.chosen[1] = true;
        self
    }

    /// Sets the child's stderr. By default it is this process's, or a pipe for
    /// [`output`](Self::output).
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Self {
        self.inner.stderr(cfg);
        self.chosen[2] = true;
        self
    }

    /// Starts the program as a child of this process, off the worker.
    ///
    /// # Errors
    ///
    /// Those of the system calls, for example if there is no such program.
    #[track_caller]
    pub fn spawn(&mut self) -> io::Result<Child> {
        off_worker(|| self.inner.spawn()).map(Child::from)
    }

    /// Starts the program, waits until it has ended, and returns its status and all that it has
    /// written to stdout and stderr, like [`std::process::Command::output`].
    ///
    /// Parks the green thread meanwhile, or blocks the OS thread.
    ///
    /// # Errors
    ///
    /// See [`spawn`](Self::spawn) and [`Child::wait_with_output`].
    #[track_caller]
    pub fn output(&mut self) -> io::Result<Output> {
        if !is_green() {
            return blocking(|| self.inner.output());
        }
        self.default_to(Stdio::null, Stdio::piped);
        let child = self.spawn();
        // For later children.
        self.default_to(Stdio::inherit, Stdio::inherit);
        child?.wait_with_output()
    }

    /// Sets the streams that were not chosen.
    fn default_to(&mut self, input: fn() -> Stdio, output: fn() -> Stdio) {
        let [stdin, stdout, stderr] = self.chosen;
        if !stdin {
            self.inner.stdin(input());
        }
        if !stdout {
            self.inner.stdout(output());
        }
        if !stderr {
            self.inner.stderr(output());
        }
    }

    /// Starts the program and waits until it has ended, like [`std::process::Command::status`].
    ///
    /// Parks the green thread meanwhile, or blocks the OS thread.
    ///
    /// # Errors
    ///
    /// See [`spawn`](Self::spawn) and [`Child::wait`].
    #[track_caller]
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Returns the program.
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        self.inner.get_program()
    }

    /// Returns the arguments, without the program.
    pub fn get_args(&self) -> CommandArgs<'_> {
        self.inner.get_args()
    }

    /// Returns the environment variables that were set, or removed (`None`), for the child.
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        self.inner.get_envs()
    }

    /// Returns the working directory that was set for the child.
    #[must_use]
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.inner.get_current_dir()
    }
}

impl Sealed for Command {}

impl CommandExt for Command {
    fn uid(&mut self, id: u32) -> &mut Self {
        self.inner.uid(id);
        self
    }

    fn gid(&mut self, id: u32) -> &mut Self {
        self.inner.gid(id);
        self
    }

    unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Self
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: by this function's contract, which is the same.
        unsafe { self.inner.pre_exec(f) };
        self
    }

    fn exec(&mut self) -> io::Error {
        self.inner.exec()
    }

    fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Self {
        self.inner.arg0(arg);
        self
    }

    fn process_group(&mut self, pgroup: i32) -> &mut Self {
        self.inner.process_group(pgroup);
        self
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl From<Command> for process::Command {
    fn from(command: Command) -> Self {
        command.inner
    }
}
