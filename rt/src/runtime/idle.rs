//! Who searches, who sleeps, whom to wake. The protocol is described and proved in `README.md` beside
//! this file; the section numbers below are its.
//!
//! Invariants:
//! - `word` counts: `searching` workers look for work, `running` workers are awake and not blocked
//!   (the searching among them), `sleeping` workers are in `sleepers`. Beside them it has how many may run.
//! - A worker enters and leaves `sleepers` under its lock, and `sleeping` changes with it.
//! - Whoever takes a worker out of `sleepers` has counted it as running and searching, and owes it
//!   exactly one wake; a worker that takes itself out is owed none.

use crossbeam_utils::CachePadded;

use crate::loom::{AtomicU64, Mutex, Ordering, fence, lock};
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
    /// How many may run.
    fn limit(self) -> u64 {
        self.0 / LIMIT
    }
    /// Whether fewer run than may.
    fn has_room(self) -> bool {
        self.running() < self.limit()
    }
}

/// Whom a notifier must wake. The woken is counted as running and searching already.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summon {
    Nobody,
    /// Unpark this worker.
    Worker(u32),
    /// All are busy or blocked, and one more may run: start a spare, or call `spare_failed`.
    Spare,
}

#[derive(Debug)]
pub(crate) struct Idle {
    /// Read at every push, so in a line with nothing that is written more often.
    word: CachePadded<AtomicU64>,
    sleepers: Mutex<Vec<u32>>,
}

impl Idle {
    /// `limit` workers, all counted as running; a worker starts by looking for work.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            word: CachePadded::new(AtomicU64::new(u64::from(limit) * (LIMIT + RUNNING))),
            sleepers: Mutex::new(Vec::new()),
        }
    }

    fn counts(&self) -> Counts {
        Counts(self.word.load(Ordering::Relaxed))
    }

    /// Called after work was made visible, by a worker that stays awake (§3). One load when nobody
    /// need be woken.
    #[inline]
    pub(crate) fn notify(&self) -> Summon {
        barrier::light();
        let counts = self.counts();
        if counts.searching() > 0 || !counts.has_room() {
            return Summon::Nobody;
        }
        self.summon()
    }

    /// Called after work was made visible by anyone else: threads outside, and workers about to block.
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

    /// As [`Idle::notify_outside`], though somebody searches: for work that is worth several workers at once.
    pub(crate) fn notify_another(&self) -> Summon {
        fence(Ordering::SeqCst);
        let mut sleepers = lock(&self.sleepers);
        if self.counts().has_room() { self.take_any(&mut sleepers) } else { Summon::Nobody }
    }

    /// Sets how many workers may run. One thread does that. If they are more than before it then passes a heavy barrier,
    /// looks at the queues, and notifies if there is work (§5).
    pub(crate) fn set_limit(&self, limit: u64) {
        let change = limit.wrapping_sub(self.counts().limit());
        self.word.fetch_add(change.wrapping_mul(LIMIT), Ordering::SeqCst);
    }

    fn take_any(&self, sleepers: &mut Vec<u32>) -> Summon {
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

    /// The spare that `Summon::Spare` asked for could not be had.
    pub(crate) fn spare_failed(&self) {
        self.word.fetch_sub(SEARCHING + RUNNING, Ordering::SeqCst);
    }

    /// Takes one given worker out of the sleepers, whatever the limit: it alone may run what waits for
    /// it. True if it slept; the caller then owes it the wake.
    pub(crate) fn summon_worker(&self, worker: u32) -> bool {
        fence(Ordering::SeqCst);
        self.take_out(worker)
    }

    /// A worker joins the searching, if they are fewer than half of the running.
    #[must_use]
    pub(crate) fn start_search(&self) -> bool {
        let counts = self.counts();
        if 2 * counts.searching() >= counts.running() {
            return false;
        }
        self.word.fetch_add(SEARCHING, Ordering::SeqCst);
        true
    }

    /// A searching worker has found work. The last one to stop looks for a successor, unless it alone runs and sees
    /// that there is nothing more to find (§4).
    pub(crate) fn stop_search(&self, has_work: impl FnOnce() -> bool) -> Summon {
        let before = Counts(self.word.fetch_sub(SEARCHING, Ordering::SeqCst));
        if before.searching() > 1 {
            return Summon::Nobody;
        }
        fence(Ordering::SeqCst);
        if before.running() == 1 && !has_work() { Summon::Nobody } else { self.notify() }
    }

    /// A worker without work announces that it goes to sleep, and passes the barrier: from here on it
    /// sees what was pushed by threads that have not seen that it sleeps. It must then look once more at
    /// every queue (§3), and either [`Idle::wake_self`] or sleep until it is woken.
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

    /// A worker that announced its sleep has work to look at, or its time is over. True if it is
    /// awake now, and counted as searching; false if another took it out, and owes it a wake.
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

    /// A running worker is about to block, or was found stuck: another may run in its place. The
    /// caller looks at the queues afterwards (§5).
    pub(crate) fn block(&self) {
        self.word.fetch_sub(RUNNING, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// A blocked worker runs again, perhaps one too many: see [`Idle::over_limit`].
    pub(crate) fn unblock(&self) {
        self.word.fetch_add(RUNNING, Ordering::SeqCst);
    }

    /// A worker that has just woken itself up ends. Somebody may have relied on it to search, so it
    /// must look at the queues once more afterwards (§3), and notify if there is work.
    pub(crate) fn leave(&self) {
        self.word.fetch_sub(SEARCHING + RUNNING, Ordering::SeqCst);
        barrier::heavy();
    }

    /// Whether more workers run than should, so that one must retire.
    pub(crate) fn over_limit(&self) -> bool {
        let counts = self.counts();
        counts.running() > counts.limit()
    }

    /// Whether no worker is awake but those that are blocked.
    pub(crate) fn is_quiet(&self) -> bool {
        fence(Ordering::SeqCst);
        self.counts().running() == 0
    }

    /// Whether no worker is awake but those that are blocked; if so, what they did before is seen.
    pub(crate) fn is_at_rest(&self) -> bool {
        Counts(self.word.load(Ordering::Acquire)).running() == 0
    }

    /// Whether fewer workers run than may.
    pub(crate) fn has_room(&self) -> bool {
        self.counts().has_room()
    }

    /// Whether no other worker runs. A hint, for one that does.
    pub(crate) fn is_alone(&self) -> bool {
        self.counts().running() <= 1
    }

    /// Whether somebody looks for work, or sleeps though one more may run. A hint.
    #[inline]
    pub(crate) fn has_idle_workers(&self) -> bool {
        let counts = self.counts();
        counts.searching() > 0 || counts.has_room()
    }

    /// Whether nobody is looking for work.
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

    /// A parker whose sleep loom understands: it reports a deadlock if nobody is left to wake it.
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

    /// A scheduler reduced to its sleep protocol: a counter for the queues, a flag per parked worker.
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

        /// Runs worker `me` until it has taken one piece of work. If it sleeps and nobody wakes it, loom
        /// reports a deadlock.
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

    /// A worker finds nothing and goes to sleep while somebody pushes. Whatever the interleaving, it
    /// must not sleep on, unwoken, beside the work.
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
            // Outside the world's lifetime, so that a failure unwinds cleanly.
            drop(world);
            assert!(left == 0 || !asleep || woken, "asleep beside work");
        });
    }

    #[test]
    fn a_push_from_outside_is_not_lost() {
        one_worker_one_push(true, true);
    }

    /// A push with no fence but the asymmetric one.
    #[test]
    fn a_push_with_the_light_barrier_is_not_lost() {
        one_worker_one_push(true, false);
    }

    /// The check on the model itself: without the second look the wake is lost, and loom finds it.
    #[test]
    #[should_panic(expected = "asleep beside work")]
    fn without_the_recheck_a_push_is_lost() {
        one_worker_one_push(false, true);
    }

    /// One more may run, while the only worker that does pushes, and is stuck from then on: another must be woken.
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
