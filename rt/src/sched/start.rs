//! How a scheduler starts, and how it ends.

use std::io::{self, Write as _};
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam_deque::Injector;
use crossbeam_utils::CachePadded;
use gthread_arch::stacks::Pool;

use super::at_fork::watch_forks;
use super::chaos::Chaos;
use super::config::{Config, Leaks, Wishes};
use super::driver::Driver;
use super::hogs::Hogs;
use super::idle::Idle;
use super::last::LastTurns;
use super::monitor::{self, Monitor};
use super::panic_names::name_panics;
use super::pause::Pause;
use super::slice;
use super::timed_joiners::TimedJoiners;
use super::worker::{Core, Worker};
use super::world::World;
use super::{Census, Sched, current, dump_on_sigquit, explain_overflows};
use crate::dump::Quoted;
use crate::forked;
use crate::prim::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, barrier, lock};
use crate::task::Waiter;
use crate::task::state::Op;

/// The operation that wakes a joiner when the scheduler stops.
const ABANDONED: Op = 1;

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
    /// When the OS refuses a thread. Those that were started have ended then. In the child of a `fork`, see
    /// [`forked`].
    pub(crate) fn start(config: Config) -> io::Result<Arc<Self>> {
        forked::check()?;
        watch_forks();
        barrier::init();
        explain_overflows();
        if config.on_sigquit {
            dump_on_sigquit()?;
        }
        if config.name_panics {
            name_panics();
        }
        let workers = config.workers;
        let cores: Vec<_> = (0..workers).map(Core::new).collect();
        let most = workers as usize + config.max_spares;
        let remotes: Box<[OnceLock<_>]> = (0..most).map(|_| OnceLock::new()).collect();
        for (remote, core) in remotes.iter().zip(&cores) {
            remote.set(Arc::clone(&core.remote)).expect("each is set once");
        }
        let sched = Arc::new(Self {
            sharing_pause: Pause::new(),
            rescue_pause: Pause::new(),
            injector: Injector::new(),
            tally: CachePadded::default(),
            remotes,
            used: AtomicUsize::new(workers as usize),
            idle: Idle::new(workers),
            driver: Driver::new(),
            monitor: Monitor::new(),
            hogs: Hogs::new(workers),
            chaos: config.chaos.map(|seed| Box::new(Chaos::new(seed))),
            world: World::new(),
            clock: CachePadded::new(AtomicU64::new(0)),
            pool: Pool::new(config.guard),
            stack_sites: Mutex::default(),
            stopped: AtomicBool::new(false),
            was_interrupted: AtomicBool::new(false),
            last_turns: LastTurns::new(),
            threads: Mutex::new(Vec::new()),
            cores: Mutex::new(Vec::new()),
            joiners: Mutex::new(Some(Vec::new())),
            timed_joiners: TimedJoiners::default(),
            config,
        });
        forked::count_runtime();
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
        self.last_turns.expect_thread();
        let monitor = thread::Builder::new().name(name).spawn(move || {
            let _abort = AbortOnUnwind;
            sched.shorten_slices();
            monitor::run(&sched);
            sched.last_turns.thread_ends();
        });
        let monitor = monitor.map_err(|error| {
            self.last_turns.thread_ends();
            refused(&error)
        })?;
        lock(&self.threads).push(monitor);
        for core in cores {
            self.start_worker(core, false).map_err(|(_, error)| refused(&error))?;
        }
        Ok(())
    }

    /// Asks the kernel for shorter slices for the calling OS thread, if the runtime was told to.
    fn shorten_slices(&self) {
        if self.config.short_slices {
            slice::shorten();
        }
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
        self.last_turns.expect_thread();
        let started = thread::Builder::new().name(name).spawn(move || {
            let _abort = AbortOnUnwind;
            sched.shorten_slices();
            let core = lock(&inside).take().expect("the core is taken by its worker alone");
            let worker = Worker::new(Arc::clone(&sched), core, searching);
            worker.run();
            sched.keep_core(worker.into_core());
            sched.last_turns.thread_ends();
        });
        match started {
            Ok(thread) => {
                lock(&self.threads).push(thread);
                Ok(())
            }
            Err(error) => {
                self.last_turns.thread_ends();
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

    /// Ends the scheduler: its OS threads end as soon as the tasks they run suspend, and those that were woken before
    /// have had their last turn (`last`). What is not finished then never is. Waits for the OS threads, unless called on one of them: then another
    /// thread does.
    pub(crate) fn stop(self: &Arc<Self>) {
        if forked::is_child() {
            // Its OS threads are not there to end. The parent's are none of our business.
            return;
        }
        self.unregister();
        self.stopped.store(true, Ordering::SeqCst);
        let leaks = self.config.leaks;
        let inside = current::with(|worker| worker.is_some_and(|worker| worker.serves(self)));
        if !inside {
            self.wait_for_threads();
            return self.report_leaks(leaks);
        }
        self.wake_all();
        let sched = Arc::clone(self);
        let name = format!("{}-reaper", self.config.name);
        let waits = move || {
            sched.wait_for_threads();
            sched.report_leaks(leaks.min(Leaks::Print));
        };
        if thread::Builder::new().name(name).spawn(waits).is_err() {
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
        forked::forget_runtime();
        self.abandon_joiners();
        // Tasks that did not finish keep their slots, and through them use the scheduler.
        if self.pool.outstanding() > 0 {
            std::mem::forget(Arc::clone(self));
        }
    }
}

impl Sched {
    /// Says who is left, now that nothing runs any more.
    fn report_leaks(self: &Arc<Self>, leaks: Leaks) {
        if leaks == Leaks::Ignore || self.pool.outstanding() == 0 {
            return;
        }
        let this = std::slice::from_ref(self);
        let census = match leaks {
            Leaks::Panic => Census::take(this),
            _ => Census::take_briefly(this),
        };
        let mut dump = census.into_dump();
        let dump = dump.runtimes.pop().expect("one scheduler, one dump");
        let count = dump.threads.len();
        if count == 0 {
            return;
        }
        let what = format!(
            "runtime {} was dropped before {count} of its green threads had ended",
            Quoted(&dump.name)
        );
        // Nothing can be done if nobody reads it, and a drop should not panic for that.
        let _ = writeln!(io::stderr(), "\nleak: {what}\n\n{}", dump.to_string().trim_end());
        if leaks == Leaks::Panic && !thread::panicking() {
            panic!("{what} (stderr says which)");
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

    /// Wakes them. From now on nobody can register.
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
