//! A worker: an OS thread that runs tasks. Its loop, and what running tasks ask of it.
//!
//! Everything here is used by the worker's own OS thread only, either from its loop or from the task
//! that it is running; what other threads see of it is its [`Remote`].

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

/// What a worker does after it was out of work.
pub(crate) enum Next {
    Run(TaskRef),
    /// Something may have come up: look again.
    LookAgain,
    /// The scheduler stops, or this is a spare that was not needed for a while.
    End,
}

/// Every so many switches the worker looks elsewhere first: at the injector, at its own oldest work, at
/// the others'. Go's number; a prime, so that it does not fall in step with a program's own rhythm.
pub(crate) const TICK_INTERVAL: u32 = 61;

/// In [`Worker::holds`]: the running task is in `no_switch`. Below it counts how deep in `blocking`.
const NO_SWITCH: u32 = 1 << 31;

/// There too, as if very deep in `blocking`: for ever, in the child of a `fork`.
const FOR_EVER: u32 = 1 << 30;

pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) core: Core,
    pub(crate) stacks: RefCell<Cache>,
    /// The task that runs now.
    pub(crate) current: Cell<Option<TaskRef>>,
    /// Runnable tasks that are pinned to this worker.
    pub(crate) pinned: RefCell<VecDeque<TaskRef>>,
    pub(crate) tick_interval: u32,
    pub(crate) until_tick: Cell<u32>,
    pub(crate) tick_turn: Cell<u32>,
    /// Since a `join` has last looked whether others wait.
    pub(crate) stretch: Cell<Stretch>,
    pub(crate) injector_turns: InjectorTurns,
    /// Counted as searching in `Idle`.
    pub(crate) searching: Cell<bool>,
    /// What keeps the running task from suspending; zero if nothing does. See `NO_SWITCH`.
    pub(crate) holds: Cell<u32>,
    /// Where the running task has entered the innermost `no_switch`.
    pub(crate) no_switch: Cell<Option<&'static Location<'static>>>,
    /// More than `DEEP` continuations wait; looked at now and then.
    pub(crate) deep: Cell<bool>,
    pub(crate) random: Cell<u64>,
    /// A worker that had private tasks when this one last looked, and its moves then.
    pub(crate) suspected: Cell<Option<(u32, u64)>>,
    /// Of which timers it has to tell, before it runs anything.
    pub(crate) unannounced: Cell<Unannounced>,
    pub(crate) timing: Timing,
    pub(crate) sharing: Sharing,
    pub(crate) last_takeover: LastTakeover,
    /// What it runs is a CPU-bound task, and this is its turn.
    pub(crate) turn: Cell<Option<Turn>>,
    /// How long it was out of work when it last was.
    pub(crate) last_wait: Cell<Duration>,
    /// That ended because a timer was due.
    pub(crate) slept_until_timer: Cell<bool>,
    /// How many timers it has fired since it last slept, when it had nothing else to do.
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

    /// Gives the deques back for the next spare.
    pub(crate) fn into_core(self) -> Core {
        self.core
    }

    /// Says what runs now: to whoever asks on this worker, and to dumps.
    #[inline]
    pub(crate) fn set_current(&self, task: Option<TaskRef>) {
        self.current.set(task);
        self.core.remote.set_current(task);
    }

    /// The running task, if it may suspend: it must not while it unwinds (the panic count is the OS
    /// thread's) nor inside `blocking` or `no_switch`.
    #[inline]
    pub(crate) fn green(&self) -> Option<TaskRef> {
        if self.must_not_suspend() { None } else { self.current.get() }
    }

    #[inline]
    pub(crate) fn must_not_suspend(&self) -> bool {
        std::thread::panicking() || self.holds.get() != 0
    }

    /// Where the running task has said that it must not be suspended, if it would be otherwise: inside
    /// `blocking`, and while it unwinds, it is not anyway.
    #[cold]
    pub(crate) fn switch_forbidden(&self) -> Option<&'static Location<'static>> {
        let site = self.no_switch.get()?;
        (self.holds.get() == NO_SWITCH && !std::thread::panicking()).then_some(site)
    }

    /// The running task enters a `no_switch` at `site`, or leaves the innermost for the one around it.
    /// Gives the one that it was in before.
    pub(crate) fn set_no_switch(
        &self,
        site: Option<&'static Location<'static>>,
    ) -> Option<&'static Location<'static>> {
        let depth = self.holds.get() & !NO_SWITCH;
        self.holds.set(if site.is_some() { depth | NO_SWITCH } else { depth });
        self.no_switch.replace(site)
    }

    /// The running task, whether or not it may suspend.
    pub(crate) fn running(&self) -> Option<TaskRef> {
        self.current.get()
    }

    /// The running task is not to suspend any more.
    pub(crate) fn hold_for_ever(&self) {
        self.holds.set(self.holds.get() | FOR_EVER);
    }

    /// Whether the running task is the one that has forked, in the child.
    #[inline]
    pub(crate) fn is_held_for_ever(&self) -> bool {
        self.holds.get() & FOR_EVER != 0
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether this is a worker of `shared`.
    #[inline]
    pub(crate) fn serves(&self, shared: &Shared) -> bool {
        std::ptr::eq(&raw const *self.shared, shared)
    }

    /// This worker's number, for pinning.
    pub(crate) fn index(&self) -> u32 {
        self.core.index
    }

    /// It begins to run. If work waits behind tasks that compute, a child might be another of those: for some time children
    /// are queued, so that their parents go on.
    pub(crate) fn come_to_help(&self) {
        if self.shared.sysmon.sees_stall() {
            self.set_deep(true);
        }
    }

    /// So many continuations wait here that children should be queued.
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
        // Many that are started in a row begin with a miss of the TLB each.
        stacks.next().into_iter().for_each(TaskRef::prefetch_place);
        stacks.coming().iter().for_each(TaskRef::prefetch_to_start);
        drop(stacks);
        match in_stock {
            Some(slot) => Ok(slot),
            None => self.take_slot_of_pool(class),
        }
    }

    #[cold]
    pub(crate) fn take_slot_of_pool(&self, class: SizeClass) -> Result<Slot, StackError> {
        let mut stacks = self.stacks.borrow_mut();
        let slot = stacks.refill(&self.shared.pool, class)?;
        stacks.coming().iter().for_each(TaskRef::prefetch_to_start);
        drop(stacks);
        if self.shared.pool.is_growing() {
            // Whoever has nothing else to do prepares the next ones (`steal.rs`).
            self.shared.answer(self.shared.idle.notify());
        }
        Ok(slot)
    }

    #[inline]
    pub(crate) fn put_slot(&self, slot: Slot) {
        self.stacks.borrow_mut().put(&self.shared.pool, slot);
    }

    /// Gives the stacks in stock back, for others to use or sysmon to trim.
    pub(crate) fn flush_stacks(&self) {
        self.stacks.borrow_mut().flush(&self.shared.pool);
    }
}
