//! The search of a worker that is out of work. If it finds none, the worker goes to sleep
//! (`park.rs`).

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use crossbeam_deque::Steal;

use crate::runtime::driver::poller;
use crate::runtime::handle::take_over_job;
use crate::runtime::queue::private::TakeOver;
use crate::runtime::shared::Shared;
use crate::runtime::worker::{Next, Worker};
use crate::task::header::TaskRef;

/// The most sweeps over all other workers in a search; below it, the fewest. A sweep costs little
/// more than two memory barriers for each victim, so the most take about 10 µs (up to 80 where
/// `pause` is slow): about the cost of being put to sleep and woken again.
const MOST_SWEEPS: usize = 32;

const LEAST_SWEEPS: usize = 2;

/// How many victims a search looks at, so that it takes no longer with many workers than with few.
/// Fewer sweeps miss nothing: a worker that goes to sleep looks at every queue once more.
const LOOKS: usize = 512;

/// Pauses between sweeps grow up to this many spins.
const MAX_SPINS: u32 = 64;

/// This many injected tasks are a burst.
const INJECTED_BURST: usize = 64;

/// A worker that is out of work while no other runs does not search, unless its last wait was no
/// longer than this. Any work that it could find comes from outside.
const BRIEF: Duration = Duration::from_micros(100);

/// How long a worker with private tasks must not have moved on before a searching worker takes some
/// of them over.
const TAKE_OVER_AFTER: Duration = Duration::from_micros(10);

impl Worker {
    /// Takes work from another worker: the oldest continuation, or half of its ready tasks. Victims
    /// are tried in the order of their numbers, from a random one on.
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
                // Checked first, because each attempt pins crossbeam's epoch, and every 128th pin
                // looks at all threads: with that many workers, several times in a sweep.
                if std::sync::Arc::ptr_eq(victim, &self.core.remote) || !victim.has_stealable() {
                    continue;
                }
                // One deque after the other: if both attempts succeeded, one of the two tasks would
                // be lost.
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

    /// Takes the oldest injected task.
    pub(crate) fn take_injected(&self) -> Option<TaskRef> {
        // A steal that finds nothing costs a fence; this check does not.
        if self.shared.injector.is_empty() { None } else { self.steal_injected() }
    }

    fn steal_injected(&self) -> Option<TaskRef> {
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

    /// Like [`Worker::take_injected`], for a worker that is out of other work. If there is a burst,
    /// it takes some more tasks ahead and prefetches them, because another processor wrote them
    /// last.
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

    /// Searches for work elsewhere. The worker has been out of work since `since`. With
    /// `after_timer`, its last sleep ended because a timer was due. Then a timer is likely to bring
    /// the next work too, which no search can find, so one look at the other workers is enough.
    pub(crate) fn search(&self, mut since: Instant, after_timer: bool) -> Option<Next> {
        let Shared { idle, cpu_bound, .. } = &*self.shared;
        // Where CPU-bound tasks compute, no processor is free for a search, and a look at the
        // queues is enough.
        let computing = || cpu_bound.running() > 0 && !self.shared.has_work();
        let in_vain = || after_timer || self.last_wait.get() > BRIEF || computing();
        // A worker that is alone waits for I/O by sleeping.
        let in_vain = || in_vain() || poller::active().is_some();
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
        // A worker that may be stuck is watched for a while.
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
                // These stacks are for a burst of threads that another worker starts, and make up
                // most of the cost of starting them. Afterwards everything is looked at again,
                // timers too.
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

    /// Chooses a worker with private tasks that may be stuck, as the suspect.
    fn suspect(&self) {
        let remotes = self.shared.remotes();
        let (count, start) = (remotes.len(), self.random() as usize);
        let suspect = (0..count).map(|offset| (start + offset) % count).find_map(|index| {
            let remote = remotes[index].get().filter(|_| index != self.core.index as usize)?;
            remote.has_private().then(|| (index as u32, remote.moves()))
        });
        self.suspected.set(suspect);
    }

    /// Takes over private tasks of the suspect, if it has not moved on since it was chosen.
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

    /// Returns `true` if the suspect has not moved on since it was chosen. Otherwise another is
    /// chosen.
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

    /// Takes over private tasks of the suspect, if it has not moved on since it was chosen. Then
    /// chooses the next suspect.
    pub(crate) fn take_over_stuck(&self) -> Option<TaskRef> {
        let taken_over = self.take_over();
        self.suspect();
        taken_over
    }

    /// Returns a pseudo-random number (xorshift64*), to choose victims and the arms of selects.
    pub(crate) fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
