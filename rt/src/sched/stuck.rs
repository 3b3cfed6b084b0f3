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
//!   [`Patience::processor_time`], and two run in its place. So of any number of tasks that compute, each soon
//!   has its share of the processors, and so has what waits behind them, which they may wait for. The kernel does the rest.
//!
//! That a newcomer must have used processor time keeps a batch of long computations from becoming as many OS threads at
//! once: it has the less of it, the more compute. From [`MANY`] for each processor on it also needs the more.
//!
//! While newcomers replace newcomers there is a *stall*. In one more workers may run than usually do, since those that come
//! may be stuck before anybody has seen it.
//!
//! Whoever is covered without need comes back when it next picks, and another retires.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Sched;
use super::idle::Summon;
use super::os_state;
use super::remote::{Remote, Rescue};
use super::status::{COVERED, NORMAL};
use crate::prim::{Ordering, barrier};

/// How long a worker that computes must have been stuck before another runs in its place.
const COVER_AFTER: Duration = Duration::from_millis(10);

/// How long a worker must have been stuck before its private tasks are given to those who have none.
const RESCUE_AFTER: Duration = Duration::from_micros(100);

/// A worker is a newcomer until it has moved on so often since it last slept.
const FIRST_MOVES: u64 = 8;

/// How much processor time a newcomer must have used: for each that computes so much, divided by the processors, and so much
/// at least.
const NEWCOMERS_SHARE: Duration = Duration::from_micros(125);
const NEWCOMERS_LEAST: Duration = Duration::from_micros(500);

/// A stall is over when nobody was covered for computing for so long, or nothing waits.
const STALL_ENDS: Duration = Duration::from_secs(1);

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
    /// One that was covered because it computed has moved on since the last look.
    came_back: bool,
    stall: Option<Stall>,
}

/// Work waits behind tasks that compute.
#[derive(Clone, Copy, Debug)]
struct Stall {
    /// How many more workers may run than usual.
    extra: usize,
    /// When one was last covered that computes.
    last: Instant,
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
    /// There is a stall, so that it may be a newcomer.
    stall: bool,
    /// So many compute beside those that run.
    computing: usize,
    processors: usize,
}

impl Patience {
    /// The processor time that it must have used at least.
    fn processor_time(self) -> Duration {
        let share = NEWCOMERS_SHARE * self.computing as u32 / self.processors as u32;
        share.max(NEWCOMERS_LEAST)
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
        let why = if is_newcomer { Why::ComputesToo } else { Why::Computes };
        ((is_newcomer || long) && used >= patience.processor_time()).then_some(why)
    }
}

impl Stuck {
    /// Notes what each worker does, and who is stuck. How many are covered and compute.
    pub(super) fn observe(&mut self, sched: &Sched, now: Instant) -> usize {
        let mut computing = 0;
        self.stuck.clear();
        self.came_back = false;
        for (index, remote) in sched.workers().enumerate() {
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
        let over = |stall: &Stall| !waits || self.came_back || now - stall.last >= STALL_ENDS;
        if self.stall.as_ref().is_some_and(over) {
            self.set_stall(sched, None);
        }
        // Who searches finds it. But not soon, where many compute.
        if !waits || self.stall.is_none() && !sched.idle.nobody_searches() {
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
        let computing = computing + sched.hogs.running();
        let patience = Patience { stall: self.stall.is_some(), computing, processors };
        match self.cover(sched, now, patience) {
            true => Look::Acted,
            false if self.stuck.is_empty() => done,
            false => done.max(Look::Watch),
        }
    }

    /// Covers for those of the stuck that it is time for: whether there were any.
    fn cover(&mut self, sched: &Arc<Sched>, now: Instant, patience: Patience) -> bool {
        let mut covered = Vec::new();
        let (mut computing, mut newcomers) = (0, 0);
        for &index in &self.stuck {
            let remote = sched.remote(index as u32);
            let thread = remote.parker.thread_id();
            let time_used = || os_state::time_used(thread);
            let seen = &mut self.workers[index];
            let why = seen.judge(now, patience, time_used, || os_state::is_asleep(thread));
            if let Some(why) = why.filter(|_| begin_cover(remote)) {
                sched.idle.block();
                covered.push(remote);
                seen.computes = why != Why::Sleeps;
                computing += usize::from(seen.computes);
                newcomers += usize::from(why == Why::ComputesToo);
            }
        }
        if covered.is_empty() {
            return false;
        }
        if computing > 0 {
            let extra = self.stall.map_or(0, |stall| stall.extra) + newcomers;
            let extra = extra.min(sched.config.max_spares);
            self.set_stall(sched, Some(Stall { extra, last: now }));
        }
        // With the light barrier in `push_woken`: no task stays in the hands of a covered worker.
        barrier::heavy();
        covered.iter().for_each(|remote| _ = sched.rescue(remote, Rescue::All));
        // At once: one after the other they would have to wait for a processor as often.
        (0..2 * newcomers).for_each(|_| sched.answer(sched.idle.notify_another()));
        sched.answer(sched.idle.notify_outside());
        true
    }

    /// The caller looks whether there is work for those that may run more.
    fn set_stall(&mut self, sched: &Sched, stall: Option<Stall>) {
        let extra = stall.map_or(0, |stall| stall.extra);
        sched.idle.set_limit(u64::from(sched.config.workers) + extra as u64);
        sched.monitor.note_stall(stall.is_some());
        self.stall = stall;
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
