//! Workers that are stuck in a task, and which of them others replace.
//!
//! There is no preemption: a task that blocks its OS thread, or computes, keeps its worker. If tasks wait and no worker is
//! free for them, the monitor *covers* for one that is stuck: it counts as running no more, so that another runs in its place,
//! and what is private to it goes to the injector. When to do so depends on what the stuck worker does:
//!
//! - If it **sleeps in the kernel**, it competes for no processor. It is covered at once: when the monitor has seen it in the
//!   same task three times. However many are covered already, each costs an OS thread and nothing else.
//! - If it **computes**, it is covered after [`COVER_AFTER`].
//! - If it computes and is a **newcomer**, that runs in the place of another that computes, it is covered when it has used
//!   [`Patience::newcomer`] of processor time, and two run in its place. So of any number of tasks that compute, each soon
//!   has its share of the processors, and so has what waits behind them, which they may wait for. The kernel does the rest.
//!
//! That a newcomer must have used processor time keeps a batch of long computations from becoming as many OS threads at
//! once: it has the less of it, the more compute. From [`MANY`] for each processor on it also needs the more.
//!
//! Whoever is covered without need comes back when it next picks, and another retires.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hogs::SHORTEST;
use super::idle::Summon;
use super::os_state;
use super::remote::{Remote, Rescue};
use super::status::{COVERED, NORMAL};
use super::Sched;
use crate::prim::{Ordering, barrier};

/// How long a worker that computes must have been stuck before another runs in its place.
const COVER_AFTER: Duration = Duration::from_millis(10);

/// How long a worker must have been stuck before its private tasks are given to those who have none.
const RESCUE_AFTER: Duration = Duration::from_micros(100);

/// A worker is a newcomer until it has moved on so often since it last slept.
const FIRST_MOVES: u64 = 8;

/// If more compute than so many for each processor, newcomers are given more time.
const MANY: usize = 8;

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Look {
    /// Nothing to do.
    Calm,
    /// Work waits, and no worker is free for it: the next look should be soon.
    Watch,
    /// Something was done.
    Acted,
}

/// What the monitor remembers of the workers.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    workers: Vec<Seen>,
    /// Those that are stuck now, by number.
    stuck: Vec<usize>,
}

/// Of one worker.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// How often it had moved on, at all looks since then.
    moves: u64,
    since: Instant,
    /// How much processor time its OS thread had used then, if that was asked.
    used: Option<(Instant, Duration)>,
    /// How often it had moved on when it last did not run.
    woke: u64,
    /// It is covered, because it computes.
    computes: bool,
}

/// Why a worker is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Sleeps,
    Computes,
    /// So does a newcomer.
    ComputesToo,
}

/// How much a worker must have computed.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Others are covered because they compute, so that it may be a newcomer.
    stall: bool,
    /// So many compute beside those that run.
    computing: usize,
    processors: usize,
}

impl Patience {
    /// The processor time that a newcomer must have used.
    fn newcomer(self) -> Duration {
        let many = MANY * self.processors;
        SHORTEST * self.computing.max(many) as u32 / many as u32
    }
}

impl Seen {
    fn new(moves: u64, now: Instant) -> Self {
        Self { moves, since: now, used: None, woke: moves, computes: false }
    }

    /// Whether to cover for it, which has not moved on. `time_used` and `is_asleep` ask the system, if it says.
    fn judge(
        &mut self,
        now: Instant,
        patience: Patience,
        time_used: impl FnOnce() -> Option<Duration>,
        is_asleep: impl FnOnce() -> Option<bool>,
    ) -> Option<Why> {
        let long = now - self.since >= COVER_AFTER;
        let Some(used) = time_used() else { return long.then_some(Why::Sleeps) };
        let Some((at, before)) = self.used else {
            self.used = Some((now, used));
            return None;
        };
        let (time, used) = (now - at, used.saturating_sub(before));
        if used < time / 2 && is_asleep().unwrap_or(long) {
            return Some(Why::Sleeps);
        }
        let is_newcomer = patience.stall && self.moves - self.woke <= FIRST_MOVES;
        if is_newcomer {
            (used >= patience.newcomer()).then_some(Why::ComputesToo)
        } else {
            (long && used >= patience.newcomer()).then_some(Why::Computes)
        }
    }
}

impl Stuck {
    /// Notes what each worker does, and who is stuck. How many are covered and compute.
    pub(super) fn observe(&mut self, sched: &Sched, now: Instant) -> usize {
        let mut computing = 0;
        self.stuck.clear();
        for (index, remote) in sched.workers().enumerate() {
            let (moves, state) = (remote.moves(), remote.own.status.state());
            if index == self.workers.len() {
                self.workers.push(Seen::new(moves, now));
            }
            let seen = &mut self.workers[index];
            if seen.moves != moves {
                *seen = Seen { woke: seen.woke, ..Seen::new(moves, now) };
            } else if state == NORMAL {
                self.stuck.push(index);
            }
            if state != NORMAL {
                seen.woke = moves;
            }
            computing += usize::from(state == COVERED && seen.computes);
        }
        computing
    }

    /// Looks at every worker, and does what is to be done. `can_start`: the OS has not just refused a spare.
    pub(super) fn look(&mut self, sched: &Arc<Sched>, processors: usize, can_start: bool) -> Look {
        let now = Instant::now();
        let computing = self.observe(sched, now);
        let mut rescued = false;
        let mut private = false;
        for &index in &self.stuck {
            let remote = sched.remote(index as u32);
            private |= remote.has_private();
            let may = || sched.idle.has_room() && sched.rescue_pause.until(now).is_none();
            if now - self.workers[index].since >= RESCUE_AFTER && may() {
                rescued |= sched.rescue(remote, Rescue::Some);
            }
        }
        let done = if rescued { Look::Acted } else { Look::Calm };
        let work = sched.has_work();
        let waits = work || private;
        sched.monitor.note_stall(waits && computing > 0);
        if !waits || !sched.idle.nobody_searches() {
            return done;
        }
        if sched.idle.has_room() {
            if !(work && can_start) {
                return done;
            }
            let summon = sched.idle.notify_outside();
            sched.answer(summon);
            // A spare may not be had, so asking for one is no reason to look again at once.
            return if matches!(summon, Summon::Worker(_)) { Look::Acted } else { done };
        }
        let stall = computing > 0;
        let patience = Patience { stall, computing: computing + sched.hogs.running(), processors };
        match self.cover(sched, now, patience) {
            true => Look::Acted,
            false if self.stuck.is_empty() => done,
            false => done.max(Look::Watch),
        }
    }

    /// Covers for those of the stuck that it is time for: whether there were any.
    fn cover(&mut self, sched: &Arc<Sched>, now: Instant, patience: Patience) -> bool {
        let mut covered = Vec::new();
        let (mut computes, mut beyond) = (false, 0);
        for &index in &self.stuck {
            let remote = sched.remote(index as u32);
            let thread = remote.parker.thread_id();
            let time_used = || os_state::time_used(thread);
            let seen = &mut self.workers[index];
            let why = seen.judge(now, patience, time_used, || os_state::is_asleep(thread));
            if let Some(why) = why.filter(|_| begin_cover(remote)) {
                sched.idle.block();
                seen.computes = why != Why::Sleeps;
                computes |= seen.computes;
                beyond += usize::from(why == Why::ComputesToo);
                covered.push(remote);
            }
        }
        if covered.is_empty() {
            return false;
        }
        // With the light barrier in `push_woken`: no task stays in the hands of a covered worker.
        barrier::heavy();
        covered.iter().for_each(|remote| _ = sched.rescue(remote, Rescue::All));
        if computes {
            sched.monitor.note_stall(true);
        }
        // Two for each of the newcomers, at once.
        (0..2 * beyond).for_each(|_| sched.answer(sched.idle.summon_beyond()));
        sched.answer(sched.idle.notify_outside());
        true
    }
}

/// Marks a worker as covered: false if it is not stuck.
fn begin_cover(remote: &Remote) -> bool {
    // If it is in no task, what it runs next is not to blame for the time that it takes.
    let used = match remote.current() {
        None => Duration::MAX,
        Some(_) => os_state::time_used(remote.parker.thread_id()).unwrap_or_default(),
    };
    // Before: who sees that it is covered sees this.
    remote.own.begin_cover(used);
    remote.own.status.cover()
}

impl Sched {
    /// Gives private tasks of a stuck worker to whoever is free: whether there were some.
    fn rescue(&self, worker: &Remote, what: Rescue) -> bool {
        let mut tasks = worker.rescue(what);
        let most = if what == Rescue::All { usize::MAX } else { 1 };
        let halves = std::iter::from_fn(|| self.rescue_half(worker));
        tasks.extend(halves.take(most - tasks.len().min(most)));
        let any = !tasks.is_empty();
        if any {
            self.tally.moved_on.fetch_add(1, Ordering::Relaxed);
            self.monitor.note_rescue(what == Rescue::Some);
        }
        tasks.into_iter().for_each(|task| self.inject(task));
        any
    }
}
