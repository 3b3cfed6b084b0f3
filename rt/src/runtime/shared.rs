//! What all workers of a runtime share: its data, and the methods that need no worker.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use crossbeam_deque::Injector;
use crossbeam_utils::CachePadded;
use gthread_arch::stacks::{Pool, SizeClass, Slot};

use crate::loom::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, lock};
use crate::runtime::config::{Config, Detection, Leaks, class_of};
use crate::runtime::core::Core;
use crate::runtime::cpu_bound::AdmissionQueue;
use crate::runtime::driver::heap::{NEVER, When};
use crate::runtime::driver::keeper::GRACE;
use crate::runtime::driver::{Driver, TimerKey};
use crate::runtime::gate::World;
use crate::runtime::idle::{Idle, Summon};
use crate::runtime::last_turns::LastTurns;
use crate::runtime::metrics::WorkerMetrics;
use crate::runtime::policy::pause::Pause;
use crate::runtime::policy::random::Chaos;
use crate::runtime::remote::Remote;
use crate::runtime::status::SLEEPING;
use crate::runtime::sysmon::handle::Sysmon;
use crate::runtime::timed_joiners::TimedJoiners;
use crate::task::header::{TaskRef, Waiter, Wake};
use crate::task::owner::Owner;
use crate::task::wait_state::WakeReason;

/// The shared data of one runtime, used by its workers, its tasks and its `Runtime`.
///
/// It outlives the tasks: a `Runtime` that ends while slots are in use leaks it. Workers and sysmon
/// own a count of it. Other threads that have only a task take a count before they use it
/// ([`Shared::count_of`]), because the task may end meanwhile, and the `Runtime` with it.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) hooks: Hooks,
    pub(crate) injector: Injector<TaskRef>,
    pub(crate) tally: CachePadded<SharedCounters>,
    /// The shared sides of the workers, filled from the front: the first `config.workers` at the
    /// start.
    pub(crate) remotes: Box<[OnceLock<Arc<Remote>>]>,
    /// How many of `remotes` are filled, or being filled.
    pub(crate) used: AtomicUsize,
    pub(crate) idle: Idle,
    pub(crate) driver: Driver,
    pub(crate) sysmon: Sysmon,
    pub(crate) cpu_bound: AdmissionQueue,
    /// The random order for tests, in place of the usual one. Boxed, because it is rarely there.
    pub(crate) chaos: Option<Box<Chaos>>,
    pub(crate) world: World,
    /// Milliseconds since the start: at most about 10 ms late while a worker runs.
    pub(crate) clock: CachePadded<AtomicU64>,
    pub(crate) pool: Pool,
    /// The pause in publishing ready tasks (`policy/sharing.rs`); below it, the pause in taking
    /// tasks over (`policy/takeover.rs`).
    pub(crate) sharing_pause: Pause,
    pub(crate) takeover_pause: Pause,
    /// The stack profile, by the place where the threads were spawned.
    pub(crate) stack_sites: Mutex<HashMap<&'static Location<'static>, StackUse>>,
    pub(crate) stopped: AtomicBool,
    /// Set if a deadlock has ended waits with a panic ([`Shared::interrupts`]).
    pub(crate) was_interrupted: AtomicBool,
    pub(crate) last_turns: LastTurns,
    pub(crate) threads: Mutex<Vec<thread::JoinHandle<()>>>,
    /// The cores of spares that have ended, with their deques.
    pub(crate) cores: Mutex<Vec<Core>>,
    /// Outside threads that wait for tasks to end; `None` once stopped.
    pub(crate) joiners: Mutex<Option<Vec<Waiter>>>,
    /// Waits for a task to end that have a deadline, inside or outside.
    pub(crate) timed_joiners: TimedJoiners,
}

/// Functions that diagnostics, which the runtime does not know, install in it.
#[derive(Clone, Copy)]
pub(crate) struct Hooks {
    /// Reports the green threads that are left when the runtime has ended.
    pub(crate) report_leaks: fn(&Arc<Shared>, Leaks),
    /// Creates a [`Watch`].
    pub(crate) watch: fn() -> Watch,
}

/// Called by sysmon when it is dormant: looks for a deadlock if it is time to. Returns when to call
/// it again.
pub(crate) type Watch = Box<dyn FnMut(&Arc<Shared>) -> Option<Instant>>;

/// Counters that belong to no worker. In a cache line of their own, because the fields beside them
/// are read at every task switch.
#[derive(Debug, Default)]
pub(crate) struct SharedCounters {
    /// How often sysmon took tasks from a stuck worker for others.
    pub(crate) moved_on: AtomicU64,
    /// How many workers were woken because there was work.
    pub(crate) wakes: AtomicU64,
}

/// The stack use of the threads that were spawned in one place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StackUse {
    pub(crate) threads: u64,
    pub(crate) high_water: usize,
}

/// The reason for the wake of a joiner when the runtime stops.
const ABANDONED: WakeReason = 1;

impl Shared {
    /// Returns `true` if some task has not finished.
    pub(crate) fn has_threads(&self) -> bool {
        let mut alive = false;
        // SAFETY: these are the pool's own slots; the tasks are not looked at.
        self.pool.for_each_in_use(|top| alive |= unsafe { TaskRef::at_top(top) }.is_some());
        alive
    }

    /// Returns `true` if the random order holds tasks that any worker could take.
    fn has_strewn(&self) -> bool {
        self.chaos.as_ref().is_some_and(|chaos| !chaos.is_empty())
    }

    /// Returns how many task switches the workers have made.
    pub(crate) fn task_switches(&self) -> u64 {
        self.workers().map(|remote| remote.own.counters.task_switches.get()).sum()
    }

    /// Returns `true` if all workers sleep, none of them blocked in a task.
    pub(crate) fn all_workers_sleep(&self) -> bool {
        self.workers().all(|remote| remote.own.status.state() == SLEEPING)
    }

    /// Returns `true` if an OS thread waits for one of the runtime's tasks.
    pub(crate) fn is_waited_for(&self) -> bool {
        let outside = |waiter: &Waiter| matches!(waiter, Waiter::Os(_));
        lock(&self.joiners).as_ref().is_some_and(|joiners| joiners.iter().any(outside))
    }

    /// Returns `true` if a deadlock becomes a panic in the tasks that wait.
    #[inline]
    pub(crate) fn interrupts(&self) -> bool {
        self.config.detection == Detection::Panic
    }

    /// Withdraws a timer that did not end its wait.
    pub(crate) fn remove_timer(&self, key: TimerKey) {
        self.remote(key.worker).timers.remove(key.handle);
    }

    /// Returns `true` if there is a timer.
    pub(crate) fn has_timers(&self) -> bool {
        self.earliest() != NEVER
    }

    /// Returns the earliest deadline of all workers' timers.
    pub(crate) fn earliest(&self) -> When {
        self.workers().map(|worker| worker.timers.earliest()).min().unwrap_or(NEVER)
    }

    /// Fires the timers of the given workers that are late by at least `grace`, up to a batch for
    /// each worker. Returns how many.
    pub(crate) fn fire<'a>(
        &self,
        workers: impl Iterator<Item = &'a Arc<Remote>>,
        grace: When,
        mut wake: impl FnMut(Wake),
    ) -> usize {
        // The clock is read only if there are timers.
        let now = LazyCell::new(|| self.driver.now().saturating_sub(grace));
        let mut fired = 0;
        for timers in workers.map(|remote| &remote.timers) {
            let earliest = timers.earliest();
            if earliest != NEVER && earliest <= *now {
                fired += timers.fire(*now, &mut wake);
            }
        }
        fired
    }

    /// Fires timers that are late because the workers are too busy. Called by sysmon.
    pub(crate) fn fire_late_timers(&self, wake: impl FnMut(Wake)) {
        self.fire(self.workers(), GRACE, wake);
    }

    /// Returns `true` if a timer is due. Looks at the clock only if there are timers.
    pub(crate) fn is_timer_due(&self) -> bool {
        let earliest = self.earliest();
        earliest != NEVER && earliest <= self.driver.now()
    }

    /// Announces that sysmon goes to sleep until `other` at the latest. Returns until when it may
    /// sleep. Undone with [`stop_watching`](Self::stop_watching).
    pub(crate) fn watch_timers(&self, other: Option<Instant>) -> Option<Instant> {
        let other = other.map_or(NEVER, |at| self.driver.when(at));
        self.driver.instant(self.driver.watch.watch(other, || self.earliest()))
    }

    /// Announces that sysmon is awake.
    pub(crate) fn stop_watching(&self) {
        self.driver.watch.unwatch();
    }

    /// Returns `true` if no worker runs, and no CPU-bound task waits for its turn.
    pub(crate) fn is_quiet(&self) -> bool {
        self.idle.is_quiet() && self.cpu_bound.nobody_waits()
    }

    /// Returns the runtime of a task.
    #[inline]
    pub(crate) fn of(task: &TaskRef) -> &Self {
        // SAFETY: tasks are made with the shared data of their runtime as their owner, which
        // outlives them.
        unsafe { task.owner().get() }
    }

    /// Returns a counted pointer to the runtime of `task`, for use outside its workers.
    pub(crate) fn count_of(task: TaskRef) -> Arc<Self> {
        let shared = std::ptr::from_ref(Self::of(&task));
        // SAFETY: shared data lives in an `Arc` (`lifecycle.rs`), and this one is alive: the caller
        // has the task, whose slot counts as in use until it is freed.
        unsafe {
            Arc::increment_strong_count(shared);
            Arc::from_raw(shared)
        }
    }

    /// Returns the owner of this runtime's tasks.
    #[inline]
    pub(crate) fn owner(&self) -> Owner {
        Owner::of(self)
    }

    /// Makes a task runnable from outside the workers.
    pub(crate) fn inject(&self, task: TaskRef) {
        match task.pinned() {
            Some(home) => self.post(home, task),
            None => {
                self.injector.push(task);
                self.answer(self.idle.notify_outside());
            }
        }
    }

    /// Wakes the worker that [`Idle`] has chosen, or asks for a spare.
    #[inline]
    pub(crate) fn answer(&self, summon: Summon) {
        match summon {
            Summon::Nobody => {}
            Summon::Worker(worker) => {
                self.tally.wakes.fetch_add(1, Ordering::Relaxed);
                self.remote(worker).parker.unpark();
            }
            Summon::Spare => self.sysmon.request_spare(),
        }
    }

    /// Makes a pinned task runnable on its worker.
    pub(crate) fn post(&self, home: u32, task: TaskRef) {
        let remote = self.remote(home);
        remote.post(task);
        if self.idle.summon_worker(home) {
            remote.parker.unpark();
        }
    }

    /// Counts one more task that is pinned to a worker.
    pub(crate) fn note_pinned(&self, home: u32) {
        self.remote(home).pinned.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one task less that is pinned to a worker.
    pub(crate) fn forget_pinned(&self, home: u32) {
        self.remote(home).pinned.fetch_sub(1, Ordering::Relaxed);
    }

    /// Chooses a worker for a task that an outside thread pins: one of the first, in turn.
    pub(crate) fn any_worker(&self) -> u32 {
        static TURN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        TURN.fetch_add(1, Ordering::Relaxed) % self.config.workers
    }

    pub(crate) fn remotes(&self) -> &[OnceLock<Arc<Remote>>] {
        &self.remotes[..self.used.load(Ordering::Acquire)]
    }

    /// Returns the shared side of each worker, spares among them.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.remotes().iter().filter_map(OnceLock::get)
    }

    pub(crate) fn remote(&self, worker: u32) -> &Remote {
        self.remotes[worker as usize].get().expect("workers are numbered from the front")
    }

    /// Returns `true` if any worker could find work.
    pub(crate) fn has_work(&self) -> bool {
        !self.injector.is_empty()
            || self.workers().any(|worker| worker.has_stealable())
            || self.has_strewn()
    }

    /// Returns `true` if some worker has private tasks.
    pub(crate) fn has_private(&self) -> bool {
        self.workers().any(|worker| worker.has_private())
    }

    /// Returns `true` if a deadlock has ended waits of the runtime's tasks.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.was_interrupted.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Returns the pool of stacks, for use outside the workers.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Notes how much of its stack a thread has used, and empties the stack for the next thread.
    #[cold]
    pub(crate) fn profile_stack(&self, site: &'static Location<'static>, slot: &Slot) {
        // SAFETY: the thread has ended, and the slot is not back in the pool yet.
        let used = unsafe { slot.high_water() };
        // SAFETY: as above.
        unsafe { slot.give_back() };
        let mut sites = lock(&self.stack_sites);
        let stack_use = sites.entry(site).or_default();
        stack_use.threads += 1;
        stack_use.high_water = stack_use.high_water.max(used);
    }

    /// Returns the stack profile.
    pub(crate) fn stack_sites(&self) -> Vec<(&'static Location<'static>, StackUse)> {
        lock(&self.stack_sites).iter().map(|(site, stack_use)| (*site, *stack_use)).collect()
    }

    /// Returns the class of the stack for a thread with `stack_size`.
    pub(crate) fn class_for(&self, stack_size: Option<usize>) -> std::io::Result<SizeClass> {
        match stack_size {
            None => Ok(self.config.class),
            Some(bytes) => Ok(class_of(bytes, self.pool.guard_size())?),
        }
    }

    /// Returns the coarse clock, for notes.
    #[inline]
    pub(crate) fn coarse_now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Advances the coarse clock. Called by a worker after its sleep, and by sysmon now and then.
    pub(crate) fn advance_clock(&self) -> u64 {
        let now = self.driver.now() / 1_000_000;
        if self.coarse_now() < now {
            self.clock.store(now, Ordering::Relaxed);
        }
        now
    }

    /// Returns the counters of each worker, spares among them.
    pub(crate) fn counts(&self) -> Vec<WorkerMetrics> {
        self.workers().map(|worker| worker.own.counters.read()).collect()
    }

    /// Returns the counts that do not belong to one worker: tasks that came through the injector so
    /// far, wakes of sleeping workers, and takeovers by sysmon.
    pub(crate) fn shared_counts(&self) -> [u64; 3] {
        // Injecting counts nothing. The worker that takes a task out counts it.
        let taken: u64 = self.workers().map(|worker| worker.own.counters.injected.get()).sum();
        let injected = taken + self.injector.len() as u64;
        let SharedCounters { moved_on, wakes } = &*self.tally;
        [injected, wakes.load(Ordering::Relaxed), moved_on.load(Ordering::Relaxed)]
    }

    /// Registers an armed wait. Returns `false` if the runtime has stopped.
    #[must_use]
    pub(crate) fn add_joiner(&self, waiter: Waiter) -> bool {
        lock(&self.joiners).as_mut().map(|joiners| joiners.push(waiter)).is_some()
    }

    /// Withdraws a joiner. Afterwards the runtime does not know the waiter.
    pub(crate) fn remove_joiner(&self, waiter: Waiter) {
        if let Some(joiners) = &mut *lock(&self.joiners) {
            if let Some(place) = joiners.iter().position(|&other| other == waiter) {
                joiners.swap_remove(place);
            }
        }
    }

    /// Wakes all joiners. From now on no joiner can register.
    pub(crate) fn abandon_joiners(&self, wake: impl Fn(Wake)) {
        let mut joiners = lock(&self.joiners);
        for waiter in joiners.take().into_iter().flatten() {
            // SAFETY: it is registered, and leaves only under the lock that we hold.
            unsafe { waiter.claim(ABANDONED) }.into_iter().for_each(&wake);
        }
    }
}
