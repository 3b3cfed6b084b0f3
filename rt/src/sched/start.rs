//! How a scheduler starts, and how it ends.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam_deque::Injector;
use crossbeam_utils::CachePadded;
use gthread_arch::stacks::{GuardConfig, GuardKind, Pool, SizeClass};

use super::driver::Driver;
use super::idle::Idle;
use super::monitor::{self, Monitor};
use super::panic_names::name_panics;
use super::worker::{Core, Worker};
use super::world::World;
use super::{MAX_SPARES, Sched, class_of, current, explain_overflows};
use crate::prim::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, barrier, lock};
use crate::task::Waiter;
use crate::task::state::Op;

/// Address space of a green thread's stack if nobody says otherwise, guard included.
const DEFAULT_STACK: usize = 256 << 10;

/// The operation that wakes a joiner when the scheduler stops.
pub(crate) const ABANDONED: Op = 1;

/// What a scheduler is started with.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) workers: u32,
    /// The size of stacks that are not asked for by size.
    pub(crate) class: SizeClass,
    pub(crate) guard: GuardConfig,
    /// Notes how much of its stack each thread used.
    pub(crate) profile_stacks: bool,
    /// Panic messages name the green thread.
    pub(crate) name_panics: bool,
    /// Worker OS threads are called this, a dash, and their number.
    pub(crate) name: String,
}

/// What a `RuntimeBuilder` was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) workers: Option<usize>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) guard_size: Option<usize>,
    pub(crate) profile_stacks: Option<bool>,
    pub(crate) name_panics: Option<bool>,
    pub(crate) name: Option<String>,
}

impl Config {
    /// What the builder was told, else the environment, else the machine.
    pub(crate) fn new(wishes: Wishes) -> io::Result<Self> {
        let workers = match wishes.workers {
            Some(workers) => workers,
            None => match from_env("GTHREAD_WORKERS")? {
                Some(workers) => workers,
                None => thread::available_parallelism().map_or(1, usize::from),
            },
        };
        let workers = match u32::try_from(workers) {
            Ok(workers @ 1..=MAX_WORKERS) => workers,
            _ => return Err(invalid(format!("workers must be 1 to {MAX_WORKERS}, not {workers}"))),
        };
        let guard = guard(wishes.guard_size)?;
        let stack_size = match wishes.stack_size {
            Some(bytes) => Some(bytes),
            None => from_env("GTHREAD_STACK_SIZE")?,
        };
        let class = match stack_size {
            // At least half of it is stack, however large the guard.
            None => SizeClass::of_size(DEFAULT_STACK.max(2 * guard.size()))?,
            Some(bytes) => class_of(bytes, guard.size())?,
        };
        let profile_stacks = match wishes.profile_stacks {
            Some(profile) => profile,
            None => choice_from_env("GTHREAD_STACK_PROFILE", [("0", false), ("1", true)])?,
        };
        let name_panics = match wishes.name_panics {
            Some(name_panics) => name_panics,
            None => choice_from_env("GTHREAD_NAME_PANICS", [("1", true), ("0", false)])?,
        };
        let name = wishes.name.unwrap_or_else(|| "gthread".into());
        Ok(Self { workers, class, guard, profile_stacks, name_panics, name })
    }
}

/// How stacks are guarded: as asked for, else as the environment says.
pub(crate) fn guard(size: Option<usize>) -> io::Result<GuardConfig> {
    let kinds = [("auto", GuardKind::Auto), ("mprotect", GuardKind::Mprotect)];
    let kind = choice_from_env("GTHREAD_GUARD", kinds)?;
    let size = match size {
        Some(bytes) => bytes,
        None => from_env("GTHREAD_GUARD_SIZE")?.unwrap_or(0),
    };
    let mut guard = GuardConfig::new(kind).at_least(size)?;
    guard.max_maps = from_env("GTHREAD_MAX_MAPS")?;
    Ok(guard)
}

/// More workers than this are a mistake.
const MAX_WORKERS: u32 = 1024;

fn from_env(name: &str) -> io::Result<Option<usize>> {
    match std::env::var(name) {
        Ok(value) => match value.trim().parse() {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(invalid(format!("{name} must be a positive number, not {value:?}"))),
        },
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(invalid(format!("{name}: {error}"))),
    }
}

/// One of two values, by what they are called in the environment; the first if nothing is said.
fn choice_from_env<T>(name: &str, values: [(&str, T); 2]) -> io::Result<T> {
    let [(first, default), (second, other)] = values;
    match std::env::var(name).as_deref() {
        Err(std::env::VarError::NotPresent) => Ok(default),
        Ok(value) if value == first => Ok(default),
        Ok(value) if value == second => Ok(other),
        wrong => Err(invalid(format!("{name} is {first} or {second}, not {wrong:?}"))),
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// The scheduler of green threads that are started outside any runtime. Starts at the first use and
/// never ends.
///
/// # Errors
///
/// When the environment asks for nonsense, or the OS refuses threads.
pub(crate) fn default_sched() -> io::Result<&'static Arc<Sched>> {
    static DEFAULT: OnceLock<Arc<Sched>> = OnceLock::new();
    static STARTING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    if let Some(sched) = DEFAULT.get() {
        return Ok(sched);
    }
    // One starts, the others wait; one that fails leaves it to the next.
    let _starting = STARTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match DEFAULT.get() {
        Some(sched) => Ok(sched),
        None => {
            let sched = Sched::start(Config::new(Wishes::default())?)?;
            Ok(DEFAULT.get_or_init(|| sched))
        }
    }
}

impl Sched {
    /// Starts the workers and the monitor.
    ///
    /// # Errors
    ///
    /// When the OS refuses a thread. Those that were started have ended then.
    pub(crate) fn start(config: Config) -> io::Result<Arc<Self>> {
        barrier::init();
        explain_overflows();
        if config.name_panics {
            name_panics();
        }
        let workers = config.workers;
        let cores: Vec<_> = (0..workers).map(Core::new).collect();
        let remotes: Box<[OnceLock<_>]> =
            (0..workers as usize + MAX_SPARES).map(|_| OnceLock::new()).collect();
        for (remote, core) in remotes.iter().zip(&cores) {
            remote.set(Arc::clone(&core.remote)).expect("each is set once");
        }
        let sched = Arc::new(Self {
            injector: Injector::new(),
            tally: CachePadded::default(),
            remotes,
            used: AtomicUsize::new(workers as usize),
            idle: Idle::new(workers),
            driver: Driver::new(),
            monitor: Monitor::new(),
            world: World::new(),
            clock: CachePadded::new(AtomicU64::new(0)),
            pool: Pool::new(config.guard),
            stack_sites: Mutex::default(),
            stopped: AtomicBool::new(false),
            threads: Mutex::new(Vec::new()),
            cores: Mutex::new(Vec::new()),
            joiners: Mutex::new(Some(Vec::new())),
            config,
        });
        match sched.start_threads(cores) {
            Ok(()) => {
                sched.register();
                Ok(sched)
            }
            Err(error) => {
                sched.stop();
                Err(error)
            }
        }
    }

    fn start_threads(self: &Arc<Self>, cores: Vec<Core>) -> io::Result<()> {
        let sched = Arc::clone(self);
        let name = format!("{}-monitor", self.config.name);
        let monitor = thread::Builder::new().name(name).spawn(move || {
            let _abort = AbortOnUnwind;
            monitor::run(&sched);
        });
        let monitor = monitor.map_err(|error| refused(&error))?;
        lock(&self.threads).push(monitor);
        for core in cores {
            self.start_worker(core, false).map_err(|(_, error)| refused(&error))?;
        }
        Ok(())
    }

    /// Starts a worker's OS thread. Gives the deques back if the OS refuses.
    pub(super) fn start_worker(
        self: &Arc<Self>,
        core: Core,
        searching: bool,
    ) -> Result<(), (Box<Core>, io::Error)> {
        // The closure is lost if the OS refuses, so the deques go through a place that is not.
        let place = Arc::new(Mutex::new(Some(core)));
        let (sched, inside) = (Arc::clone(self), Arc::clone(&place));
        let index = lock(&place).as_ref().map_or(0, |core| core.index);
        let name = format!("{}-{index}", self.config.name);
        let started = thread::Builder::new().name(name).spawn(move || {
            let _abort = AbortOnUnwind;
            let core = lock(&inside).take().expect("the core is taken by its worker alone");
            let worker = Worker::new(Arc::clone(&sched), core, searching);
            worker.run();
            sched.keep_core(worker.into_core());
        });
        match started {
            Ok(thread) => {
                lock(&self.threads).push(thread);
                Ok(())
            }
            Err(error) => {
                let core = lock(&place).take().expect("no worker was started to take it");
                Err((Box::new(core), error))
            }
        }
    }

    /// Deques for a spare: those of one that ended, else new ones, while there is room.
    pub(super) fn spare_core(&self) -> Option<Core> {
        if let Some(core) = lock(&self.cores).pop() {
            return Some(core);
        }
        // The monitor alone grows the list, and not while a dump asks all who are in it to stop.
        let _going = self.world.keep_going();
        let index = self.used.load(Ordering::Relaxed);
        let remote = self.remotes.get(index)?;
        let core = Core::new(u32::try_from(index).ok()?);
        remote.set(Arc::clone(&core.remote)).expect("each is set once");
        self.used.store(index + 1, Ordering::Release);
        Some(core)
    }

    pub(super) fn keep_core(&self, core: Core) {
        lock(&self.cores).push(core);
    }

    /// Ends the scheduler: its OS threads end as soon as the tasks they run suspend. What is not
    /// finished then never is. Waits for the OS threads, unless called on one of them: then another
    /// thread does.
    pub(crate) fn stop(self: &Arc<Self>) {
        self.unregister();
        self.stopped.store(true, Ordering::SeqCst);
        let inside = current::with(|worker| worker.is_some_and(|worker| worker.serves(self)));
        if !inside {
            return self.wait_for_threads();
        }
        self.wake_all();
        let sched = Arc::clone(self);
        let name = format!("{}-reaper", self.config.name);
        if thread::Builder::new().name(name).spawn(move || sched.wait_for_threads()).is_err() {
            // The OS has no thread for it: leave everything as it is, for ever.
            std::mem::forget(Arc::clone(self));
        }
    }

    fn wake_all(&self) {
        self.monitor.rouse();
        self.workers().for_each(|worker| worker.parker.unpark());
    }

    fn wait_for_threads(self: &Arc<Self>) {
        loop {
            // Each time: a thread that was joined may have started another.
            self.wake_all();
            let Some(thread) = lock(&self.threads).pop() else { break };
            thread.join().expect("the runtime's own threads abort rather than panic");
        }
        self.abandon_joiners();
        // Tasks that did not finish keep their slots, and through them use the scheduler.
        if self.pool.outstanding() > 0 {
            std::mem::forget(Arc::clone(self));
        }
    }
}

/// A panic on a stack of the runtime's own is a bug of ours, and leaves tasks that nobody will run. The
/// panic has been printed; better end than hang.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("fatal: gthread's scheduler panicked; this is a bug in gthread");
            std::process::abort();
        }
    }
}

/// Threads outside the scheduler that wait for one of its tasks to end. A scheduler that stops must
/// not leave them waiting.
impl Sched {
    /// Registers an armed wait: false if the scheduler has stopped.
    #[must_use]
    pub(crate) fn add_joiner(&self, waiter: Waiter) -> bool {
        lock(&self.joiners).as_mut().map(|joiners| joiners.push(waiter)).is_some()
    }

    /// Withdraws it. Afterwards the scheduler does not know the waiter.
    pub(crate) fn remove_joiner(&self, waiter: Waiter) {
        if let Some(joiners) = &mut *lock(&self.joiners) {
            if let Some(place) = joiners.iter().position(|&other| other == waiter) {
                joiners.swap_remove(place);
            }
        }
    }

    fn abandon_joiners(&self) {
        let mut joiners = lock(&self.joiners);
        for waiter in joiners.take().into_iter().flatten() {
            // SAFETY: it is registered, and leaves only under the lock that we hold.
            unsafe { waiter.claim(ABANDONED) }.into_iter().for_each(super::wake);
        }
    }
}

fn refused(error: &io::Error) -> io::Error {
    let message = format!(
        "cannot start the runtime's OS threads: {error}; the limit may be ulimit -u, the control \
         group's pids.max, or memory"
    );
    io::Error::new(error.kind(), message)
}
