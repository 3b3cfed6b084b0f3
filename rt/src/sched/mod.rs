//! The scheduler: workers, their queues, who sleeps and who wakes them.
//!
//! - [`config`] is what one is started with, [`start`] how it starts and how it ends, [`last`] what becomes of its tasks
//!   then.
//! - [`worker`] is the loop that runs tasks, [`pick`] which is next, [`urge`] what may go before; [`steal`] what a
//!   worker without work does.
//! - [`push`] is where a worker puts what becomes runnable, [`beside`] whether others are to run it, [`share`]
//!   whether they may; [`queues`] are its own, [`biased`] the lock of the private ones; [`halves`] has what is not a
//!   task yet.
//! - [`remote`] is what workers see of each other; [`idle`] who sleeps (protocol in `README.md`).
//! - [`driver`] has the timers ([`timers`] keeps them in order), [`watch`] who wakes up for them; [`timed_joiners`]
//!   has who waits for a task until a deadline.
//! - [`monitor`] covers for workers that are stuck, [`stuck`] says for which, and [`os_state`] what the kernel says of
//!   them; [`hogs`] has those that will be run beside them.
//! - [`chaos`] is another order, for tests.
//! - [`overflow`] explains a stack that was too small, [`panic_names`] names who panics.
//! - [`status`] is what a worker is doing, [`world`] how they are all stopped for a dump, [`census`] what
//!   the dump then finds, [`peek`] how it looks at what is not stopped; [`sigquit`] dumps when told to.
//! - [`at_fork`] is what becomes of it in the child of a `fork`.
//! - [`deadlock`] finds out that nobody will wake anybody any more.
//! - [`current`] is the only reader of the runtime's thread-local.
//!
//! This file has what they share: [`Sched`].

mod at_fork;
mod beside;
mod biased;
mod census;
pub(crate) mod chaos;
mod config;
mod counters;
pub(crate) mod current;
mod deadlock;
mod driver;
mod halves;
mod heap;
mod hogs;
mod idle;
mod last;
mod monitor;
mod os_state;
mod overflow;
mod panic_names;
mod parker;
mod pause;
mod peek;
mod pick;
mod push;
mod queues;
mod registry;
mod remote;
mod rescues;
mod say;
mod share;
mod sigquit;
mod slice;
mod start;
mod status;
mod steal;
mod stuck;
mod timed_joiners;
mod timers;
mod urge;
mod watch;
mod worker;
mod world;

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam_deque::Injector;
use crossbeam_utils::CachePadded;
use gthread_arch::stacks::{Pool, SizeClass, Slot, StackError};

use crate::prim::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, lock};
use crate::task::{ABOVE_STACK, TaskRef, Waiter, Wake};
use chaos::Chaos;
use driver::Driver;
use hogs::Hogs;
use idle::{Idle, Summon};
use last::LastTurns;
use monitor::Monitor;
use pause::Pause;
use remote::Remote;
use worker::Core;
use world::World;

pub(crate) use census::Census;
pub use config::Leaks;
pub(crate) use config::{Config, Wishes, guard};
pub use counters::WorkerMetrics;
pub(crate) use halves::Deferred;
pub(crate) use overflow::explain_overflows;
pub(crate) use registry::live_scheds;
pub(crate) use sigquit::dump_on_sigquit;
pub(crate) use start::default_sched;
pub(crate) use timed_joiners::TimedJoiners;
pub(crate) use worker::Worker;

/// One scheduler: what its workers, its tasks and its `Runtime` share.
///
/// It outlives its tasks: a `Runtime` that ends while slots are in use leaks its scheduler. Workers and
/// the monitor own a count of it; anyone else who has only a task takes a count before using it
/// ([`Sched::of`]), because the task may end meanwhile, and the `Runtime` with it.
pub(crate) struct Sched {
    pub(crate) config: Config,
    injector: Injector<TaskRef>,
    tally: CachePadded<Tally>,
    /// The workers' shared sides, filled from the front: the first `config.workers` at the start.
    remotes: Box<[OnceLock<Arc<Remote>>]>,
    /// How many of `remotes` are filled, or being filled.
    used: AtomicUsize,
    idle: Idle,
    driver: Driver,
    monitor: Monitor,
    hogs: Hogs,
    /// For tests: instead of the usual order. Boxed, because it is rarely there.
    chaos: Option<Box<Chaos>>,
    world: World,
    /// Milliseconds since it started: at most some 10 ms late while a worker runs.
    clock: CachePadded<AtomicU64>,
    pool: Pool,
    /// Of letting others take ready tasks (`share`), and of the monitor's rescues (`rescues`).
    sharing_pause: Pause,
    rescue_pause: Pause,
    /// What the stacks' profile knows, by where threads were spawned.
    stack_sites: Mutex<HashMap<&'static Location<'static>, StackUse>>,
    stopped: AtomicBool,
    /// A deadlock has ended waits, as [`Sched::interrupts`] says.
    was_interrupted: AtomicBool,
    last_turns: LastTurns,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    /// The deques of spares that have ended.
    cores: Mutex<Vec<Core>>,
    /// Who waits outside for tasks to end; `None` once stopped.
    joiners: Mutex<Option<Vec<Waiter>>>,
    /// Who waits, inside or outside, for a task to end or for a deadline.
    pub(crate) timed_joiners: TimedJoiners,
}

/// What is counted but not by a worker. In a line of its own: beside it is what workers read at every pick.
#[derive(Debug, Default)]
struct Tally {
    /// Times the monitor took tasks from a stuck worker for others.
    moved_on: AtomicU64,
    /// Workers that were woken because there was work.
    wakes: AtomicU64,
}

impl Sched {
    /// A counted handle to the scheduler of `task`, for use outside its workers.
    pub(crate) fn of(task: TaskRef) -> Arc<Self> {
        let sched = std::ptr::from_ref(task.sched());
        // SAFETY: schedulers live in an `Arc` (`start`), and this one is alive: the caller has the
        // task, whose slot counts as in use until it is freed.
        unsafe {
            Arc::increment_strong_count(sched);
            Arc::from_raw(sched)
        }
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

    /// Wakes whom [`Idle`] has chosen.
    #[inline]
    fn answer(&self, summon: Summon) {
        match summon {
            Summon::Nobody => {}
            Summon::Worker(worker) => {
                self.tally.wakes.fetch_add(1, Ordering::Relaxed);
                self.remote(worker).parker.unpark();
            }
            Summon::Spare => self.monitor.request_spare(),
        }
    }

    /// Makes a pinned task runnable on its worker.
    fn post(&self, home: u32, task: TaskRef) {
        let remote = self.remote(home);
        remote.post(task);
        if self.idle.summon_worker(home) {
            remote.parker.unpark();
        }
    }

    /// One more task is pinned to a worker.
    pub(crate) fn note_pinned(&self, home: u32) {
        self.remote(home).pinned.fetch_add(1, Ordering::Relaxed);
    }

    /// One of them is gone.
    pub(crate) fn forget_pinned(&self, home: u32) {
        self.remote(home).pinned.fetch_sub(1, Ordering::Relaxed);
    }

    /// A worker for a task that an outside thread pins: one of the first, in turn.
    pub(crate) fn any_worker(&self) -> u32 {
        static TURN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        TURN.fetch_add(1, Ordering::Relaxed) % self.config.workers
    }

    fn remotes(&self) -> &[OnceLock<Arc<Remote>>] {
        &self.remotes[..self.used.load(Ordering::Acquire)]
    }

    /// What is to be seen of each worker, spares among them.
    fn workers(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.remotes().iter().filter_map(OnceLock::get)
    }

    fn remote(&self, worker: u32) -> &Remote {
        self.remotes[worker as usize].get().expect("workers are numbered from the front")
    }

    /// Whether any worker could find work.
    fn has_work(&self) -> bool {
        !self.injector.is_empty()
            || self.workers().any(|worker| worker.has_stealable())
            || self.has_strewn()
    }

    /// Whether some worker keeps tasks to itself.
    fn has_private(&self) -> bool {
        self.workers().any(|worker| worker.has_private())
    }

    /// Whether a deadlock has ended waits of its tasks.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.was_interrupted.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Takes a slot outside the workers.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Takes the slot of a finished task back.
    #[inline]
    pub(crate) fn put_slot(&self, slot: Slot) {
        current::with(|worker| match worker {
            Some(worker) if worker.serves(self) => worker.put_slot(slot),
            _ => {
                // SAFETY: schedulers live in an `Arc`, and this one is alive until the slot is back.
                // The count keeps it until `put` has returned.
                let this = unsafe {
                    Arc::increment_strong_count(self);
                    Arc::from_raw(self)
                };
                this.pool.put(slot);
            }
        });
    }

    /// Takes a slot, for use on the worker that calls, if one does.
    pub(crate) fn take_slot(&self, class: SizeClass) -> Result<Slot, StackError> {
        current::with(|worker| match worker {
            Some(worker) if worker.serves(self) => worker.take_slot(class),
            _ => self.pool.take(class),
        })
    }

    /// Notes how much of its stack a thread has used, and empties the stack for the next.
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

    /// What the stacks' profile knows.
    pub(crate) fn stack_sites(&self) -> Vec<(&'static Location<'static>, StackUse)> {
        lock(&self.stack_sites).iter().map(|(site, stack_use)| (*site, *stack_use)).collect()
    }

    /// The class of stack that a thread with `stack_size` gets.
    pub(crate) fn class_for(&self, stack_size: Option<usize>) -> std::io::Result<SizeClass> {
        match stack_size {
            None => Ok(self.config.class),
            Some(bytes) => Ok(class_of(bytes, self.pool.guard_size())?),
        }
    }

    /// The coarse clock, for notes.
    #[inline]
    pub(crate) fn coarse_now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Sets the coarse clock. By a worker that was asleep, and by the monitor now and then.
    fn advance_clock(&self) -> u64 {
        let now = self.driver.now() / 1_000_000;
        if self.coarse_now() < now {
            self.clock.store(now, Ordering::Relaxed);
        }
        now
    }

    /// What each worker, spares among them, has counted so far.
    pub(crate) fn counts(&self) -> Vec<WorkerMetrics> {
        self.workers().map(|worker| worker.own.counters.read()).collect()
    }

    /// What is not, or not only, a worker's to count: tasks that came through the injector so far, wakes of sleeping
    /// workers, rescues by the monitor.
    pub(crate) fn shared_counts(&self) -> [u64; 3] {
        // Who injects counts nothing: what is taken out is counted, by who takes it.
        let taken: u64 = self.workers().map(|worker| worker.own.counters.injected.get()).sum();
        let injected = taken + self.injector.len() as u64;
        let Tally { moved_on, wakes } = &*self.tally;
        [injected, wakes.load(Ordering::Relaxed), moved_on.load(Ordering::Relaxed)]
    }
}

/// How the threads that were spawned in one place used their stacks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StackUse {
    pub(crate) threads: u64,
    pub(crate) high_water: usize,
}

/// No smaller stack is given than this many usable bytes: room for the control block, a closure, and
/// the frames of a panic that is caught and printed.
const MIN_STACK: usize = 24 << 10;

/// The class of stacks with `bytes` to use, at least.
pub(crate) fn class_of(bytes: usize, guard: usize) -> Result<SizeClass, StackError> {
    SizeClass::of_usable(bytes.max(MIN_STACK), guard + ABOVE_STACK)
}

/// Makes a claimed thread run, on this worker as soon as the running one suspends: likely soon.
#[inline]
pub(crate) fn wake(wake: Wake) {
    match wake {
        Wake::Awake => {}
        Wake::Green(task) => schedule(task, Worker::push_woken),
        Wake::Os(thread) => thread.unpark(),
    }
}

/// Makes a task runnable that was just made on this worker, which goes on with what it does.
pub(crate) fn queue(task: TaskRef) {
    schedule(task, Worker::push_ready);
}

/// The green thread that calls has to wait for a lock.
pub(crate) fn note_lock_met() {
    current::with(|worker| worker.into_iter().for_each(Worker::note_lock_met));
}

/// [`wake`], by a thread that goes on, like one that unlocks: if another worker sleeps, it runs the
/// thread at once.
pub(crate) fn wake_beside(wake: Wake) {
    match wake {
        Wake::Green(task) => schedule(task, Worker::push_beside),
        other => self::wake(other),
    }
}

/// [`wake`], of many: so the worker is not stuck, though it runs nothing else meanwhile.
pub(crate) fn wake_many(wakes: Vec<Wake>) {
    wakes.into_iter().for_each(wake);
    current::with(|worker| {
        if let Some(worker) = worker {
            worker.counters().turns.count();
        }
    });
}

/// Makes a parked task runnable; the caller has claimed it. On a worker of the task's scheduler that worker
/// pushes it, elsewhere it goes to the injector.
fn schedule(task: TaskRef, push: impl FnOnce(&Worker, TaskRef)) {
    let done = current::with(|worker| match worker {
        Some(worker) if worker.serves(task.sched()) => {
            push(worker, task);
            true
        }
        _ => false,
    });
    if !done {
        Sched::of(task).inject(task);
    }
}

/// Reserves `count` ids of threads, green or not: the first of them. Ids are never reused.
pub(crate) fn next_ids(count: u64) -> NonZeroU64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let first = NEXT.fetch_add(count, Ordering::Relaxed);
    NonZeroU64::new(first).expect("2^64 ids are enough")
}
