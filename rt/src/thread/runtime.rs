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
/// Green threads that are started in a green thread belong to the same runtime as it. Channels, join
/// handles and all else work across runtimes.
///
/// # Dropping a runtime
///
/// Dropping a runtime ends its OS threads as soon as the green threads that they run suspend, and waits
/// for that: a green thread that never does makes the drop wait for ever. Those that are runnable then, because
/// they were woken or have yielded, run once more until they suspend. Those that have not started do not start.
///
/// Green threads that have not ended by then never run again. They are leaked with all they own, as std leaves
/// detached threads when a process exits: memory, the guard of a lock, a permit, the message of a `send` that has
/// not been received, what runs inside a [`Once`](crate::sync::Once). A lock that such a thread holds stays locked.
/// Arrival at a [`Barrier`](crate::sync::Barrier) counts.
///
/// Where they wait for something they are passed over. A lock, permit, message or notification goes to
/// others that wait for it, on OS threads or in another runtime, as if the wait had timed out. Those that wait
/// to join such a thread get an error.
///
/// A runtime that is dropped on one of its own green threads cannot wait for itself, and is left to end behind.
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
    /// As [`RuntimeBuilder::build`].
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
        if self.is_current() { f() } else { run_in(&self.shared, site, f) }
    }

    /// Starts a green thread in this runtime. It is queued; the caller goes on.
    ///
    /// # Panics
    ///
    /// If no stack can be had; [`Builder::spawn_in`] gives an error instead.
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: the types are `Send` and `'static`.
        match unsafe { start_in(&self.shared, Options::new(Location::caller()), f) } {
            Ok(handle) => handle,
            Err(error) => panic!("failed to spawn a green thread: {error}"),
        }
    }

    /// What the runtime has counted so far. Cheap: it reads counters that each worker keeps for itself, in a
    /// line of its own, so counting slows nobody down. The counters are not all of one moment.
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

    /// The green threads of this runtime as they are at one moment: as [`dump`](crate::diagnostics::dump).
    pub fn dump(&self) -> RuntimeDump {
        let census = Snapshot::take(std::slice::from_ref(&self.shared));
        let mut dump = blocking(|| census.into_dump());
        dump.runtimes.pop().expect("one scheduler, one dump")
    }

    /// Whether a deadlock has ended waits of its threads.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.shared.was_interrupted()
    }

    /// Whether green threads of it have not ended.
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
    /// Starts a green thread in a given runtime, from anywhere. It is queued; the caller goes on: not a suspension
    /// point.
    ///
    /// A thread that is [pinned](Builder::pinned) gets one of the runtime's workers.
    ///
    /// # Errors
    ///
    /// As [`Builder::spawn`].
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
        // SAFETY: the types are `Send` and `'static`.
        unsafe { start_in(&runtime.shared, self.options(Location::caller()), f) }
    }
}

// A panic elsewhere leaves nothing half done here.
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

/// What a [`Runtime`] has counted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// Workers it was built with.
    pub workers: usize,
    /// OS threads ever needed at once beyond them, to cover for workers that blocked.
    pub spare_workers: usize,
    /// Tasks picked to run, counting one that is resumed again each time.
    pub task_switches: u64,
    /// Picks that looked first at what the usual order leaves waiting: every 61st.
    pub ticks: u64,
    /// Searches of workers that had run out of work. Few lead to a steal if the program has little parallelism.
    pub searches: u64,
    /// Times work went from one worker to another that had none: one continuation, or some ready tasks.
    pub steals: u64,
    /// Those of the steals that took what a stuck worker had not exposed. Cost a system call each. Some are the
    /// monitor's, not a worker's.
    pub takeovers: u64,
    /// Times a worker exposed tasks, because another had none.
    pub publications: u64,
    /// Times a worker went to sleep.
    pub sleeps: u64,
    /// Times a sleeping worker was woken because there was work. A system call each.
    pub wakes: u64,
    /// Tasks made runnable through the shared queue: by OS threads, and by workers that block or retire.
    pub injected: u64,
    /// What each worker has counted, spares last.
    pub per_worker: Vec<WorkerMetrics>,
    /// Stacks in use or cached by a worker.
    pub stacks: usize,
    /// How threads that have ended used their stacks, by where they were spawned, the deepest first.
    /// Empty but for [`RuntimeBuilder::profile_stacks`].
    pub stack_sites: Vec<StackSite>,
}

/// How the green threads that one place in the program spawned used their stacks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StackSite {
    /// Where they were spawned.
    pub site: &'static Location<'static>,
    /// How many have ended.
    pub threads: u64,
    /// The most bytes of stack that one of them has used: what
    /// [`Builder::stack_size`](crate::Builder::stack_size) must be at least.
    pub high_water: usize,
}

/// Configures a [`Runtime`].
#[must_use = "a builder starts nothing until it builds"]
#[derive(Clone, Debug, Default)]
pub struct RuntimeBuilder {
    wishes: Wishes,
}

impl RuntimeBuilder {
    /// How many green threads run at once, 1 to 1,024. If not given, `GTHREAD_WORKERS`, else
    /// [`std::thread::available_parallelism`].
    #[doc(alias = "GOMAXPROCS", alias = "worker_threads")]
    pub fn workers(mut self, workers: usize) -> Self {
        self.wishes.workers = Some(workers);
        self
    }

    /// How many OS threads there may be beyond the workers, 1 to 32,768. If not given, `GTHREAD_MAX_SPARES`, else 1,024.
    ///
    /// A green thread that blocks its OS thread, in a system call or in a lock of std, keeps it; then a spare OS thread
    /// runs the others in its place, if tasks wait. It is the same for green threads that compute for long. A spare
    /// ends after a second without work. When there are as many as allowed, what is ready waits until a worker is free, and
    /// a line on stderr says so, once.
    pub fn max_spares(mut self, spares: usize) -> Self {
        self.wishes.max_spares = Some(spares);
        self
    }

    /// Bytes of stack that a green thread can use if its [`Builder`](crate::Builder) says nothing. If
    /// not given, `GTHREAD_STACK_SIZE`, else 256 KiB less the guard page.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.wishes.stack_size = Some(bytes);
        self
    }

    /// Bytes of guard below each stack, at least. If not given, `GTHREAD_GUARD_SIZE`, else what Rust's
    /// stack probes need: 4 KiB, on AArch64 64 KiB. For threads that call foreign code which was
    /// compiled without probes (`-fstack-clash-protection`) and has larger frames than that. A guard
    /// costs address space only, and is at most 128 MiB.
    pub fn guard_size(mut self, bytes: usize) -> Self {
        self.wishes.guard_size = Some(bytes);
        self
    }

    /// Notes how much of its stack each green thread has used when it ends, for
    /// [`Metrics::stack_sites`]. If not given, `GTHREAD_STACK_PROFILE=1`, else not. Costs some
    /// microseconds a thread: every stack is emptied before it is used again.
    pub fn profile_stacks(mut self, profile: bool) -> Self {
        self.wishes.profile_stacks = Some(profile);
        self
    }

    /// Whether to find out that every green thread is asleep for ever, and that so is every other thread of the
    /// process (each waits in gthread, and for no deadline). Then what they all wait for is printed, and the process
    /// ends with status 2. Like Go's "all goroutines are asleep".
    ///
    /// If an OS thread does anything else, sleep or wait in std for example, it may be about to wake a
    /// green thread. Then a warning is printed, once, when all have been asleep for five seconds while the main thread waits
    /// in gthread, or any thread in `run` or `join`. Nothing else comes of it.
    ///
    /// If not given, what `GTHREAD_DEADLOCK` says, else it is on:
    ///
    /// - `on`, `off`.
    /// - `panic`, for tests: everybody panics who waits for a message, to send one, in a `select!`, to be unparked, for a
    ///   condition variable, a semaphore, a barrier or a wait group. So the test fails that hangs, and the others go on. If nobody
    ///   waits so, as in a circle of locks, the process ends. It takes less certainty: OS threads that wait in std for
    ///   others do not count, for a second; whatever they do, when the process has hardly used the processor for ten.
    ///   [`testing::check_leaks`](crate::testing::check_leaks) does this by itself.
    ///
    /// It costs a program that runs nothing. Switch it off if the hang is intended, as in a main thread that waits to be
    /// killed by a signal. A runtime for which it is off keeps all others from being reported: it may be about to wake
    /// somebody. `true` here leaves the choice between `on` and `panic` to the environment.
    pub fn deadlock_detection(mut self, detect: bool) -> Self {
        self.wishes.detect_deadlocks = Some(detect);
        self
    }

    /// What to do about green threads that have not ended when the runtime is dropped. If not given, what
    /// `GTHREAD_LEAKS` says, `print`, `panic` or `ignore`, else they are printed. For tests there is
    /// [`testing::check_leaks`](crate::testing::check_leaks).
    ///
    /// A runtime that is dropped on one of its own green threads cannot panic for them, and prints.
    pub fn report_leaks(mut self, leaks: Leaks) -> Self {
        self.wishes.leaks = Some(leaks);
        self
    }

    /// Whether panic messages name the green thread: before the message of the panic hook comes a line
    /// as
    ///
    /// ```text
    /// green thread 7 'parser' (spawned at src/main.rs:3:5) panicked at src/main.rs:9:14, on OS thread 'gthread-0':
    /// ```
    ///
    /// If not given, they do unless `GTHREAD_NAME_PANICS=0`. The first runtime of the process that names
    /// panics, as a rule the default one, wraps the hook that is set then, for all; a hook that is set
    /// later replaces it, and may find out by [`current`](crate::current) who panics.
    pub fn name_panics(mut self, name: bool) -> Self {
        self.wishes.name_panics = Some(name);
        self
    }

    /// Asks the kernel for shorter time slices for the runtime's OS threads (Linux 6.12 and later). Off if
    /// not given.
    ///
    /// A thread with a short slice that wakes up preempts one with a long slice, so a worker that is woken
    /// from idle on a busy processor runs sooner. The share of the processor stays the same, and no
    /// privilege is needed. Without `CAP_SYS_NICE` the OS threads then cannot be given another scheduling
    /// policy. A kernel that has no slices to ask for, or a process whose system calls are filtered, is
    /// left as it is, without an error.
    pub fn short_slices(mut self, short: bool) -> Self {
        self.wishes.short_slices = short;
        self
    }

    /// Chaos: a runtime that does what the usual one may do, as often as it can. For tests, to find what
    /// relies on the usual. If not given, `GTHREAD_CHAOS`, a number or `random`; 0 is none.
    ///
    /// Whatever becomes runnable is run in random order, as a rule by another worker than before: so a
    /// green thread comes back on another OS thread from most suspensions, if there are two workers at
    /// least. `go!` goes on with the child or with the parent. In builds with debug assertions a green
    /// thread is also suspended at random where it could be and need not be, as by a `recv` that finds a
    /// message; inside [`no_switch`](crate::wait::no_switch) such places panic at random then.
    ///
    /// All choices follow from `seed`; but what there is to choose from depends on timing, and with it how a
    /// run goes. A seed from the environment is printed on stderr, once. Programs run some ten times slower.
    pub fn chaos(mut self, seed: u64) -> Self {
        self.wishes.chaos = Some(seed);
        self
    }

    /// The worker OS threads are called `name-0`, `name-1`, …; "gthread" if not given. (Linux shows the first 15
    /// bytes.) Must not contain a NUL byte.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.wishes.name = Some(name.into());
        self
    }

    /// A runtime for one test: a deadlock is a panic, unless the environment says otherwise.
    pub(crate) fn for_test(mut self) -> Self {
        self.wishes.for_test = true;
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for numbers out of range, here or in the
    /// environment, and for a name with a NUL byte in it; [`Unsupported`](io::ErrorKind::Unsupported) in the child of a `fork` of a process that had
    /// a runtime; otherwise what the OS says when it refuses threads.
    pub fn build(self) -> io::Result<Runtime> {
        let config = Config::new(self.wishes)?;
        Ok(Runtime { shared: boot::start(config)? })
    }
}
