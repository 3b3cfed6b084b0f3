//! Runtimes as values.

use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;

use crate::sched::{Config, Sched, current};
use crate::scope::run_in;
use crate::spawn::{JoinHandle, Options, start_in};

/// A scheduler with its own workers, beside the default one: for tests, and for isolation.
///
/// Green threads that are started in a green thread belong to the same runtime as it. Channels, join
/// handles and all else work across runtimes.
///
/// Dropping a runtime ends its OS threads as soon as the green threads that they run suspend, and waits
/// for that (a green thread that never does makes the drop wait for ever). Green threads that have not
/// ended by then never run again: they are leaked with all they own, as std leaves detached threads
/// when a process exits. Those that wait to join them get an error. A runtime that is dropped on one of
/// its own green threads cannot wait for itself, and is left to end behind.
///
/// # Examples
///
/// ```
/// let runtime = gthread::Runtime::builder().workers(2).build()?;
/// let sum = runtime.run(|| {
///     let (a, b) = gthread::join(|| 1, || 2);
///     a + b
/// });
/// assert_eq!(sum, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Runtime {
    sched: Arc<Sched>,
}

impl Runtime {
    /// A builder with the defaults.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// Runs `f` as a green thread of this runtime and gives its result. `f` may borrow. Blocks the OS
    /// thread that calls, or parks the green thread of another runtime; in a green thread of this
    /// one, calls `f`.
    ///
    /// # Panics
    ///
    /// With `f`'s payload if it panics. If no stack can be had.
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let site = Location::caller();
        if self.is_current() { f() } else { run_in(&self.sched, site, f) }
    }

    /// Starts a green thread in this runtime. It is queued; the caller goes on.
    ///
    /// # Panics
    ///
    /// If no stack can be had.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: the types are `Send` and `'static`.
        match unsafe { start_in(&self.sched, Options::new(Location::caller()), f) } {
            Ok(handle) => handle,
            Err(error) => panic!("failed to spawn a green thread: {error}"),
        }
    }

    /// What the runtime has counted so far: a snapshot, cheap to take.
    pub fn metrics(&self) -> Metrics {
        let counts = self.sched.counts();
        Metrics {
            workers: self.sched.config.workers as usize,
            spare_workers: counts.threads - self.sched.config.workers as usize,
            picks: counts.picks,
            steals: counts.steals,
            stacks: counts.stacks,
        }
    }

    fn is_current(&self) -> bool {
        current::with(|worker| {
            worker.is_some_and(|worker| worker.running().is_some() && worker.serves(&self.sched))
        })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.sched.stop();
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("config", &self.sched.config).finish_non_exhaustive()
    }
}

/// What a [`Runtime`] has counted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// Workers it was built with.
    pub workers: usize,
    /// OS threads ever needed at once beyond them, to cover for workers that blocked.
    pub spare_workers: usize,
    /// Tasks picked to run, counting one that is resumed again each time.
    pub picks: u64,
    /// Times a worker took work from another.
    pub steals: u64,
    /// Stacks in use or cached by a worker.
    pub stacks: usize,
}

/// Configures a [`Runtime`].
#[must_use = "a builder starts nothing until it builds"]
#[derive(Clone, Debug, Default)]
pub struct RuntimeBuilder {
    workers: Option<usize>,
    stack_size: Option<usize>,
    name: Option<String>,
}

impl RuntimeBuilder {
    /// How many green threads run at once, 1 to 1,024. If not given, `GTHREAD_WORKERS`, else
    /// [`std::thread::available_parallelism`].
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Bytes of stack that a green thread can use if its [`Builder`](crate::Builder) says nothing. If
    /// not given, `GTHREAD_STACK_SIZE`, else 256 KiB less the guard page.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// The worker OS threads are called `name-0`, `name-1`, …; "gthread" if not given.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for numbers out of range, here or in the
    /// environment; otherwise what the OS says when it refuses threads.
    pub fn build(self) -> io::Result<Runtime> {
        let config = Config::new(self.workers, self.stack_size, self.name)?;
        Ok(Runtime { sched: Sched::start(config)? })
    }
}
