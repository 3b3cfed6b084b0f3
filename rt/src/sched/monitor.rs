//! The monitor: a thread that makes up for the absence of preemption (Go calls its kind `sysmon`).
//!
//! While any worker runs it looks at all of them now and then, and
//! - gives what is private to a worker that is stuck to those that have no work;
//! - lets another worker run in the place of one that has been stuck in a task for some time while
//!   work waits, starting a spare OS thread if there is none asleep;
//! - lets known hogs have their turns where those of others have no end;
//! - fires timers that no worker is free to fire;
//! - starts the spares that others ask for;
//! - gives memory of stacks that nobody needs back to the kernel;
//! - looks, when all is quiet, whether that is a deadlock ([`Watch`]).
//!
//! When all workers sleep it dozes: it looks ever less often, so that whoever is woken again soon has no
//! system call to make for it. When nothing has run for some looks it is dormant: it sleeps without a timeout
//! once all memory is given back, and whoever wakes up stirs it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use gthread_arch::stacks::Trim;

use super::deadlock::Watch;
use super::parker::Parker;
use super::stuck::{Look, Stuck};
use super::{Sched, hogs, say};
use crate::prim::{AtomicBool, AtomicUsize, Ordering, fence};

/// The shortest and longest time between looks. Short after something was found to do, then backing
/// off, as Go's does. Not shorter, since each look takes a processor from whoever runs, who may have a lock.
const MIN_INTERVAL: Duration = Duration::from_micros(100);
const MAX_INTERVAL: Duration = Duration::from_millis(10);
/// Looks at the shortest interval before it grows.
const CALM_LOOKS: u32 = 5;

/// The longest time between looks while work waits for a worker that may be stuck.
const HUNGRY_INTERVAL: Duration = Duration::from_millis(1);

/// How long it dozes when no worker runs: this at first, then twice as long each time; when that is more than
/// `MAX_INTERVAL`, it is dormant instead. A worker that wakes up and gets stuck meanwhile is seen when the doze ends.
const DOZE: Duration = Duration::from_millis(1);

/// Between trims of the stacks. What was not needed for ten of them is given back.
const TRIM_INTERVAL: Duration = Duration::from_millis(100);
/// Between the parts of a long trim, so that other things get done.
const TRIM_PAUSE: Duration = Duration::from_millis(1);

/// The side of the monitor that other threads see.
#[derive(Debug)]
pub(super) struct Monitor {
    parker: Parker,
    /// It sleeps until stirred.
    dormant: AtomicBool,
    /// Spares asked for and not yet started.
    spares_wanted: AtomicUsize,
    /// It has said on stderr that a spare could not be started; once is enough.
    complained: AtomicBool,
    /// It has taken tasks from a stuck worker, and nobody has said that he has them.
    rescued: AtomicBool,
    /// Work waits behind tasks that compute.
    stalled: AtomicBool,
    /// How many OS threads the machine runs at once.
    processors: usize,
}

impl Monitor {
    pub(super) fn new() -> Self {
        Self {
            processors: thread::available_parallelism().map_or(1, usize::from),
            parker: Parker::new(),
            dormant: AtomicBool::new(false),
            spares_wanted: AtomicUsize::new(0),
            complained: AtomicBool::new(false),
            rescued: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
        }
    }

    /// A worker is awake: the monitor should be too.
    pub(super) fn stir(&self) {
        fence(Ordering::SeqCst);
        if self.dormant.load(Ordering::Relaxed) {
            self.parker.unpark();
        }
    }

    /// Wakes it whatever it sleeps for.
    pub(super) fn rouse(&self) {
        self.parker.unpark();
    }

    /// Whether it sleeps until stirred. What it did before is seen.
    pub(super) fn is_dormant(&self) -> bool {
        self.dormant.load(Ordering::Acquire) && self.spares_wanted.load(Ordering::Acquire) == 0
    }

    /// Whether it has taken tasks from a stuck worker since this was last asked: the one that just came out of the
    /// injector is probably one of them.
    pub(super) fn has_rescued(&self) -> bool {
        self.rescued.load(Ordering::Relaxed) && self.rescued.swap(false, Ordering::Relaxed)
    }

    /// It has taken tasks from a worker, which was not covered: then that is to be judged.
    pub(super) fn note_rescue(&self, to_judge: bool) {
        self.rescued.fetch_or(to_judge, Ordering::Relaxed);
    }

    /// Whether work waits behind tasks that compute: a hint for those who come to help.
    pub(super) fn sees_stall(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    pub(super) fn note_stall(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    /// The system's number of its OS thread.
    pub(super) fn thread_id(&self) -> i32 {
        self.parker.thread_id()
    }

    pub(super) fn request_spare(&self) {
        self.spares_wanted.fetch_add(1, Ordering::SeqCst);
        self.parker.unpark();
    }
}

/// How long no worker has run, as far as the monitor has seen.
struct Rest {
    picks: u64,
    doze: Duration,
}

impl Rest {
    /// How long to doze; nothing if it is time to be dormant. Called when no worker runs, with how often
    /// they have picked so far.
    fn doze(&mut self, picks: u64) -> Option<Duration> {
        if picks != self.picks {
            *self = Self { picks, doze: DOZE };
        }
        let doze = self.doze;
        if doze > MAX_INTERVAL {
            return None;
        }
        self.doze *= 2;
        Some(doze)
    }
}

/// The monitor thread.
pub(super) fn run(sched: &Arc<Sched>) {
    let monitor = &sched.monitor;
    monitor.parker.adopt();
    let mut stuck = Stuck::default();
    let mut interval = MIN_INTERVAL;
    let mut calm = 0;
    let mut trim_at = None;
    // The last spare could not be had: until when not to ask for another.
    let mut refused: Option<Instant> = None;
    let mut watch = Watch::default();
    let mut rest = Rest { picks: 0, doze: DOZE };
    let mut hogs = hogs::SeenLine::new();
    while !sched.is_stopped() {
        for _ in 0..monitor.spares_wanted.swap(0, Ordering::SeqCst) {
            refused = (!sched.start_spare()).then(|| Instant::now() + MAX_INTERVAL);
        }
        sched.advance_clock();
        sched.fire_late_timers();
        trim_at = trim(sched, trim_at);
        if sched.is_quiet() {
            let doze = rest.doze(sched.picks()).or(refused.map(|_| MAX_INTERVAL));
            sleep_while_quiet(sched, doze, &mut trim_at, &mut watch);
            refused = refused.filter(|_| retry_spare(sched));
            stuck.observe(sched, Instant::now());
            interval = MIN_INTERVAL;
            calm = 0;
            continue;
        }
        // Whatever runs leaves stacks behind.
        trim_at.get_or_insert_with(|| Instant::now() + TRIM_INTERVAL);
        let let_in = hogs.look(&sched.hogs, monitor.processors);
        let_in.into_iter().for_each(|hog| sched.inject(hog));
        refused = refused.filter(|until| Instant::now() < *until);
        let look = stuck.look(sched, monitor.processors, refused.is_none());
        if look == Look::Acted {
            interval = MIN_INTERVAL;
            calm = 0;
        } else if calm < CALM_LOOKS {
            calm += 1;
        } else {
            interval = (interval * 2).min(MAX_INTERVAL);
        }
        let hungry = sched.urge_workers()
            || look == Look::Watch
            || sched.idle.has_room() && sched.has_private();
        let longest = if hungry { HUNGRY_INTERVAL } else { MAX_INTERVAL };
        let now = Instant::now();
        let until = sched.watch_timers(Some(now + interval.min(longest)));
        // Timers that are late already, more than one batch, are no reason to be at it all the time.
        monitor.parker.park(until.map(|until| until.max(now + MIN_INTERVAL)));
        sched.stop_watching();
        sched.reap_threads();
    }
}

/// Gives memory back if it is time to: when it next will be.
fn trim(sched: &Sched, at: Option<Instant>) -> Option<Instant> {
    if at.is_none_or(|at| at > Instant::now()) {
        return at;
    }
    let after = match sched.pool.trim() {
        Trim::Done => return None,
        Trim::Later => TRIM_INTERVAL,
        Trim::Soon => TRIM_PAUSE,
    };
    Some(Instant::now() + after)
}

/// No worker runs: dozes, or sleeps until one does; in both cases no longer than until a timer is due that
/// no worker keeps, or until it is time to trim.
fn sleep_while_quiet(
    sched: &Arc<Sched>,
    doze: Option<Duration>,
    trim_at: &mut Option<Instant>,
    watch: &mut Watch,
) {
    let monitor = &sched.monitor;
    if let Some(doze) = doze {
        let now = Instant::now();
        // Whatever has run leaves stacks behind.
        let trim_at = *trim_at.get_or_insert(now + TRIM_INTERVAL);
        monitor.parker.park(sched.watch_timers(Some(trim_at.min(now + doze))));
        return sched.stop_watching();
    }
    monitor.dormant.store(true, Ordering::Release);
    // With the fence in `stir`: either we see the worker run, or it sees us dormant.
    fence(Ordering::SeqCst);
    let quiet = sched.is_quiet() && monitor.spares_wanted.load(Ordering::SeqCst) == 0;
    if quiet && !sched.is_stopped() {
        let look_at = watch.watch(sched);
        let until = [*trim_at, look_at].into_iter().flatten().min();
        monitor.parker.park(sched.watch_timers(until));
        sched.stop_watching();
    }
    monitor.dormant.store(false, Ordering::Relaxed);
}

/// All workers are blocked and the OS had no thread for a spare: nobody else would ask for one again, and the
/// work that waits for it may be what the blocked wait for. True if it is still wanted.
fn retry_spare(sched: &Arc<Sched>) -> bool {
    let wanted = sched.has_work();
    if wanted {
        sched.answer(sched.idle.notify_outside());
    }
    wanted
}

/// The monitor's part of the scheduler: OS threads that come and go.
impl Sched {
    /// Starts the spare that `Idle` has counted already: whether one could be had.
    fn start_spare(self: &Arc<Self>) -> bool {
        let refused = match self.spare_core() {
            None => format!(
                "there are {} spare OS threads in their places, the most that are allowed. Allow more with \
                 RuntimeBuilder::max_spares or GTHREAD_MAX_SPARES, or block fewer: waiting in gthread's own channels, \
                 locks and sleep keeps no OS thread",
                self.config.max_spares,
            ),
            Some(core) => match self.start_worker(core, true) {
                Ok(()) => return true,
                Err((core, error)) => {
                    self.keep_core(*core);
                    format!(
                        "no spare OS thread can be started in their places: {error}. The limit may be ulimit -u or \
                         the control group's pids.max"
                    )
                }
            },
        };
        // Nothing is lost: the next look tries again, and a worker that is back takes the work.
        self.idle.spare_failed();
        if !self.monitor.complained.swap(true, Ordering::Relaxed) {
            say::line(format_args!(
                "gthread: all workers are blocked, and {refused}. Green threads that are ready wait until a worker is \
                 free."
            ));
        }
        false
    }

    /// Joins the OS threads of spares that have ended.
    fn reap_threads(&self) {
        let mut threads = crate::prim::lock(&self.threads);
        let mut index = 0;
        while index < threads.len() {
            if threads[index].is_finished() {
                let _ = thread::JoinHandle::join(threads.swap_remove(index));
            } else {
                index += 1;
            }
        }
    }
}
