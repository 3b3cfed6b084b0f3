//! The loop of sysmon, the thread that makes up for the absence of preemption.
//!
//! While any worker runs, sysmon looks at all of them now and then, and
//! - gives the private tasks of a stuck worker to workers without work;
//! - lets another worker run in the place of a worker that has been stuck in a task for some time
//!   while work waits, and starts a spare OS thread if none is asleep;
//! - admits CPU-bound tasks where the turns of others do not end;
//! - fires timers that no worker is free to fire;
//! - starts the spares that others ask for;
//! - gives the memory of unused stacks back to the kernel;
//! - looks for a deadlock when no worker runs ([`Watch`]).
//!
//! When all workers sleep, sysmon dozes: it looks ever less often. A worker that is woken again
//! soon needs no system call for it. When nothing has run for some looks, sysmon is dormant: it
//! sleeps without a timeout once all memory is given back, and the next worker that wakes up
//! notifies it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gthread_arch::stacks::Trim;

use crate::loom::{Ordering, fence};
use crate::runtime::cpu_bound;
use crate::runtime::driver::poller;
use crate::runtime::handle::wake;
use crate::runtime::shared::{Shared, Watch};
use crate::runtime::status::NORMAL;
use crate::runtime::sysmon::retake::{Look, Stuck};
use crate::runtime::sysmon::spares::{reap_threads, start_spare};

/// The shortest time between looks; below it, the longest. The interval is short after something
/// was found to do, and then grows, like Go's. It is not shorter, since each look takes a processor
/// from a running thread, which may hold a lock.
const MIN_INTERVAL: Duration = Duration::from_micros(100);

const MAX_INTERVAL: Duration = Duration::from_millis(10);

/// How many looks at the shortest interval come before it grows.
const CALM_LOOKS: u32 = 5;

/// The longest time between looks while work waits for a worker that may be stuck.
const WAITING_INTERVAL: Duration = Duration::from_millis(1);

/// The first doze when no worker runs. Each doze is twice as long as the last, but as short as the
/// first while descriptors are registered. After `DOZES` together sysmon is dormant instead. A worker
/// that wakes up and gets stuck during a doze is seen when the doze ends.
const DOZE: Duration = Duration::from_millis(1);
const DOZES: Duration = Duration::from_millis(15);

/// The time between trims of the stacks. Memory that was not needed for ten trims is given back.
const TRIM_INTERVAL: Duration = Duration::from_millis(100);

/// The time between the parts of a long trim, so that other things get done.
const TRIM_PAUSE: Duration = Duration::from_millis(1);

/// How long no worker has run, as far as sysmon has seen.
struct Rest {
    task_switches: u64,
    dozed: Duration,
}

impl Rest {
    /// Returns how long to doze, or `None` if it is time to be dormant. Called when no worker runs,
    /// with the number of task switches so far. With `polls`, descriptors are registered.
    fn doze(&mut self, task_switches: u64, polls: bool) -> Option<Duration> {
        if task_switches != self.task_switches {
            *self = Self { task_switches, dozed: Duration::ZERO };
        }
        // The worker that gets an event may compute, and then nobody but sysmon polls.
        let doze = if polls { DOZE } else { self.dozed + DOZE };
        if self.dozed + doze > DOZES {
            return None;
        }
        self.dozed += doze;
        Some(doze)
    }
}

/// Runs sysmon until the runtime stops.
pub(crate) fn run(shared: &Arc<Shared>) {
    let sysmon = &shared.sysmon;
    sysmon.parker.adopt();
    let mut stuck = Stuck::default();
    let mut interval = MIN_INTERVAL;
    let mut calm = 0;
    let mut trim_at = None;
    // Set if the last spare could not be started: when to ask again.
    let mut refused: Option<Instant> = None;
    let mut watch = (shared.hooks.watch)();
    let mut rest = Rest { task_switches: 0, dozed: Duration::ZERO };
    let mut line = cpu_bound::SeenLine::new();
    while !shared.is_stopped() {
        for _ in 0..sysmon.spares_wanted.swap(0, Ordering::SeqCst) {
            refused = (!start_spare(shared)).then(|| Instant::now() + MAX_INTERVAL);
        }
        shared.advance_clock();
        shared.fire_late_timers(wake);
        let polls = poll(shared, refused.is_none());
        trim_at = trim(shared, trim_at);
        if shared.is_quiet() {
            let doze = rest.doze(shared.task_switches(), polls).or(refused.map(|_| MAX_INTERVAL));
            sleep_while_quiet(shared, doze, &mut trim_at, &mut watch);
            refused = refused.filter(|_| retry_spare(shared));
            stuck.observe(shared, Instant::now());
            interval = MIN_INTERVAL;
            calm = 0;
            continue;
        }
        // Running tasks leave stacks behind.
        trim_at.get_or_insert_with(|| Instant::now() + TRIM_INTERVAL);
        let let_in = line.look(&shared.cpu_bound, sysmon.processors);
        let_in.into_iter().for_each(|cpu_bound| shared.inject(cpu_bound));
        refused = refused.filter(|until| Instant::now() < *until);
        let look = stuck.look(shared, sysmon.processors, refused.is_none());
        if look == Look::Acted {
            interval = MIN_INTERVAL;
            calm = 0;
        } else if calm < CALM_LOOKS {
            calm += 1;
        } else {
            interval = (interval * 2).min(MAX_INTERVAL);
        }
        let hungry = request_injector_turns(shared)
            || look == Look::Watch
            || polls
            || shared.idle.has_room() && shared.has_private();
        let longest = if hungry { WAITING_INTERVAL } else { MAX_INTERVAL };
        let now = Instant::now();
        let until = shared.watch_timers(Some(now + interval.min(longest)));
        // Timers that are late already, more than one batch, are no reason to look all the time.
        sysmon.parker.park(until.map(|until| until.max(now + MIN_INTERVAL)));
        shared.stop_watching();
        reap_threads(shared);
    }
}

/// Gives memory back if it is time to. Returns when it is the next time.
fn trim(shared: &Shared, at: Option<Instant>) -> Option<Instant> {
    if at.is_none_or(|at| at > Instant::now()) {
        return at;
    }
    let after = match shared.pool.trim() {
        Trim::Done => return None,
        Trim::Later => TRIM_INTERVAL,
        Trim::Soon => TRIM_PAUSE,
    };
    Some(Instant::now() + after)
}

/// Hands out I/O events, if no worker has for long. If no worker runs that would, has one woken that
/// then sleeps in the poller. Returns `true` if there may be events.
///
/// Without `may_ask`, a spare was refused lately, and sysmon goes on to look itself.
fn poll(shared: &Shared, may_ask: bool) -> bool {
    let Some(poller) = poller::active() else { return false };
    if let Some(mut role) = poller.try_take_after(poller::LATE) {
        if role.look() {
            role.hand_out(wake);
        }
    }
    if may_ask && shared.is_quiet() && poller::is_deserted() {
        shared.answer(shared.idle.notify_outside());
    }
    true
}

/// Dozes, or sleeps until a worker runs. Called when no worker runs. In both cases the sleep ends
/// when a timer is due that no worker keeps, or when it is time to trim.
fn sleep_while_quiet(
    shared: &Arc<Shared>,
    doze: Option<Duration>,
    trim_at: &mut Option<Instant>,
    watch: &mut Watch,
) {
    let sysmon = &shared.sysmon;
    if let Some(doze) = doze {
        let now = Instant::now();
        // The tasks that ran left stacks behind.
        let trim_at = *trim_at.get_or_insert(now + TRIM_INTERVAL);
        sysmon.parker.park(shared.watch_timers(Some(trim_at.min(now + doze))));
        return shared.stop_watching();
    }
    sysmon.dormant.store(true, Ordering::Release);
    // With the fence in `Sysmon::notify`: either sysmon sees the worker run, or the worker sees
    // that sysmon is dormant.
    fence(Ordering::SeqCst);
    let quiet = shared.is_quiet()
        && sysmon.spares_wanted.load(Ordering::SeqCst) == 0
        && !poller::is_deserted();
    if quiet && !shared.is_stopped() {
        let look_at = watch(shared);
        let until = [*trim_at, look_at].into_iter().flatten().min();
        sysmon.parker.park(shared.watch_timers(until));
        shared.stop_watching();
    }
    sysmon.dormant.store(false, Ordering::Relaxed);
}

/// Asks for a spare again, after the OS had no thread for one while all workers were blocked. No
/// other thread would ask, and the waiting work may be what the blocked workers wait for. Returns
/// `true` if a spare is still wanted.
fn retry_spare(shared: &Arc<Shared>) -> bool {
    let wanted = shared.has_work();
    if wanted {
        shared.answer(shared.idle.notify_outside());
    }
    wanted
}

/// Asks all running workers for an injector turn, if injected tasks wait and no worker is free for
/// them. Returns `true` if it did.
fn request_injector_turns(shared: &Shared) -> bool {
    let urgent = !shared.injector.is_empty() && !shared.idle.has_room();
    if urgent {
        let running = shared.workers().filter(|worker| worker.own.status.state() == NORMAL);
        running.for_each(|worker| worker.own.status.injector_turn());
    }
    urgent
}
