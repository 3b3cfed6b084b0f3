//! Runtimes as values.

use std::cmp::Reverse;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::{fmt, io};

use crate::boot;
use crate::diagnostics::dump::RuntimeDump;
use crate::diagnostics::snapshot::Snapshot;
use crate::runtime::config::{Config, Wishes};
use crate::runtime::metrics::WorkerMetrics;
use crate::runtime::shared::Shared;
use crate::runtime::{context, lifecycle};
use crate::thread::scope::run_in;
use crate::thread::spawn::{Builder, JoinHandle, Options, start_in};
use crate::wait::park::blocking;

pub use crate::runtime::config::Leaks;

/// A scheduler with its own workers, beside the default one: for tests, and for isolation.
///
/// Green threads that are started in a green thread belong to the same runtime. Channels, join
/// handles and everything else work across runtimes.
///
/// # Dropping a runtime
///
/// Dropping a runtime ends its OS threads as soon as the green threads that they run suspend, and
/// waits for that. A green thread that never suspends makes the drop wait for ever. Green threads
/// that are runnable at that time, because they were woken or have yielded, run once more until
/// they suspend. Threads that have not started yet do not start.
///
/// Green threads that have not ended by then never run again. They are leaked with all they own, as
/// std leaves detached threads when a process exits: memory, the guard of a lock, a permit, the
/// message of a `send` that has not been received, a running closure of a
/// [`Once`](crate::sync::Once). A lock that such a thread holds stays locked. Arrival at a
/// [`Barrier`](crate::sync::Barrier) counts.
///
/// If such a thread waits for something, it is passed over. A lock, permit, message or notification
/// goes to other waiters, on OS threads or in another runtime, as if the wait had timed out.
/// Threads that wait to join such a thread get an error.
///
/// A runtime that is dropped on one of its own green threads cannot wait for itself: it ends in the
/// background.
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
#[doc(alias = "scheduler", alias = "executor")]
pub struct Runtime {
    shared: Arc<Shared>,
}

impl Runtime {
    /// Starts a runtime with the defaults of [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// See [`RuntimeBuilder::build`].
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = gthread::Runtime::new()?;
    /// assert_eq!(runtime.spawn(|| 1).join().unwrap(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Returns a builder with the defaults.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// Runs `f` as a green thread of this runtime and returns its result. `f` may borrow. Blocks
    /// the calling OS thread, or parks the calling green thread of another runtime. In a green
    /// thread of this runtime it just calls `f`.
    ///
    /// # Panics
    ///
    /// If `f` panics, with its payload. If no stack can be had.
    #[track_caller]
    pub fn run<F, T>(&self, f: F) -> T
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let site = Location::caller();
        if self.is_current() { f() } else { run_in(&self.shared, site, f) }
    }

    /// Starts a green thread in this runtime. It is queued, and the caller continues.
    ///
    /// # Panics
    ///
    /// If no stack can be had; [`Builder::spawn_in`] returns an error instead.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: the types are `Send` and `'static`, so they may be sent and borrow nothing.
        match unsafe { start_in(&self.shared, Options::new(Location::caller()), f) } {
            Ok(handle) => handle,
            Err(error) => panic!("failed to spawn a green thread: {error}"),
        }
    }

    /// Returns what the runtime has counted so far. Cheap: it reads counters that each worker keeps
    /// in a separate cache line, so counting slows no worker down. The counters are not all of one
    /// moment.
    pub fn metrics(&self) -> Metrics {
        let counts = self.shared.counts();
        let all = counts.iter().fold(WorkerMetrics::default(), WorkerMetrics::and);
        let [injected, wakes, moved_on] = self.shared.shared_counts();
        Metrics {
            workers: self.shared.config.workers as usize,
            spare_workers: counts.len() - self.shared.config.workers as usize,
            task_switches: all.task_switches,
            ticks: all.ticks,
            searches: all.searches,
            steals: all.steals + moved_on,
            takeovers: all.takeovers + moved_on,
            publications: all.publications,
            sleeps: all.sleeps,
            wakes,
            injected,
            per_worker: counts,
            stacks: self.shared.pool().outstanding(),
            stack_sites: self.stack_sites(),
        }
    }

    /// Returns the green threads of this runtime as they are at one moment, like
    /// [`dump`](crate::dump).
    pub fn dump(&self) -> RuntimeDump {
        let snapshot = Snapshot::take(std::slice::from_ref(&self.shared));
        let mut dump = blocking(|| snapshot.into_dump());
        dump.runtimes.pop().expect("one scheduler, one dump")
    }

    /// Returns `true` if a deadlock has ended waits of its threads.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.shared.was_interrupted()
    }

    /// Returns `true` if some of its green threads have not ended.
    pub(crate) fn has_threads(&self) -> bool {
        self.shared.has_threads()
    }

    fn stack_sites(&self) -> Vec<StackSite> {
        let mut sites = self.shared.stack_sites();
        sites.sort_by_key(|(site, stack_use)| (Reverse(stack_use.high_water), *site));
        let public = sites.into_iter().map(|(site, stack_use)| StackSite {
            site,
            threads: stack_use.threads,
            high_water: stack_use.high_water,
        });
        public.collect()
    }

    fn is_current(&self) -> bool {
        context::with(|worker| {
            worker.is_some_and(|worker| worker.running().is_some() && worker.serves(&self.shared))
        })
    }
}

impl Builder {
    /// Starts a green thread in a given runtime, from anywhere. It is queued, and the caller
    /// continues: not a suspension point.
    ///
    /// A thread that is [pinned](Builder::pinned) gets one of the runtime's workers.
    ///
    /// # Errors
    ///
    /// See [`Builder::spawn`].
    ///
    /// # Panics
    ///
    /// If the name contains a NUL byte.
    ///
    /// # Examples
    ///
    /// ```
    /// let runtime = gthread::Runtime::builder().workers(1).build()?;
    /// let thread = gthread::Builder::new().name("inside".into()).spawn_in(&runtime, || 7)?;
    /// assert_eq!(thread.join().unwrap(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_in<F, T>(self, runtime: &Runtime, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: the types are `Send` and `'static`, so they may be sent and borrow nothing.
        unsafe { start_in(&runtime.shared, self.options(Location::caller()), f) }
    }
}

// A panic elsewhere leaves no partial change here.
impl UnwindSafe for Runtime {}
impl RefUnwindSafe for Runtime {}

impl Drop for Runtime {
    fn drop(&mut self) {
        lifecycle::stop(&self.shared);
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// The counters of a [`Runtime`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// The number of workers it was built with.
    pub workers: usize,
    /// The maximal number of additional OS threads that were needed at once, to take over for
    /// workers that blocked.
    pub spare_workers: usize,
    /// The number of task switches. A task that is resumed again is counted each time.
    pub task_switches: u64,
    /// The number of switches that first looked at tasks which the usual order leaves waiting:
    /// every 61st.
    pub ticks: u64,
    /// The number of searches by workers that had run out of work. Few lead to a steal if the
    /// program has little parallelism.
    pub searches: u64,
    /// The number of times that work moved from one worker to another that had none: one
    /// continuation, or several ready tasks.
    pub steals: u64,
    /// The number of steals that took work which a stuck worker had not published. Each costs a
    /// system call. Some are made by sysmon, not by a worker.
    pub takeovers: u64,
    /// The number of times that a worker published tasks, because another worker had none.
    pub publications: u64,
    /// The number of times that a worker went to sleep.
    pub sleeps: u64,
    /// The number of times that a sleeping worker was woken because there was work. A system call
    /// each.
    pub wakes: u64,
    /// The number of tasks made runnable through the shared queue: by OS threads, and by workers
    /// that block or retire.
    pub injected: u64,
    /// The counters of each worker, spare workers last.
    pub per_worker: Vec<WorkerMetrics>,
    /// The number of stacks in use or cached by a worker.
    pub stacks: usize,
    /// The stack use of threads that have ended, by the location where they were spawned, the
    /// deepest first. Empty without [`RuntimeBuilder::profile_stacks`].
    pub stack_sites: Vec<StackSite>,
}

/// The stack use of the green threads that one location in the program spawned.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StackSite {
    /// The location where they were spawned.
    pub site: &'static Location<'static>,
    /// The number of threads that have ended.
    pub threads: u64,
    /// The most bytes of stack that one of them has used: the minimum for
    /// [`Builder::stack_size`](crate::Builder::stack_size).
    pub high_water: usize,
}

/// Configures a [`Runtime`].
#[must_use = "a builder starts nothing until it builds"]
#[derive(Clone, Debug, Default)]
pub struct RuntimeBuilder {
    wishes: Wishes,
}

impl RuntimeBuilder {
    /// Sets how many green threads run at once, 1 to 1,024. The default is the value of
    /// `GTHREAD_WORKERS`, or [`std::thread::available_parallelism`] if that is not set.
    #[doc(alias = "GOMAXPROCS", alias = "worker_threads")]
    pub fn workers(mut self, workers: usize) -> Self {
        self.wishes.workers = Some(workers);
        self
    }

    /// Sets how many OS threads there may be in addition to the workers, 1 to 32,768. The default
    /// is the value of `GTHREAD_MAX_SPARES`, or 1,024 if that is not set.
    ///
    /// A green thread that blocks its OS thread, in a system call or in a lock of std, keeps it. If
    /// tasks wait, a spare OS thread then runs them in its place. The same applies to green threads
    /// that compute for long. A spare thread ends after a second without work. When there are as
    /// many as allowed, ready tasks wait until a worker is free, and a line on stderr says so,
    /// once.
    pub fn max_spares(mut self, spares: usize) -> Self {
        self.wishes.max_spares = Some(spares);
        self
    }

    /// Sets the bytes of stack that a green thread can use if its [`Builder`](crate::Builder) sets
    /// none. The default is the value of `GTHREAD_STACK_SIZE`, or 256 KiB less the guard page if
    /// that is not set.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.wishes.stack_size = Some(bytes);
        self
    }

    /// Sets the minimal bytes of guard below each stack. The default is the value of
    /// `GTHREAD_GUARD_SIZE`, or, if that is not set, the size that Rust's stack probes need: 4 KiB,
    /// on AArch64 64 KiB. Raise it for threads that call foreign code which was compiled without
    /// probes (`-fstack-clash-protection`) and has larger frames than that. A guard costs address
    /// space only, and is at most 128 MiB.
    pub fn guard_size(mut self, bytes: usize) -> Self {
        self.wishes.guard_size = Some(bytes);
        self
    }

    /// Records how much of its stack each green thread has used when it ends, for
    /// [`Metrics::stack_sites`]. The default is off, unless `GTHREAD_STACK_PROFILE=1`. Costs a few
    /// microseconds per thread: every stack is emptied before it is used again.
    pub fn profile_stacks(mut self, profile: bool) -> Self {
        self.wishes.profile_stacks = Some(profile);
        self
    }

    /// Sets whether to detect that every green thread is asleep for ever, and so is every other
    /// thread of the process (each waits in gthread, without a deadline). The report of what they
    /// wait for is then printed, and the process ends with status 2. Like Go's "all goroutines are
    /// asleep".
    ///
    /// If an OS thread does anything else, for example sleep or wait in std, it may be about to
    /// wake a green thread. Then only a warning is printed, once, when all green threads have been
    /// asleep for five seconds while the main thread waits in gthread, or any thread waits in `run`
    /// or `join`. The warning has no other effect.
    ///
    /// The default is the value of `GTHREAD_DEADLOCK`, or `on` if that is not set:
    ///
    /// - `on`, `off`.
    /// - `panic`, for tests: all threads panic that wait for a message, to send one, in a
    ///   `select!`, to be unparked, for a condition variable, a semaphore, a barrier or a wait
    ///   group. So the test that hangs fails, and the others continue. If no thread waits in such a
    ///   way, as in a circle of locks, the process ends. This mode needs less certainty. OS threads
    ///   that wait in std for others do not count after a second. No OS thread counts, whatever it
    ///   does, when the process has hardly used the processor for ten seconds.
    ///   [`testing::check_leaks`](crate::testing::check_leaks) does this by itself.
    ///
    /// It costs a running program nothing. Switch it off if the hang is intended, as in a main
    /// thread that waits to be killed by a signal. A runtime for which it is off keeps all others
    /// from being reported, because it may be about to wake one of their threads. `true` leaves the
    /// choice between `on` and `panic` to the environment.
    pub fn deadlock_detection(mut self, detect: bool) -> Self {
        self.wishes.detect_deadlocks = Some(detect);
        self
    }

    /// Sets what to do about green threads that have not ended when the runtime is dropped. The
    /// default is the value of `GTHREAD_LEAKS` (`print`, `panic` or `ignore`), or `print` if that
    /// is not set. For tests there is [`testing::check_leaks`](crate::testing::check_leaks).
    ///
    /// A runtime that is dropped on one of its own green threads cannot panic for them, and prints
    /// them.
    pub fn report_leaks(mut self, leaks: Leaks) -> Self {
        self.wishes.leaks = Some(leaks);
        self
    }

    /// Sets whether panic messages name the green thread. A line like the following then precedes
    /// the message of the panic hook:
    ///
    /// ```text
    /// green thread 7 'parser' (spawned at src/main.rs:3:5) panicked at src/main.rs:9:14, on OS thread 'gthread-0':
    /// ```
    ///
    /// The default is on, unless `GTHREAD_NAME_PANICS=0`. The first runtime of the process that
    /// names panics, usually the default one, wraps the hook that is set at that time, for all
    /// runtimes. A hook that is set later replaces it, and can find the panicking thread with
    /// [`current`](crate::current).
    pub fn name_panics(mut self, name: bool) -> Self {
        self.wishes.name_panics = Some(name);
        self
    }

    /// Asks the kernel for shorter time slices for the runtime's OS threads (Linux 6.12 and later).
    /// The default is off.
    ///
    /// A thread with a short slice that wakes up preempts one with a long slice, so a worker that
    /// is woken from idle on a busy processor runs sooner. The share of the processor stays the
    /// same, and no privilege is needed. Without `CAP_SYS_NICE` the OS threads then cannot be given
    /// another scheduling policy. A kernel that does not support slices, or a process whose system
    /// calls are filtered, is left as it is, without an error.
    pub fn short_slices(mut self, short: bool) -> Self {
        self.wishes.short_slices = short;
        self
    }

    /// Enables chaos: the runtime does everything that it may do, as often as it can. For tests, to
    /// find code that relies on the usual behaviour. The default is `GTHREAD_CHAOS`, a number or
    /// `random`; 0 is off.
    ///
    /// Threads that become runnable are run in random order, usually by another worker than before.
    /// So with two or more workers a green thread comes back from most suspensions on another OS
    /// thread. `go!` continues with the child or with the parent. In builds with debug assertions a
    /// green thread is also suspended at random where it could be but need not be, for example by a
    /// `recv` that finds a message. Inside [`no_switch`](crate::no_switch) such places panic
    /// at random instead.
    ///
    /// All choices follow from `seed`. But the set of choices depends on timing, and so does the
    /// course of a run. A seed from the environment is printed on stderr, once. Programs run about
    /// ten times slower.
    pub fn chaos(mut self, seed: u64) -> Self {
        self.wishes.chaos = Some(seed);
        self
    }

    /// Names the worker OS threads `name-0`, `name-1`, …; the default is "gthread". (Linux shows
    /// the first 15 bytes.) Must not contain a NUL byte.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.wishes.name = Some(name.into());
        self
    }

    /// Configures a runtime for one test: a deadlock is a panic, unless the environment says
    /// otherwise.
    pub(crate) fn for_test(mut self) -> Self {
        self.wishes.for_test = true;
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for numbers out of range, here or in the
    /// environment, and for a name that contains a NUL byte.
    /// [`Unsupported`](io::ErrorKind::Unsupported) in the child of a `fork` of a process that had a
    /// runtime. Otherwise the OS's error when it refuses threads.
    pub fn build(self) -> io::Result<Runtime> {
        let config = Config::new(self.wishes)?;
        Ok(Runtime { shared: boot::start(config)? })
    }
}
