//! The start and the end of a runtime.

use std::sync::{Arc, OnceLock};
use std::{io, thread};

use crossbeam_deque::Injector;
use crossbeam_utils::CachePadded;
use gthread_arch::stacks::Pool;

use crate::loom::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, lock};
use crate::runtime::config::{Config, Leaks};
use crate::runtime::context;
use crate::runtime::core::Core;
use crate::runtime::cpu_bound::AdmissionQueue;
use crate::runtime::driver::{Driver, poller};
use crate::runtime::gate::World;
use crate::runtime::handle::wake;
use crate::runtime::idle::Idle;
use crate::runtime::last_turns::LastTurns;
use crate::runtime::policy::pause::Pause;
use crate::runtime::policy::random::Chaos;
use crate::runtime::registry::{hand_over_poller, live_runtimes, register, unregister};
use crate::runtime::shared::{Hooks, Shared};
use crate::runtime::sysmon::handle::Sysmon;
use crate::runtime::sysmon::run;
use crate::runtime::timed_joiners::TimedJoiners;
use crate::runtime::worker::fork_child;
use crate::runtime::worker::launch::{AbortOnUnwind, shorten_slices, start_worker};
use crate::sys::fork;
use crate::util::barrier;

/// Starts a runtime: its workers and sysmon.
///
/// # Errors
///
/// If the OS refuses a thread. The threads that were started have ended by then.
pub(crate) fn start(config: Config, hooks: Hooks) -> io::Result<Arc<Shared>> {
    fork::on_child(fork_child::in_child);
    barrier::init();
    let workers = config.workers;
    let cores: Vec<_> = (0..workers).map(Core::new).collect();
    let most = workers as usize + config.max_spares;
    let remotes: Box<[OnceLock<_>]> = (0..most).map(|_| OnceLock::new()).collect();
    for (remote, core) in remotes.iter().zip(&cores) {
        remote.set(Arc::clone(&core.remote)).expect("each is set once");
    }
    let shared = Arc::new(Shared {
        sharing_pause: Pause::new(),
        takeover_pause: Pause::new(),
        injector: Injector::new(),
        tally: CachePadded::default(),
        remotes,
        used: AtomicUsize::new(workers as usize),
        idle: Idle::new(workers),
        driver: Driver::new(),
        sysmon: Sysmon::new(),
        cpu_bound: AdmissionQueue::new(workers),
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
        hooks,
        config,
    });
    fork::count_runtime();
    match start_threads(&shared, cores) {
        Ok(()) => {
            register(&shared);
            Ok(shared)
        }
        Err(error) => {
            stop(&shared);
            Err(error)
        }
    }
}

fn start_threads(shared: &Arc<Shared>, cores: Vec<Core>) -> io::Result<()> {
    let own = Arc::clone(shared);
    let name = format!("{}-sysmon", shared.config.name);
    shared.last_turns.expect_thread();
    let sysmon = thread::Builder::new().name(name).spawn(move || {
        let _abort = AbortOnUnwind;
        shorten_slices(&own);
        run::run(&own);
        hand_over_poller();
        own.last_turns.thread_ends();
    });
    let sysmon = sysmon.map_err(|error| {
        shared.last_turns.thread_ends();
        refused(&error)
    })?;
    lock(&shared.threads).push(sysmon);
    for core in cores {
        start_worker(shared, core, false).map_err(|(_, error)| refused(&error))?;
    }
    Ok(())
}

/// Ends the runtime. Its OS threads end when the tasks that they run have suspended, and tasks that
/// were woken before have had their last turn (`last_turns.rs`). Tasks that have not finished by
/// then never do. Waits for the OS threads; if called on one of them, another thread waits instead.
pub(crate) fn stop(shared: &Arc<Shared>) {
    if fork::is_child() {
        // The OS threads belong to the parent process. The child has none to end.
        return;
    }
    unregister(shared);
    shared.stopped.store(true, Ordering::SeqCst);
    let (leaks, report_leaks) = (shared.config.leaks, shared.hooks.report_leaks);
    let inside = context::with(|worker| worker.is_some_and(|worker| worker.serves(shared)));
    if !inside {
        wait_for_threads(shared);
        return report_leaks(shared, leaks);
    }
    wake_all(shared);
    let own = Arc::clone(shared);
    let name = format!("{}-reaper", shared.config.name);
    let waits = move || {
        wait_for_threads(&own);
        report_leaks(&own, leaks.min(Leaks::Print));
    };
    if thread::Builder::new().name(name).spawn(waits).is_err() {
        // The OS refuses the thread that would wait, so the runtime's data is kept for ever.
        std::mem::forget(Arc::clone(shared));
    }
}

fn wake_all(shared: &Shared) {
    shared.sysmon.unpark();
    shared.workers().for_each(|worker| worker.parker.unpark());
}

fn wait_for_threads(shared: &Arc<Shared>) {
    loop {
        // In every round: a thread that was joined may have started another.
        wake_all(shared);
        let Some(thread) = lock(&shared.threads).pop() else { break };
        thread.join().expect("the runtime's own threads abort rather than panic");
    }
    fork::forget_runtime();
    hand_over_poller();
    if live_runtimes().is_empty() {
        poller::start_runtime();
    }
    shared.abandon_joiners(wake);
    // Tasks that did not finish keep their slots, and through them use the shared data.
    if shared.pool.outstanding() > 0 {
        std::mem::forget(Arc::clone(shared));
    }
}

fn refused(error: &io::Error) -> io::Error {
    let message = format!(
        "cannot start the runtime's OS threads: {error}; the limit may be ulimit -u, the control \
         group's pids.max, or memory"
    );
    io::Error::new(error.kind(), message)
}
