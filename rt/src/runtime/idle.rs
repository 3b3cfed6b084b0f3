//! The counts of searching, running and sleeping workers, and the choice of the worker to wake.
//!
//! `README.md` in this folder describes the protocol and proves it; the section numbers below are
//! its own.
//!
//! Invariants:
//! - `word` counts the `searching` workers, which look for work; the `running` workers, which are
//!   awake and not blocked (the searching ones among them); and the `sleeping` workers, which are
//!   in `sleepers`. It also holds the limit: how many workers may run.
//! - A worker enters and leaves `sleepers` under its lock, and `sleeping` changes with it.
//! - A thread that takes a worker out of `sleepers` counts it as running and searching in the same
//!   step, and owes it exactly one wake. A worker that takes itself out is owed none.

use crossbeam_utils::CachePadded;

use crate::loom::{AtomicU32, AtomicU64, Mutex, Ordering, fence, lock};
use crate::util::barrier;

const SEARCHING: u64 = 1;

const RUNNING: u64 = 1 << 16;

const SLEEPING: u64 = 1 << 32;

const LIMIT: u64 = 1 << 48;

const FIELD: u64 = 0xffff;

#[derive(Clone, Copy)]
struct Counts(u64);

impl Counts {
    fn searching(self) -> u64 {
        self.0 & FIELD
    }
    fn running(self) -> u64 {
        (self.0 / RUNNING) & FIELD
    }
    /// Returns how many workers may run.
    fn limit(self) -> u64 {
        self.0 / LIMIT
    }
    /// Returns `true` if fewer workers run than the limit.
    fn has_room(self) -> bool {
        self.running() < self.limit()
    }
}

/// The worker that a notifier must wake. It is counted as running and searching already.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summon {
    Nobody,
    /// Unpark this worker.
    Worker(u32),
    /// All workers are busy or blocked, and one more may run: start a spare, or call
    /// `spare_failed`.
    Spare,
}

#[derive(Debug)]
pub(crate) struct Idle {
    /// Read at every push, and so alone in its cache line.
    word: CachePadded<AtomicU64>,
    sleepers: Mutex<Vec<u32>>,
    /// The worker that sleeps in the poller, or has slept there last. A hint.
    poller: AtomicU32,
}

impl Idle {
    /// Creates the counts for `limit` workers, all of them running: a worker starts by looking for
    /// work.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            word: CachePadded::new(AtomicU64::new(u64::from(limit) * (LIMIT + RUNNING))),
            sleepers: Mutex::new(Vec::new()),
            poller: AtomicU32::new(u32::MAX),
        }
    }

    /// Notes that a worker is about to sleep in the poller. Others are woken before it.
    pub(crate) fn note_poller(&self, worker: u32) {
        self.poller.store(worker, Ordering::Relaxed);
    }

    fn counts(&self) -> Counts {
        Counts(self.word.load(Ordering::Relaxed))
    }

    /// Notifies of work that a worker has made visible. The worker stays awake (§3). Costs one load
    /// if no worker must be woken.
    #[inline]
    pub(crate) fn notify(&self) -> Summon {
        barrier::light();
        let counts = self.counts();
        if counts.searching() > 0 || !counts.has_room() {
            return Summon::Nobody;
        }
        self.summon()
    }

    /// Notifies of work that any other thread has made visible: a thread outside, or a worker that
    /// is about to block.
    pub(crate) fn notify_outside(&self) -> Summon {
        fence(Ordering::SeqCst);
        self.notify()
    }

    #[cold]
    fn summon(&self) -> Summon {
        let mut sleepers = lock(&self.sleepers);
        let counts = self.counts();
        if counts.searching() > 0 || !counts.has_room() {
            return Summon::Nobody;
        }
        self.take_any(&mut sleepers)
    }

    /// Like [`Idle::notify_outside`], but wakes a worker even if another searches: for work that is
    /// worth several workers at once.
    pub(crate) fn notify_another(&self) -> Summon {
        fence(Ordering::SeqCst);
        let mut sleepers = lock(&self.sleepers);
        if self.counts().has_room() { self.take_any(&mut sleepers) } else { Summon::Nobody }
    }

    /// Sets how many workers may run. Only sysmon calls this. After raising the limit it passes a
    /// heavy barrier, looks at the queues, and notifies if there is work (§5).
    pub(crate) fn set_limit(&self, limit: u64) {
        let change = limit.wrapping_sub(self.counts().limit());
        self.word.fetch_add(change.wrapping_mul(LIMIT), Ordering::SeqCst);
    }

    fn take_any(&self, sleepers: &mut Vec<u32>) -> Summon {
        if let [.., other, last] = &mut sleepers[..] {
            if *last == self.poller.load(Ordering::Relaxed) {
                std::mem::swap(other, last);
            }
        }
        match sleepers.pop() {
            Some(worker) => {
                self.word.fetch_add((SEARCHING + RUNNING).wrapping_sub(SLEEPING), Ordering::SeqCst);
                Summon::Worker(worker)
            }
            None => {
                self.word.fetch_add(SEARCHING + RUNNING, Ordering::SeqCst);
                Summon::Spare
            }
        }
    }

    /// Takes back the count of a spare that `Summon::Spare` asked for and that could not be
    /// started.
    pub(crate) fn spare_failed(&self) {
        self.word.fetch_sub(SEARCHING + RUNNING, Ordering::SeqCst);
    }

    /// Takes the given worker out of the sleepers, whatever the limit, because only that worker may
    /// run the task that waits. Returns `true` if it slept; the caller then owes it the wake.
    pub(crate) fn summon_worker(&self, worker: u32) -> bool {
        fence(Ordering::SeqCst);
        self.take_out(worker)
    }

    /// Counts a worker as searching, unless half of the running workers search already.
    #[must_use]
    pub(crate) fn start_search(&self) -> bool {
        let counts = self.counts();
        if 2 * counts.searching() >= counts.running() {
            return false;
        }
        self.word.fetch_add(SEARCHING, Ordering::SeqCst);
        true
    }

    /// Ends the search of a worker that has found work. The last searcher notifies, unless it is
    /// the only running worker and sees that there is no more work (§4).
    pub(crate) fn stop_search(&self, has_work: impl FnOnce() -> bool) -> Summon {
        let before = Counts(self.word.fetch_sub(SEARCHING, Ordering::SeqCst));
        if before.searching() > 1 {
            return Summon::Nobody;
        }
        fence(Ordering::SeqCst);
        if before.running() == 1 && !has_work() { Summon::Nobody } else { self.notify() }
    }

    /// Announces that a worker without work goes to sleep, and passes the barrier. From then on the
    /// worker sees everything that was pushed by threads that have not seen it sleep. It must then
    /// look at every queue once more (§3), and either call [`Idle::wake_self`] or sleep until it is
    /// woken.
    pub(crate) fn sleep(&self, worker: u32, was_searching: bool) {
        let mut sleepers = lock(&self.sleepers);
        sleepers.push(worker);
        let change = SLEEPING.wrapping_sub(RUNNING).wrapping_sub(u64::from(was_searching));
        let before = Counts(self.word.fetch_add(change, Ordering::SeqCst));
        drop(sleepers);
        if before.running() == 1 {
            // No other worker runs, and a thread that pushes without running fences as well.
            fence(Ordering::SeqCst);
        } else {
            barrier::heavy();
        }
    }

    /// Takes a worker out of its own announced sleep, because it sees work or its time is over.
    /// Returns `true` if the worker is awake now and counted as searching, and `false` if another
    /// thread took it out and owes it a wake.
    #[must_use]
    pub(crate) fn wake_self(&self, worker: u32) -> bool {
        self.take_out(worker)
    }

    fn take_out(&self, worker: u32) -> bool {
        let mut sleepers = lock(&self.sleepers);
        let Some(place) = sleepers.iter().position(|&other| other == worker) else { return false };
        sleepers.swap_remove(place);
        self.word.fetch_add((SEARCHING + RUNNING).wrapping_sub(SLEEPING), Ordering::SeqCst);
        true
    }

    /// Stops counting a worker as running: it is about to block, or sysmon retakes it. Another may
    /// run in its place. The caller looks at the queues afterwards (§5).
    pub(crate) fn block(&self) {
        self.word.fetch_sub(RUNNING, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Counts a blocked worker as running again. It may be one too many: see [`Idle::over_limit`].
    pub(crate) fn unblock(&self) {
        self.word.fetch_add(RUNNING, Ordering::SeqCst);
    }

    /// Removes a worker that ends just after it has woken itself up. Other threads may have relied
    /// on its search, so it must look at the queues once more afterwards (§3), and notify if there
    /// is work.
    pub(crate) fn leave(&self) {
        self.word.fetch_sub(SEARCHING + RUNNING, Ordering::SeqCst);
        barrier::heavy();
    }

    /// Returns `true` if more workers run than the limit allows, so that one must retire.
    pub(crate) fn over_limit(&self) -> bool {
        let counts = self.counts();
        counts.running() > counts.limit()
    }

    /// Returns `true` if no worker runs: each sleeps or is blocked.
    pub(crate) fn is_quiet(&self) -> bool {
        fence(Ordering::SeqCst);
        self.counts().running() == 0
    }

    /// Returns `true` if no worker runs. The caller then sees what the workers did before.
    pub(crate) fn is_at_rest(&self) -> bool {
        Counts(self.word.load(Ordering::Acquire)).running() == 0
    }

    /// Returns `true` if fewer workers run than the limit.
    pub(crate) fn has_room(&self) -> bool {
        self.counts().has_room()
    }

    /// Returns `true` if no other worker runs. A hint, for a running worker.
    pub(crate) fn is_alone(&self) -> bool {
        self.counts().running() <= 1
    }

    /// Returns `true` if a worker searches, or if one more may run. A hint.
    #[inline]
    pub(crate) fn has_idle_workers(&self) -> bool {
        let counts = self.counts();
        counts.searching() > 0 || counts.has_room()
    }

    /// Returns `true` if no worker searches.
    pub(crate) fn nobody_searches(&self) -> bool {
        self.counts().searching() == 0
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::AtomicUsize;
    use loom::sync::{Arc, Condvar};
    use loom::thread;

    /// A parker whose sleep loom understands: loom reports a deadlock if no thread is left to wake
    /// it.
    struct Flag {
        woken: Mutex<bool>,
        changed: Condvar,
    }

    impl Flag {
        fn new() -> Self {
            Self { woken: Mutex::new(false), changed: Condvar::new() }
        }

        fn set(&self) {
            *lock(&self.woken) = true;
            self.changed.notify_one();
        }

        fn sleep(&self) {
            let mut woken = lock(&self.woken);
            while !std::mem::replace(&mut *woken, false) {
                woken = self.changed.wait(woken).unwrap();
            }
        }
    }

    /// A runtime reduced to its sleep protocol: a counter for the queues, a flag for each parked
    /// worker.
    struct World {
        idle: Idle,
        work: AtomicUsize,
        wakes: Vec<Flag>,
    }

    impl World {
        fn push(&self, outside: bool) {
            // Relaxed: what the barrier must order, the queue does not.
            self.work.fetch_add(1, Ordering::Relaxed);
            let summon = if outside { self.idle.notify_outside() } else { self.idle.notify() };
            self.answer(summon);
        }

        fn answer(&self, summon: Summon) {
            match summon {
                Summon::Nobody => {}
                Summon::Worker(worker) => self.wakes[worker as usize].set(),
                Summon::Spare => self.idle.spare_failed(),
            }
        }

        fn take(&self) -> bool {
            let mut left = self.work.load(Ordering::Relaxed);
            while left > 0 {
                match self.work.compare_exchange(
                    left,
                    left - 1,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return true,
                    Err(now) => left = now,
                }
            }
            false
        }

        /// Runs worker `me` until it has taken one piece of work. If it sleeps and is never woken,
        /// loom reports a deadlock.
        fn work_once(&self, me: u32) {
            let mut searching = self.idle.start_search();
            loop {
                if self.take() {
                    if searching {
                        let summon =
                            self.idle.stop_search(|| self.work.load(Ordering::Relaxed) > 0);
                        self.answer(summon);
                    }
                    return;
                }
                self.idle.sleep(me, searching);
                let wakes = self.work.load(Ordering::Relaxed) > 0;
                if wakes && self.idle.wake_self(me) {
                    searching = true;
                    continue;
                }
                self.wakes[me as usize].sleep();
                searching = true;
            }
        }
    }

    fn world(workers: u32) -> Arc<World> {
        Arc::new(World {
            idle: Idle::new(workers),
            work: AtomicUsize::new(0),
            wakes: (0..workers).map(|_| Flag::new()).collect(),
        })
    }

    /// A worker finds nothing and goes to sleep while another thread pushes. Whatever the
    /// interleaving, it must not stay asleep while there is work.
    fn one_worker_one_push(recheck: bool, outside: bool) {
        loom::model(move || {
            let world = world(1);
            let worker = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    if world.take() {
                        return false;
                    }
                    world.idle.sleep(0, false);
                    let seen = recheck && world.work.load(Ordering::Relaxed) > 0;
                    !(seen && world.idle.wake_self(0))
                })
            };
            world.push(outside);
            let asleep = worker.join().unwrap();
            let woken = *lock(&world.wakes[0].woken);
            let left = world.work.load(Ordering::Relaxed);
            // Asserts after the world is gone, so that a failure unwinds cleanly.
            drop(world);
            assert!(left == 0 || !asleep || woken, "asleep beside work");
        });
    }

    #[test]
    fn a_push_from_outside_is_not_lost() {
        one_worker_one_push(true, true);
    }

    /// A push whose only fence is the asymmetric one.
    #[test]
    fn a_push_with_the_light_barrier_is_not_lost() {
        one_worker_one_push(true, false);
    }

    /// Checks the model itself: without the second look the wake is lost, and loom finds it.
    #[test]
    #[should_panic(expected = "asleep beside work")]
    fn without_the_recheck_a_push_is_lost() {
        one_worker_one_push(false, true);
    }

    /// One more worker may run. The only running worker pushes and is stuck from then on: another
    /// must be woken.
    fn one_more_may_run(looks: bool) {
        loom::model(move || {
            let world = Arc::new(World {
                idle: Idle::new(1),
                work: AtomicUsize::new(0),
                wakes: [(); 2].map(|()| Flag::new()).into(),
            });
            // The second worker was one too many, and sleeps.
            world.idle.unblock();
            world.idle.sleep(1, false);
            let stuck = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.push(false))
            };
            world.idle.set_limit(2);
            if looks {
                barrier::heavy();
                if world.work.load(Ordering::Relaxed) > 0 {
                    world.answer(world.idle.notify_outside());
                }
            }
            stuck.join().unwrap();
            let woken = *lock(&world.wakes[1].woken);
            drop(world);
            assert!(woken, "asleep beside work");
        });
    }

    #[test]
    fn who_may_run_more_looks() {
        one_more_may_run(true);
    }

    #[test]
    #[should_panic(expected = "asleep beside work")]
    fn without_the_look_one_more_sleeps_on() {
        one_more_may_run(false);
    }

    #[test]
    fn two_workers_share_two_pushes() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let world = world(2);
            let workers: Vec<_> = (0..2)
                .map(|me| {
                    let world = Arc::clone(&world);
                    thread::spawn(move || world.work_once(me))
                })
                .collect();
            world.push(true);
            world.push(true);
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
    }
}
