//! Workers that are stuck in a task, and the decision which of them others replace.
//!
//! There is no preemption: a task that blocks its OS thread, or computes, keeps its worker. If
//! tasks wait and no worker is free for them, sysmon *retakes* a stuck worker: the worker no longer
//! counts as running, so that another runs in its place, and its private tasks go to the injector.
//! The time of that depends on what the stuck worker does:
//!
//! - A worker that **sleeps in the kernel** competes for no processor. It is retaken at once: when
//!   three looks have found it in the same task. However many are retaken already, one more costs
//!   an OS thread and nothing else.
//! - A worker that **computes** is retaken when it has used [`RETAKE_AFTER`] of processor time.
//! - A **newcomer** runs in the place of another worker that computes. If it computes too, it is
//!   retaken as soon as it has had its share of the processors ([`Patience::share`]), and
//!   [`HELPERS`] run in its place. So tasks that wait behind computations are soon among the
//!   running ones, and the kernel, which does preempt, divides the processors. The computations may
//!   depend on these tasks.
//!
//! The share grows with the number of computing workers, so that a batch of endless computations
//! becomes many OS threads ever more slowly. Where a computing worker comes back while others wait,
//! there are no newcomers for some time: the waiting tasks get their turn without.
//!
//! While there are newcomers there is a *stall*, and more workers may run than usual: those that
//! start are stuck again before sysmon can see it.
//!
//! A worker that was retaken without need comes back at its next task switch. If more workers run
//! than may, one retires.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::loom::Ordering;
use crate::runtime::handle::take_over_job;
use crate::runtime::idle::Summon;
use crate::runtime::queue::private::TakeOver;
use crate::runtime::remote::Remote;
use crate::runtime::shared::Shared;
use crate::runtime::status::{NORMAL, RETAKEN};
use crate::sys::thread_state;
use crate::util::barrier;

/// How much processor time a stuck worker uses before another runs in its place. Also how long a
/// worker must be stuck where the system does not say what it does.
const RETAKE_AFTER: Duration = Duration::from_millis(10);

/// What a newcomer's share of the processors is: so much for each that computes beside it, and so
/// much at least.
const SHARE: Duration = Duration::from_micros(125);

const LEAST_SHARE: Duration = Duration::from_micros(500);

/// How many workers run in the place of a newcomer.
const HELPERS: usize = 4;

/// A worker is a newcomer until it has moved on more often than this since it last slept.
const FIRST_MOVES: u64 = 8;

/// How long a stall lasts after the last worker was retaken because it computed.
const STALL: Duration = Duration::from_secs(1);

/// How long there is no stall after a computing worker has come back while others waited.
/// Multiplied by the number of computing workers per processor.
const PROGRESS: Duration = Duration::from_millis(100);

/// How long a worker must have been stuck before its private tasks are given to idle workers.
const TAKE_OVER_AFTER: Duration = Duration::from_micros(100);

/// The result of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Look {
    /// Nothing to do.
    Calm,
    /// Work waits, and no worker is free for it: the next look should be soon.
    Watch,
    /// Something was done.
    Acted,
}

/// What sysmon remembers of the workers.
#[derive(Debug, Default)]
pub(crate) struct Stuck {
    workers: Vec<Seen>,
    /// The workers that are stuck now, by number.
    stuck: Vec<usize>,
    /// How many workers are retaken because they compute.
    computing: usize,
    /// A computing worker has come back since the last look.
    came_back: bool,
    /// When a computing worker was last seen to have come back while many tasks waited.
    progress: Option<Instant>,
    stall: Option<Stall>,
}

/// The state in which newcomers are stuck as well.
#[derive(Clone, Copy, Debug)]
struct Stall {
    /// How many more workers may run than usual.
    extra: usize,
    /// When a worker was last retaken because it computed.
    last: Instant,
}

/// What sysmon remembers of one worker.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// How often the worker had moved on, at all looks since `since`.
    moves: u64,
    since: Instant,
    sample: Option<Sample>,
    /// How often the worker had moved on when it was last seen not running.
    woke: u64,
    /// The worker is retaken because it computes.
    computes: bool,
}

/// The first sample of a stuck worker.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    /// How much processor time its OS thread had used.
    used: Duration,
    /// How long after `at` to ask whether it sleeps. Doubles, because asking is slow and there may
    /// be many workers that do not sleep.
    ask_after: Duration,
}

/// The reason for retaking a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Sleeps,
    Computes,
    /// A newcomer computes.
    ComputesToo,
}

/// How long computing tasks may keep their workers.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// There is a stall, so there are newcomers.
    stall: bool,
    /// How many compute beside the running workers; below it, the number of processors.
    computing: usize,
    processors: usize,
}

impl Patience {
    /// Returns how much processor time a newcomer gets.
    fn share(self) -> Duration {
        LEAST_SHARE.max(SHARE * self.computing as u32 / self.processors as u32)
    }
}

impl Seen {
    fn new(moves: u64, now: Instant) -> Self {
        Self { moves, since: now, sample: None, woke: moves, computes: false }
    }

    /// Decides whether to retake a stuck worker, and why. `time_used` and `is_asleep` ask the
    /// system, which may not answer.
    fn judge(
        &mut self,
        now: Instant,
        patience: Patience,
        time_used: impl FnOnce() -> Option<Duration>,
        is_asleep: impl FnOnce() -> Option<bool>,
    ) -> Option<Why> {
        let long = now - self.since >= RETAKE_AFTER;
        let Some(used) = time_used() else { return long.then_some(Why::Sleeps) };
        let Some(sample) = &mut self.sample else {
            self.sample = Some(Sample { at: now, used, ask_after: Duration::ZERO });
            return None;
        };
        let (time, used) = (now - sample.at, used.saturating_sub(sample.used));
        if used < time / 2 && time >= sample.ask_after {
            sample.ask_after = 2 * time;
            if is_asleep().unwrap_or(long) {
                return Some(Why::Sleeps);
            }
        }
        let (enough, why) = match patience.stall && self.moves - self.woke <= FIRST_MOVES {
            true => (patience.share(), Why::ComputesToo),
            false => (patience.share().max(RETAKE_AFTER), Why::Computes),
        };
        (used >= enough).then_some(why)
    }
}

impl Stuck {
    /// Notes what each worker does.
    pub(crate) fn observe(&mut self, shared: &Shared, now: Instant) {
        self.computing = 0;
        self.came_back = false;
        self.stuck.clear();
        for (index, remote) in shared.workers().enumerate() {
            let (moves, state) = (remote.moves(), remote.own.status.state());
            if index == self.workers.len() {
                self.workers.push(Seen::new(moves, now));
            }
            let seen = &mut self.workers[index];
            if seen.moves != moves {
                self.came_back |= seen.computes;
                *seen = Seen { woke: seen.woke, ..Seen::new(moves, now) };
            } else if state == NORMAL {
                self.stuck.push(index);
            }
            if state != NORMAL {
                seen.woke = moves;
            }
            self.computing += usize::from(state == RETAKEN && seen.computes);
        }
    }

    /// Looks at every worker, and acts on what it finds. `can_start`: no spare was refused just
    /// now.
    pub(crate) fn look(
        &mut self,
        shared: &Arc<Shared>,
        processors: usize,
        can_start: bool,
    ) -> Look {
        let now = Instant::now();
        self.observe(shared, now);
        let mut taken_over = false;
        let mut private = false;
        for &index in &self.stuck {
            let remote = shared.remote(index as u32);
            private |= remote.has_private();
            let may = || shared.idle.has_room() && shared.takeover_pause.until(now).is_none();
            if now - self.workers[index].since >= TAKE_OVER_AFTER && may() {
                taken_over |= take_over(shared, remote, TakeOver::Some);
            }
        }
        let done = if taken_over { Look::Acted } else { Look::Calm };
        let work = shared.has_work();
        let waits = work || private;
        if shared.sysmon.take_progress() && self.came_back {
            self.progress = Some(now);
        }
        let holds = PROGRESS * (self.computing / processors).max(1) as u32;
        self.progress = self.progress.filter(|at| now - *at < holds);
        let over = |stall: Stall| !waits || now - stall.last >= STALL;
        if self.stall.is_some_and(|stall| self.progress.is_some() || over(stall)) {
            self.set_stall(shared, None);
        }
        // A searching worker will find the work, but not soon where many compute.
        if !waits || self.stall.is_none() && !shared.idle.nobody_searches() {
            return done;
        }
        if shared.idle.has_room() {
            if !(work && can_start) {
                return done;
            }
            let summon = shared.idle.notify_outside();
            shared.answer(summon);
            // A spare may not be available, so asking for one is no reason to look again at once.
            return if matches!(summon, Summon::Worker(_)) { Look::Acted } else { done };
        }
        let computing = self.computing + shared.cpu_bound.running();
        let patience = Patience { stall: self.stall.is_some(), computing, processors };
        match self.retake(shared, now, patience) {
            true => Look::Acted,
            false if self.stuck.is_empty() => done,
            false => done.max(Look::Watch),
        }
    }

    /// Retakes the stuck workers whose time has come. Returns `true` if there were any.
    fn retake(&mut self, shared: &Arc<Shared>, now: Instant, patience: Patience) -> bool {
        let mut retaken = Vec::new();
        let (mut computing, mut newcomers) = (0, 0);
        for &index in &self.stuck {
            let remote = shared.remote(index as u32);
            let thread = remote.parker.thread_id();
            let time_used = || thread_state::time_used(thread);
            let seen = &mut self.workers[index];
            let why = seen.judge(now, patience, time_used, || thread_state::is_asleep(thread));
            if let Some(why) = why.filter(|_| begin_retake(remote)) {
                shared.idle.block();
                retaken.push(remote);
                seen.computes = why != Why::Sleeps;
                computing += usize::from(seen.computes);
                newcomers += usize::from(why == Why::ComputesToo);
            }
        }
        if retaken.is_empty() {
            return false;
        }
        if computing > 0 && self.progress.is_none() {
            let more = (HELPERS - 1) * newcomers;
            let extra = self.stall.map_or(0, |stall| stall.extra) + more;
            let extra = extra.min(shared.config.max_spares);
            self.set_stall(shared, Some(Stall { extra, last: now }));
        }
        // With the light barrier in `push_woken`: no task stays private to a retaken worker.
        barrier::heavy();
        retaken.iter().for_each(|remote| _ = take_over(shared, remote, TakeOver::All));
        // All at once: if each woke the next, each would first have to wait for a processor.
        let helpers = shared.injector.len().min(HELPERS * newcomers);
        (0..helpers).for_each(|_| shared.answer(shared.idle.notify_another()));
        shared.answer(shared.idle.notify_outside());
        true
    }

    /// Begins or ends a stall. The caller looks afterwards whether there is work for the additional
    /// workers.
    fn set_stall(&mut self, shared: &Shared, stall: Option<Stall>) {
        let extra = stall.map_or(0, |stall| stall.extra);
        shared.idle.set_limit(u64::from(shared.config.workers) + extra as u64);
        shared.sysmon.note_stall(stall.is_some());
        self.stall = stall;
    }
}

/// Marks a worker as retaken. Returns `false` if it is not stuck.
fn begin_retake(remote: &Remote) -> bool {
    // If the worker is in no task, its next task is not to blame for the time used.
    let used = match remote.current() {
        None => Duration::MAX,
        Some(_) => thread_state::time_used(remote.parker.thread_id()).unwrap_or_default(),
    };
    // Written before the mark, so that a thread that sees the mark sees it.
    remote.own.begin_retake(used);
    remote.own.status.retake()
}

/// Gives private tasks of a stuck worker to any free worker. Returns `true` if there were some.
fn take_over(shared: &Shared, worker: &Remote, what: TakeOver) -> bool {
    let mut tasks = worker.take_over(what);
    let most = if what == TakeOver::All { usize::MAX } else { 1 };
    let jobs = std::iter::from_fn(|| take_over_job(shared, worker));
    tasks.extend(jobs.take(most - tasks.len().min(most)));
    let any = !tasks.is_empty();
    if any {
        shared.tally.moved_on.fetch_add(1, Ordering::Relaxed);
        shared.sysmon.note_takeover(what == TakeOver::Some);
    }
    tasks.into_iter().for_each(|task| shared.inject(task));
    any
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// A worker that is looked at every so often, and stays in one task from the first look on.
    struct Stays {
        seen: Seen,
        start: Instant,
        asked: std::cell::Cell<u32>,
    }

    impl Stays {
        /// It has moved on so often since it last slept.
        fn new(moves: u64) -> Self {
            let start = Instant::now();
            Self { seen: Seen { woke: 0, ..Seen::new(moves, start) }, start, asked: 0.into() }
        }

        /// The first look at which it is retaken, one each millisecond, and why. Up to each it has
        /// used a part of the time.
        fn retaken(
            &mut self,
            patience: Patience,
            part: Option<f64>,
            asleep: Option<bool>,
        ) -> Option<(u32, Why)> {
            (1..1000).find_map(|look| {
                let time_used = || part.map(|part| (look * MILLI).mul_f64(part));
                let is_asleep = || {
                    self.asked.set(self.asked.get() + 1);
                    asleep
                };
                let why =
                    self.seen.judge(self.start + look * MILLI, patience, time_used, is_asleep);
                why.map(|why| (look, why))
            })
        }
    }

    const CALM: Patience = Patience { stall: false, computing: 0, processors: 2 };

    fn stall(computing: usize) -> Patience {
        Patience { stall: true, computing, ..CALM }
    }

    #[test]
    fn one_that_sleeps_is_covered_at_once_however_many_are() {
        for patience in [CALM, stall(1), stall(1000)] {
            let retaken = Stays::new(20).retaken(patience, Some(0.1), Some(true));
            assert_eq!(retaken, Some((2, Why::Sleeps)));
        }
    }

    #[test]
    fn one_that_computes_is_covered_for_processor_time() {
        let retaken = |part| Stays::new(20).retaken(CALM, Some(part), Some(false));
        assert_eq!(retaken(1.0), Some((11, Why::Computes)));
        assert_eq!(retaken(0.5), Some((21, Why::Computes)));
        assert_eq!(retaken(0.1), Some((101, Why::Computes)));
        assert_eq!(retaken(0.0), None);
    }

    #[test]
    fn in_a_stall_a_newcomer_is_covered_sooner_and_an_old_hand_is_not() {
        let retaken = |moves, patience| Stays::new(moves).retaken(patience, Some(1.0), Some(false));
        assert_eq!(retaken(FIRST_MOVES, CALM), Some((11, Why::Computes)));
        assert_eq!(retaken(FIRST_MOVES, stall(1)), Some((2, Why::ComputesToo)));
        assert_eq!(retaken(FIRST_MOVES + 1, stall(1)), Some((11, Why::Computes)));
        // The more compute, the longer each newcomer must: 64 on two processors, four milliseconds.
        assert_eq!(retaken(1, stall(64)), Some((5, Why::ComputesToo)));
        assert_eq!(retaken(1, stall(640)), Some((41, Why::ComputesToo)));
    }

    #[test]
    fn whether_it_sleeps_is_asked_ever_more_seldom() {
        let mut starves = Stays::new(20);
        assert_eq!(starves.retaken(CALM, Some(0.0), Some(false)), None);
        assert!(starves.asked.get() <= 10, "{} times", starves.asked.get());
        let mut computes = Stays::new(20);
        computes.retaken(CALM, Some(0.9), Some(true));
        assert_eq!(computes.asked.get(), 0);
    }

    #[test]
    fn where_the_system_does_not_say_it_is_covered_after_a_time() {
        let retaken = |part, asleep| Stays::new(20).retaken(CALM, part, asleep);
        assert_eq!(retaken(None, None), Some((10, Why::Sleeps)));
        let (look, why) = retaken(Some(0.0), None).unwrap();
        assert_eq!(why, Why::Sleeps);
        assert!(look < 20, "look {look}");
    }
}
