//! A worker: an OS thread that runs tasks. This folder has its loop and the operations that its
//! tasks call.
//!
//! Only the worker's own OS thread uses a [`Worker`]: in the loop, or in the task that it runs.
//! Other threads see the worker's [`Remote`](crate::runtime::remote::Remote).

pub(crate) mod blocking;
pub(crate) mod cpu_bound;
pub(crate) mod fork_child;
pub(crate) mod fork_join;
pub(crate) mod last_turns;
pub(crate) mod launch;
pub(crate) mod next_task;
pub(crate) mod park;
pub(crate) mod policies;
pub(crate) mod random_order;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod steal;
pub(crate) mod timers;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use gthread_arch::stacks::{Cache, SizeClass, Slot, StackError};

use crate::runtime::core::Core;
use crate::runtime::cpu_bound::Turn;
use crate::runtime::driver::Unannounced;
use crate::runtime::metrics::Counters;
use crate::runtime::policy::injector_turn::InjectorTurns;
use crate::runtime::policy::sharing::Sharing;
use crate::runtime::policy::stretch::Stretch;
use crate::runtime::policy::takeover::LastTakeover;
use crate::runtime::policy::wake_beside::Timing;
use crate::runtime::shared::Shared;
use crate::task::header::TaskRef;
use crate::task::id::next_ids;

/// The next step of a worker's loop.
pub(crate) enum Next {
    Run(TaskRef),
    /// There may be work: look at the queues again.
    LookAgain,
    /// The runtime stops, or the worker is a spare that was not needed for a while.
    End,
}

/// The number of task switches between two ticks. At a tick the worker looks first at the tasks
/// that its usual order leaves waiting ([`Worker::next_on_tick`]). Go's number: a prime, so that it
/// does not fall in step with a rhythm of the program.
const TICK_INTERVAL: u32 = 61;

/// How many operations of the tasks of a worker may succeed without a wait before one yields. (Like
/// tokio's budget.)
const BUDGET: u32 = 128;

/// A bit of [`Worker::holds`]: the running task is inside `no_switch`. The bits below it count the
/// calls of `blocking` that the task is inside.
const NO_SWITCH: u32 = 1 << 31;

/// A bit of [`Worker::holds`]: the running task never suspends again, because this is the child of
/// a `fork`. Counts like very many calls of `blocking`.
const FOR_EVER: u32 = 1 << 30;

pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) core: Core,
    pub(crate) stacks: RefCell<Cache>,
    /// The running task.
    pub(crate) current: Cell<Option<TaskRef>>,
    /// Runnable tasks that are pinned to this worker.
    pub(crate) pinned: RefCell<VecDeque<TaskRef>>,
    pub(crate) tick_interval: u32,
    pub(crate) until_tick: Cell<u32>,
    pub(crate) tick_turn: Cell<u32>,
    /// Measures the time since a `join` last checked whether other tasks wait.
    pub(crate) stretch: Cell<Stretch>,
    pub(crate) injector_turns: InjectorTurns,
    /// How many operations may succeed without a wait before the task that runs yields.
    budget: Cell<u32>,
    /// `Idle` counts the worker as searching.
    pub(crate) searching: Cell<bool>,
    /// The reasons why the running task must not suspend; zero if there are none. See `NO_SWITCH`
    /// and `FOR_EVER`.
    pub(crate) holds: Cell<u32>,
    /// The place where the running task entered the innermost `no_switch`.
    pub(crate) no_switch: Cell<Option<&'static Location<'static>>>,
    /// Children are queued instead of run at once. Set at each tick if more than `DEEP`
    /// continuations wait; see also [`Worker::come_to_help`].
    pub(crate) deep: Cell<bool>,
    pub(crate) random: Cell<u64>,
    /// Another worker that may be stuck, with its moves at that time: it had private tasks when
    /// this worker last looked.
    pub(crate) suspected: Cell<Option<(u32, u64)>>,
    /// The timers that the worker must announce before it runs another task.
    pub(crate) unannounced: Cell<Unannounced>,
    pub(crate) timing: Timing,
    pub(crate) sharing: Sharing,
    pub(crate) last_takeover: LastTakeover,
    /// The turn of the CPU-bound task that the worker runs, if it runs one.
    pub(crate) turn: Cell<Option<Turn>>,
    /// How long the worker was last out of work.
    pub(crate) last_wait: Cell<Duration>,
    /// The last sleep ended because a timer was due.
    pub(crate) slept_until_timer: Cell<bool>,
    /// How many timers the worker has fired since it last slept, while it was out of work.
    pub(crate) fired: Cell<usize>,
    /// The next thread id and the end of the batch reserved for this worker.
    pub(crate) ids: Cell<(u64, u64)>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, core: Core, searching: bool) -> Self {
        let class = shared.config.class;
        let seed = match &shared.chaos {
            None => 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(core.index) + 1),
            Some(chaos) => chaos.seed_of(core.index),
        };
        let tick_interval = if shared.chaos.is_none() { TICK_INTERVAL } else { 1 };
        Self {
            shared,
            stacks: RefCell::new(Cache::new(class)),
            current: Cell::new(None),
            pinned: RefCell::new(VecDeque::new()),
            tick_interval,
            until_tick: Cell::new(tick_interval),
            tick_turn: Cell::new(0),
            stretch: Cell::new(Stretch::new()),
            injector_turns: InjectorTurns::new(),
            budget: Cell::new(BUDGET),
            searching: Cell::new(searching),
            holds: Cell::new(0),
            no_switch: Cell::new(None),
            deep: Cell::new(false),
            random: Cell::new(seed | 1),
            suspected: Cell::new(None),
            unannounced: Cell::new(Unannounced::Nothing),
            timing: Timing::default(),
            sharing: Sharing::default(),
            last_takeover: LastTakeover::default(),
            turn: Cell::new(None),
            last_wait: Cell::new(Duration::ZERO),
            slept_until_timer: Cell::new(false),
            fired: Cell::new(0),
            ids: Cell::new((0, 0)),
            core,
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.core.remote.own.counters
    }

    /// Returns the core, for the next spare.
    pub(crate) fn into_core(self) -> Core {
        self.core
    }

    /// Notes the running task, for calls on this worker and for dumps.
    #[inline]
    pub(crate) fn set_current(&self, task: Option<TaskRef>) {
        self.current.set(task);
        self.core.remote.set_current(task);
    }

    /// Returns the running task, if it may suspend. It must not while it unwinds, because the panic
    /// count belongs to the OS thread, nor inside `blocking` or `no_switch`.
    #[inline]
    pub(crate) fn green(&self) -> Option<TaskRef> {
        if self.must_not_suspend() { None } else { self.current.get() }
    }

    /// Counts an operation that might have waited and need not. Returns `true` if the running task is
    /// to yield.
    #[inline]
    pub(crate) fn spend(&self) -> bool {
        let left = self.budget.get() - 1;
        self.budget.set(if left == 0 { BUDGET } else { left });
        left == 0 && self.green().is_some()
    }

    #[inline]
    pub(crate) fn must_not_suspend(&self) -> bool {
        std::thread::panicking() || self.holds.get() != 0
    }

    /// Returns the place where the running task entered `no_switch`, if the task could suspend
    /// without that. Inside `blocking`, and while it unwinds, it does not suspend anyway.
    #[cold]
    pub(crate) fn switch_forbidden(&self) -> Option<&'static Location<'static>> {
        let site = self.no_switch.get()?;
        (self.holds.get() == NO_SWITCH && !std::thread::panicking()).then_some(site)
    }

    /// Notes that the running task enters a `no_switch` at `site`; or that it leaves one, with the
    /// site of the enclosing one, if any. Returns the previous site.
    pub(crate) fn set_no_switch(
        &self,
        site: Option<&'static Location<'static>>,
    ) -> Option<&'static Location<'static>> {
        let depth = self.holds.get() & !NO_SWITCH;
        self.holds.set(if site.is_some() { depth | NO_SWITCH } else { depth });
        self.no_switch.replace(site)
    }

    /// Returns the running task, whether or not it may suspend.
    pub(crate) fn running(&self) -> Option<TaskRef> {
        self.current.get()
    }

    /// Keeps the running task from suspending ever again.
    pub(crate) fn hold_for_ever(&self) {
        self.holds.set(self.holds.get() | FOR_EVER);
    }

    /// Returns `true` if this is the child of a `fork`, and the running task is the one that has
    /// forked.
    #[inline]
    pub(crate) fn is_held_for_ever(&self) -> bool {
        self.holds.get() & FOR_EVER != 0
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns `true` if this is a worker of `shared`.
    #[inline]
    pub(crate) fn serves(&self, shared: &Shared) -> bool {
        std::ptr::eq(&raw const *self.shared, shared)
    }

    /// Returns the worker's number.
    pub(crate) fn index(&self) -> u32 {
        self.core.index
    }

    /// Notes that the worker begins to run. If work waits behind tasks that compute, a child may be
    /// another such task. So children are queued until the next tick, and their parents go on.
    pub(crate) fn come_to_help(&self) {
        if self.shared.sysmon.sees_stall() {
            self.set_deep(true);
        }
    }

    /// Sets whether children are queued instead of run at once.
    pub(crate) fn set_deep(&self, deep: bool) {
        self.deep.set(deep);
    }

    #[inline]
    pub(crate) fn is_deep(&self) -> bool {
        self.deep.get()
    }

    #[inline]
    pub(crate) fn next_id(&self) -> NonZeroU64 {
        const BATCH: u64 = 256;
        let (mut next, mut end) = self.ids.get();
        if next == end {
            next = next_ids(BATCH).get();
            end = next + BATCH;
        }
        self.ids.set((next + 1, end));
        NonZeroU64::new(next).expect("ids start at one")
    }

    #[inline(always)]
    pub(crate) fn take_slot(&self, class: SizeClass) -> Result<Slot, StackError> {
        let mut stacks = self.stacks.borrow_mut();
        let in_stock = stacks.take(class);
        // Each of many tasks that are started in a row begins with a TLB miss. So the next are
        // prefetched.
        stacks.next().into_iter().for_each(TaskRef::prefetch_place);
        stacks.coming().iter().for_each(TaskRef::prefetch_to_start);
        drop(stacks);
        match in_stock {
            Some(slot) => Ok(slot),
            None => self.take_slot_of_pool(class),
        }
    }

    #[cold]
    fn take_slot_of_pool(&self, class: SizeClass) -> Result<Slot, StackError> {
        let mut stacks = self.stacks.borrow_mut();
        let slot = stacks.refill(&self.shared.pool, class)?;
        stacks.coming().iter().for_each(TaskRef::prefetch_to_start);
        drop(stacks);
        if self.shared.pool.is_growing() {
            // A worker that is out of work prepares the next slots (`steal.rs`).
            self.shared.answer(self.shared.idle.notify());
        }
        Ok(slot)
    }

    #[inline]
    pub(crate) fn put_slot(&self, slot: Slot) {
        self.stacks.borrow_mut().put(&self.shared.pool, slot);
    }

    /// Gives the cached stacks back to the pool, for other workers to use or sysmon to trim.
    pub(crate) fn flush_stacks(&self) {
        self.stacks.borrow_mut().flush(&self.shared.pool);
    }
}
