//! How a worker without work finds some. `park.rs` has what follows when there is none.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use crossbeam_deque::Steal;

use crate::runtime::handle::take_over_job;
use crate::runtime::queue::private::TakeOver;
use crate::runtime::shared::Shared;
use crate::runtime::worker::{Next, Worker};
use crate::task::header::TaskRef;

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

/// So many injected tasks are a burst.
const INJECTED_BURST: usize = 64;

/// Whoever is out of work while no other runs does not search, unless it last waited for no longer than this. All that it
/// could find comes from outside.
const BRIEF: Duration = Duration::from_micros(100);

/// How long a worker with private tasks has not moved on before somebody who searches takes some of them.
const TAKE_OVER_AFTER: Duration = Duration::from_micros(10);

impl Worker {
    /// Takes work from another worker: one continuation, the oldest; or half of its ready tasks.
    /// Victims are tried in a random order.
    pub(crate) fn steal(&self) -> Option<TaskRef> {
        let remotes = self.shared.remotes();
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
    pub(crate) fn take_injected(&self) -> Option<TaskRef> {
        // To find nothing costs a fence, but not to look.
        if self.shared.injector.is_empty() { None } else { self.steal_injected() }
    }

    pub(crate) fn steal_injected(&self) -> Option<TaskRef> {
        loop {
            match self.shared.injector.steal() {
                Steal::Success(task) => {
                    self.counters().injected.count();
                    return Some(task);
                }
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    /// [`Worker::take_injected`], by a worker that has nothing else. Of a burst it takes some more, for the next turns:
    /// another processor has written them last.
    pub(crate) fn take_injected_burst(&self) -> Option<TaskRef> {
        let waiting = self.shared.injector.len();
        if waiting == 0 {
            return None;
        }
        let task = self.steal_injected()?;
        if self.shared.sysmon.has_taken_over() {
            self.last_takeover.note(Instant::now());
        }
        if waiting >= INJECTED_BURST {
            task.prefetch();
            self.core.queues.take_ahead(|| self.steal_injected());
        }
        Some(task)
    }

    /// Looks for work elsewhere, out of its own since just now. What came last may have been a timer: then the next to come is
    /// likely to be one, which is not found by searching, and one look at the others is enough.
    pub(crate) fn search(&self, mut since: Instant, after_timer: bool) -> Option<Next> {
        let Shared { idle, cpu_bound, .. } = &*self.shared;
        // What waits where CPU-bound tasks compute is not far, and the processor not free for a search.
        let computing = || cpu_bound.running() > 0 && !self.shared.has_work();
        let in_vain = || after_timer || self.last_wait.get() > BRIEF || computing();
        if self.must_retire() || idle.is_alone() && in_vain() {
            return None;
        }
        if !self.searching.get() {
            self.searching.set(self.shared.idle.start_search());
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
            false => (LOOKS / self.shared.remotes().len()).clamp(LEAST_SWEEPS, MOST_SWEEPS),
        };
        let may_take_over = !briefly && self.shared.takeover_pause.until(since).is_none();
        let mut spins = 1;
        for _ in 0..sweeps {
            let found = self.steal().or_else(|| self.take_injected_burst());
            let found = found.or_else(|| self.take_strewn());
            if found.is_some() || self.has_pinned_work() || self.shared.is_stopped() {
                return found.map(Next::Run);
            }
            if self.shared.pool.prepare_ahead() {
                // Stacks for a burst that another starts: most of the time that this takes. Then all anew, timers too.
                return Some(Next::LookAgain);
            }
            (0..spins).for_each(|_| spin_loop());
            spins = (2 * spins).min(MAX_SPINS);
            let now = Instant::now();
            if may_take_over && (self.suspected.get().is_none() || now - since >= TAKE_OVER_AFTER) {
                if let Some(task) = self.take_over_stuck() {
                    self.last_takeover.note(Instant::now());
                    return Some(Next::Run(task));
                }
                since = now;
            }
        }
        None
    }

    /// Suspects some worker with private tasks to be stuck.
    pub(crate) fn suspect(&self) {
        let remotes = self.shared.remotes();
        let (count, start) = (remotes.len(), self.random() as usize);
        let suspect = (0..count).map(|offset| (start + offset) % count).find_map(|index| {
            let remote = remotes[index].get().filter(|_| index != self.core.index as usize)?;
            remote.has_private().then(|| (index as u32, remote.moves()))
        });
        self.suspected.set(suspect);
    }

    /// Takes private tasks of the suspect, if it has not moved since.
    pub(crate) fn take_over(&self) -> Option<TaskRef> {
        let (suspect, moves) = self.suspected.take()?;
        let suspect = self.shared.remote(suspect);
        if suspect.moves() != moves {
            return None;
        }
        let mut tasks = suspect.take_over(TakeOver::Some).into_iter();
        let first = tasks.next().or_else(|| take_over_job(&self.shared, suspect))?;
        self.counters().steals.count();
        self.counters().takeovers.count();
        tasks.for_each(|task| self.core.queues.loot().push(task));
        Some(first)
    }

    /// Whether the one under suspicion has not moved since. If it has, another is suspected.
    pub(crate) fn is_suspect_stuck(&self) -> bool {
        let stuck = self
            .suspected
            .get()
            .is_some_and(|(suspect, moves)| self.shared.remote(suspect).moves() == moves);
        if !stuck {
            self.suspect();
        }
        stuck
    }

    /// Takes private tasks of a worker that has not moved since this was last called.
    pub(crate) fn take_over_stuck(&self) -> Option<TaskRef> {
        let taken_over = self.take_over();
        self.suspect();
        taken_over
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
