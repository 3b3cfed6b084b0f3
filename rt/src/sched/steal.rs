//! How a worker without work finds some, and how it goes to sleep when there is none.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use crossbeam_deque::Steal;

use super::Sched;
use super::remote::Rescue;
use super::status::{NORMAL, SLEEPING};
use super::worker::Worker;
use crate::task::TaskRef;

/// Sweeps over all other workers before giving up, at most and at least. A sweep costs little more than
/// two memory barriers for each victim, so this is some ten microseconds (up to 80 where `pause` is slow): about
/// what it costs to be put to sleep and woken again.
const MOST_SWEEPS: usize = 32;
const LEAST_SWEEPS: usize = 2;
/// Victims that are looked at before giving up, so that a search takes no longer with many workers than with
/// few. Fewer sweeps miss nothing: who goes to sleep looks at every queue once more.
const LOOKS: usize = 512;
/// Pauses between sweeps grow up to this many spins.
const MAX_SPINS: u32 = 64;

/// So many injected tasks are a crowd.
const INJECTED_CROWD: usize = 64;

/// Whoever is out of work while no other runs does not search, unless it last waited for no longer than this. All that it
/// could find comes from outside.
const BRIEF: Duration = Duration::from_micros(100);

/// How long a worker with private tasks has not moved on before somebody who searches takes some of them.
const RESCUE_AFTER: Duration = Duration::from_micros(10);

/// What a worker does after it was out of work.
pub(super) enum Next {
    Run(TaskRef),
    /// Something may have come up: look again.
    Pick,
    /// The scheduler stops, or this is a spare that was not needed for a while.
    End,
}

/// How long a spare worker sleeps before its OS thread ends.
const SPARE_KEEPALIVE: Duration = Duration::from_secs(1);

impl Worker {
    /// Takes work from another worker: one continuation, the oldest; or half of its ready tasks.
    /// Victims are tried in a random order.
    pub(super) fn steal(&self) -> Option<TaskRef> {
        let remotes = self.sched.remotes();
        let count = remotes.len();
        let start = self.random() as usize % count;
        let mut retry = true;
        while retry {
            retry = false;
            for victim in (start..count).chain(0..start) {
                let index = victim as u32;
                let Some(victim) = remotes[victim].get() else { continue };
                // Asked first, because an attempt enters crossbeam's epoch, which every 128th time looks at all
                // threads: with as many workers, several times a sweep.
                if std::sync::Arc::ptr_eq(victim, &self.core.remote) || !victim.has_stealable() {
                    continue;
                }
                // One after the other: a second success would be a task in nobody's hands.
                let attempt = match victim.forks.steal() {
                    Steal::Empty => {
                        let attempt = victim.ready.steal_batch_and_pop(self.core.queues.loot());
                        if attempt.is_success() && self.searching.get() {
                            self.note_theft(index);
                        }
                        attempt
                    }
                    attempt => attempt,
                };
                match attempt {
                    Steal::Success(task) => {
                        self.counters().steals.count();
                        return Some(task);
                    }
                    Steal::Retry => retry = true,
                    Steal::Empty => {}
                }
            }
        }
        None
    }

    /// Takes the oldest task of those that were made runnable outside.
    pub(super) fn take_injected(&self) -> Option<TaskRef> {
        // To find nothing costs a fence, but not to look.
        if self.sched.injector.is_empty() { None } else { self.steal_injected() }
    }

    fn steal_injected(&self) -> Option<TaskRef> {
        loop {
            match self.sched.injector.steal() {
                Steal::Success(task) => {
                    self.counters().injected.count();
                    return Some(task);
                }
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    /// [`Worker::take_injected`], by a worker that has nothing else. Of a crowd it takes some more, for the next turns:
    /// another processor has written them last.
    pub(super) fn take_of_injected_crowd(&self) -> Option<TaskRef> {
        let waiting = self.sched.injector.len();
        if waiting == 0 {
            return None;
        }
        let task = self.steal_injected()?;
        if self.sched.monitor.has_rescued() {
            self.takeover.note(Instant::now());
        }
        if waiting >= INJECTED_CROWD {
            task.prefetch();
            self.core.queues.take_ahead(|| self.steal_injected());
        }
        Some(task)
    }

    /// Fires timers, searches, then sleeps, until there is something to do.
    pub(super) fn wait_for_work(&self) -> Next {
        if self.fire_all_timers() {
            return Next::Pick;
        }
        let since = Instant::now();
        self.judge_thefts(since);
        self.judge_takeover(since);
        let after_timer = self.slept_until_timer.replace(false);
        let next = self.search(since, after_timer).unwrap_or_else(|| self.sleep());
        self.note_wait(since.elapsed());
        next
    }

    /// Looks for work elsewhere, out of its own since just now. What came last may have been a timer: then the next to come is
    /// likely to be one, which is not found by searching, and one look at the others is enough.
    fn search(&self, mut since: Instant, after_timer: bool) -> Option<Next> {
        let Sched { idle, hogs, .. } = &*self.sched;
        // What waits where hogs compute is not far, and the processor not free for a search.
        let computing = || hogs.running() > 0 && !self.sched.has_work();
        let in_vain = || after_timer || self.last_wait.get() > BRIEF || computing();
        if self.must_retire() || idle.is_alone() && in_vain() {
            return None;
        }
        if !self.searching.get() {
            self.searching.set(self.sched.idle.start_search());
        }
        if !self.searching.get() {
            return None;
        }
        self.counters().searches.count();
        self.suspect();
        // Who is suspected to be stuck is watched for a while.
        let briefly = after_timer && self.suspected.get().is_none();
        let sweeps = match briefly {
            true => 1,
            false => (LOOKS / self.sched.remotes().len()).clamp(LEAST_SWEEPS, MOST_SWEEPS),
        };
        let may_rescue = !briefly && self.sched.rescue_pause.until(since).is_none();
        let mut spins = 1;
        for _ in 0..sweeps {
            let found = self.steal().or_else(|| self.take_of_injected_crowd());
            let found = found.or_else(|| self.take_strewn());
            if found.is_some() || self.has_pinned_work() || self.sched.is_stopped() {
                return found.map(Next::Run);
            }
            if self.sched.pool.prepare_ahead() {
                // Stacks for a crowd that another starts: most of the time that this takes. Then all anew, timers too.
                return Some(Next::Pick);
            }
            (0..spins).for_each(|_| spin_loop());
            spins = (2 * spins).min(MAX_SPINS);
            let now = Instant::now();
            if may_rescue && (self.suspected.get().is_none() || now - since >= RESCUE_AFTER) {
                if let Some(task) = self.rescue_stuck() {
                    self.takeover.note(Instant::now());
                    return Some(Next::Run(task));
                }
                since = now;
            }
        }
        None
    }

    /// Suspects some worker with private tasks to be stuck.
    fn suspect(&self) {
        let remotes = self.sched.remotes();
        let (count, start) = (remotes.len(), self.random() as usize);
        let suspect = (0..count).map(|offset| (start + offset) % count).find_map(|index| {
            let remote = remotes[index].get().filter(|_| index != self.core.index as usize)?;
            remote.has_private().then(|| (index as u32, remote.moves()))
        });
        self.suspected.set(suspect);
    }

    /// Takes private tasks of the suspect, if it has not moved since.
    fn rescue(&self) -> Option<TaskRef> {
        let (suspect, moves) = self.suspected.take()?;
        let suspect = self.sched.remote(suspect);
        if suspect.moves() != moves {
            return None;
        }
        let mut tasks = suspect.rescue(Rescue::Some).into_iter();
        let first = tasks.next().or_else(|| self.sched.rescue_half(suspect))?;
        self.counters().steals.count();
        self.counters().rescues.count();
        tasks.for_each(|task| self.core.queues.loot().push(task));
        Some(first)
    }

    /// Whether the one under suspicion has not moved since. If it has, another is suspected.
    pub(super) fn is_suspect_stuck(&self) -> bool {
        let stuck = self
            .suspected
            .get()
            .is_some_and(|(suspect, moves)| self.sched.remote(suspect).moves() == moves);
        if !stuck {
            self.suspect();
        }
        stuck
    }

    /// Takes private tasks of a worker that has not moved since this was last called.
    pub(super) fn rescue_stuck(&self) -> Option<TaskRef> {
        let rescued = self.rescue();
        self.suspect();
        rescued
    }

    /// Sleeps. The worker has no work of its own but what is pinned to it.
    pub(super) fn sleep(&self) -> Next {
        debug_assert!(!self.core.remote.has_private(), "asleep with a task in hand");
        let sched = &*self.sched;
        let me = self.core.index;
        self.flush_stacks();
        self.slept_until_timer.set(false);
        self.counters().sleeps.count();
        // From here on the monitor must not take this worker for one that is stuck.
        self.set_status(SLEEPING);
        sched.idle.sleep(me, self.searching.replace(false));
        if self.finds_anything() {
            if !sched.idle.wake_self(me) {
                // Somebody has taken us out of the sleepers, and the wake is on its way.
                self.core.remote.parker.park(None);
            }
        } else if !self.sleep_in_driver() {
            // Out of the sleepers by its own hand, and so counted as running and searching. The status
            // stays: nobody is there to be stuck.
            sched.idle.leave();
            if sched.has_work() {
                sched.answer(sched.idle.notify_outside());
            }
            // It may have kept the timers, which the monitor then relied on.
            sched.monitor.rouse();
            return Next::End;
        }
        self.set_status(NORMAL);
        self.come_to_help();
        sched.advance_clock();
        // Whoever took us out of the sleepers, we are counted as searching.
        self.searching.set(true);
        sched.monitor.stir();
        self.fire_all_timers();
        if sched.is_stopped() { Next::End } else { Next::Pick }
    }

    /// By a worker that has nothing else to do: whether there were any.
    fn fire_all_timers(&self) -> bool {
        self.fire_timers(true) > 0
    }

    /// Whether there is a reason not to sleep.
    fn finds_anything(&self) -> bool {
        // With as many others awake as may be, they will look at every queue before they sleep (§5).
        let others_look = !self.sched.idle.has_room();
        (!others_look && self.sched.has_work()) || self.has_pinned_work() || self.sched.is_stopped()
    }

    /// Sleeps until woken, or until a timer is due, if this worker keeps the timers: true. False if the worker is a
    /// spare that has slept long enough. In both cases it is out of the sleepers.
    fn sleep_in_driver(&self) -> bool {
        let sched = &*self.sched;
        let (me, parker) = (self.core.index, &self.core.remote.parker);
        let is_spare = self.core.remote.is_spare(me as usize, sched.config.workers);
        let retire_at = is_spare.then(|| Instant::now() + SPARE_KEEPALIVE);
        loop {
            let timer = self.keep_timers_if_needed();
            let woken = parker.park([retire_at, timer].into_iter().flatten().min());
            self.unkeep_timers();
            if woken {
                // By somebody who took us out, or who has a new earliest timer and did not.
                let _ = sched.idle.wake_self(me);
                return true;
            }
            // Perhaps not: what it woke up for may have been withdrawn, or fired by others.
            let due = sched.is_timer_due();
            let expired = retire_at.is_some_and(|at| at <= Instant::now());
            if due || expired {
                if sched.idle.wake_self(me) {
                    self.slept_until_timer.set(due);
                    return due;
                }
                parker.park(None);
                return true;
            }
        }
    }

    /// When the worker that goes to sleep has to wake up for timers, if at all. With as many awake as may be, the timers are
    /// theirs, and the monitor's: who wakes up for them is one too many.
    fn keep_timers_if_needed(&self) -> Option<Instant> {
        if self.sched.idle.has_room() {
            self.keep_timers()
        } else {
            self.tell_of_timers();
            None
        }
    }

    /// A pseudo-random number (xorshift64*), to choose victims and select arms.
    pub(crate) fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
