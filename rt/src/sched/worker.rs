//! A worker: an OS thread that runs tasks. Its loop, and what running tasks ask of it.
//!
//! Everything here is used by the worker's own OS thread only, either from its loop or from the task
//! that it is running; what other threads see of it is its [`Remote`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gthread_arch::Switch;
use gthread_arch::stacks::{AlternateStack, Cache, SizeClass, Slot, StackError};

use super::beside::Timing;
use super::counters::Counters;
use super::driver::Untold;
use super::halves::Stretch;
use super::hogs::Turn;
use super::queues::Queues;
use super::remote::Remote;
use super::rescues::Takeover;
use super::share::Sharing;
use super::status::{BLOCKING, NORMAL, SLEEPING};
use super::steal::Next;
use super::urge::Urge;
use super::{Sched, current, next_ids};
use crate::task::command::Action;
use crate::task::join::Finish;
use crate::task::state::Commit;
use crate::task::{Hog, TaskRef};

/// Every so many picks the worker looks elsewhere first: at the injector, at its own oldest work, at
/// the others'. Go's number; a prime, so that it does not fall in step with a program's own rhythm.
pub(super) const FAIRNESS_PERIOD: u32 = 61;

/// In [`Worker::holds`]: the running task is in `no_switch`. Below it counts how deep in `blocking`.
const NO_SWITCH: u32 = 1 << 31;
/// There too, as if very deep in `blocking`: for ever, in the child of a `fork`.
const FOR_EVER: u32 = 1 << 30;

/// The queues of a worker. They outlive a spare worker's OS thread, to serve the next one.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) index: u32,
    pub(super) remote: Arc<Remote>,
    pub(super) queues: Queues,
}

impl Core {
    pub(super) fn new(index: u32) -> Self {
        let (queues, remote) = Queues::new();
        Self { index, remote, queues }
    }
}

pub(crate) struct Worker {
    pub(super) sched: Arc<Sched>,
    pub(super) core: Core,
    pub(super) stacks: RefCell<Cache>,
    /// The task that runs now.
    current: Cell<Option<TaskRef>>,
    /// Runnable tasks that are pinned to this worker.
    pub(super) pinned: RefCell<VecDeque<TaskRef>>,
    pub(super) fairness_period: u32,
    pub(super) until_fair: Cell<u32>,
    pub(super) fair_turn: Cell<u32>,
    /// Since a `join` has last looked whether others wait.
    pub(super) stretch: Cell<Stretch>,
    /// Its turn at what was injected.
    pub(super) urge: Cell<Option<Urge>>,
    /// When that last ended.
    pub(super) last_urged: Cell<Instant>,
    /// Counted as searching in `Idle`.
    pub(super) searching: Cell<bool>,
    /// What keeps the running task from suspending; zero if nothing does. See `NO_SWITCH`.
    holds: Cell<u32>,
    /// Where the running task has entered the innermost `no_switch`.
    no_switch: Cell<Option<&'static Location<'static>>>,
    /// More than `DEEP` continuations wait; looked at now and then.
    pub(super) deep: Cell<bool>,
    pub(super) random: Cell<u64>,
    /// A worker that had private tasks when this one last looked, and its moves then.
    pub(super) suspected: Cell<Option<(u32, u64)>>,
    /// Of which timers it has to tell, before it runs anything.
    pub(super) untold: Cell<Untold>,
    pub(super) timing: Timing,
    pub(super) sharing: Sharing,
    pub(super) takeover: Takeover,
    /// What it runs is a hog, and this is its turn.
    pub(super) turn: Cell<Option<Turn>>,
    /// How long it was out of work when it last was.
    pub(super) last_wait: Cell<Duration>,
    /// That ended because a timer was due.
    pub(super) slept_until_timer: Cell<bool>,
    /// The next thread id and the end of the batch reserved for this worker.
    ids: Cell<(u64, u64)>,
}

impl Worker {
    pub(super) fn new(sched: Arc<Sched>, core: Core, searching: bool) -> Self {
        let class = sched.config.class;
        let seed = match &sched.chaos {
            None => 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(core.index) + 1),
            Some(chaos) => chaos.seed_of(core.index),
        };
        let fairness_period = if sched.chaos.is_none() { FAIRNESS_PERIOD } else { 1 };
        Self {
            sched,
            stacks: RefCell::new(Cache::new(class)),
            current: Cell::new(None),
            pinned: RefCell::new(VecDeque::new()),
            fairness_period,
            until_fair: Cell::new(fairness_period),
            fair_turn: Cell::new(0),
            stretch: Cell::new(Stretch::new()),
            urge: Cell::new(None),
            last_urged: Cell::new(Instant::now()),
            searching: Cell::new(searching),
            holds: Cell::new(0),
            no_switch: Cell::new(None),
            deep: Cell::new(false),
            random: Cell::new(seed | 1),
            suspected: Cell::new(None),
            untold: Cell::new(Untold::Nothing),
            timing: Timing::default(),
            sharing: Sharing::default(),
            takeover: Takeover::default(),
            turn: Cell::new(None),
            last_wait: Cell::new(Duration::ZERO),
            slept_until_timer: Cell::new(false),
            ids: Cell::new((0, 0)),
            core,
        }
    }

    /// Runs tasks until the scheduler stops, or, for a spare, until it is not needed.
    pub(super) fn run(&self) {
        let _entered = current::enter(self);
        // Without it an overflow still ends the process, but unexplained.
        let _alternate_stack = AlternateStack::install();
        self.core.remote.parker.adopt();
        self.set_status(NORMAL);
        self.come_to_help();
        while !self.sched.is_stopped() {
            let fair = self.count_pick();
            let next = if fair && self.must_retire() {
                self.retire()
            } else {
                self.pick(fair).map_or_else(|| self.wait_for_work(), Next::Run)
            };
            match next {
                Next::Run(task) => self.start(task),
                Next::Pick => {}
                Next::End => break,
            }
        }
        self.end_if_child();
        if self.sched.is_stopped() {
            self.take_last_turns();
        }
        self.flush_stacks();
        self.set_status(SLEEPING);
        self.core.remote.parker.disown();
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.core.remote.own.counters
    }

    /// Gives the deques back for the next spare.
    pub(super) fn into_core(self) -> Core {
        self.core
    }

    /// Runs what was found; whoever was searching has stopped.
    fn start(&self, task: TaskRef) {
        if self.searching.replace(false) {
            let summon = self.sched.idle.stop_search(|| self.sched.has_work());
            self.sched.answer(summon);
        }
        self.tell_of_timers();
        if task.hog.get() == Hog::No { self.run_task(task) } else { self.run_hog(task) }
    }

    /// Says what runs now: to whoever asks on this worker, and to dumps.
    #[inline]
    pub(super) fn set_current(&self, task: Option<TaskRef>) {
        self.current.set(task);
        self.core.remote.set_current(task);
    }

    /// Runs a task, and the children it forks, until it parks, yields or ends.
    #[inline(always)]
    pub(super) fn run_task(&self, mut task: TaskRef) {
        self.set_current(Some(task));
        loop {
            // SAFETY: the task came out of a queue, or from its parent's hand: it is runnable and ours.
            let switch = unsafe { task.resume() };
            #[cfg(debug_assertions)]
            current::lent::assert_not();
            // The switch is over, the registers are saved. What is said of the running task changes first
            // (`world`); from then on others may run it.
            match switch {
                Switch::Suspended(command) => match self.part_with_halves(command).decode() {
                    Action::Spawned(child) => {
                        self.set_current(Some(child));
                        task.note_fork(child);
                        self.push_fork(task);
                        if self.count_move() {
                            match self.pick_child(child) {
                                Some(next) => task = next,
                                None => return,
                            }
                        } else {
                            task = child;
                        }
                        continue;
                    }
                    Action::Parked => {
                        self.set_current(None);
                        self.note_hog(task);
                        match task.wait.commit() {
                            Commit::Parked => {}
                            Commit::Selected => {
                                self.set_current(Some(task));
                                continue;
                            }
                        }
                    }
                    Action::ParkedHolding(lock) => {
                        self.set_current(None);
                        self.note_hog(task);
                        // SAFETY: the lock belongs to what the task waits for, and lives as long as the
                        // task's borrow of it; nobody can wake the task before the lock is free.
                        unsafe { lock.release() }
                    }
                    Action::Yielded => {
                        self.set_current(None);
                        match self.rotate(task) {
                            Ok(next) => {
                                self.set_current(Some(next));
                                self.count_move();
                                task = next;
                                continue;
                            }
                            Err(task) => self.push_yielded(task),
                        }
                    }
                },
                Switch::Finished => {
                    if let Some(next) = self.finish_into(task) {
                        task = next;
                        continue;
                    }
                }
            }
            return;
        }
    }

    /// Finishes a task, and goes straight on with the continuation that it was forked from, if nobody
    /// has stolen that and nothing else comes first in [`Worker::pick`]'s order.
    #[inline]
    fn finish_into(&self, task: TaskRef) -> Option<TaskRef> {
        if self.until_fair.get() == 1 {
            self.set_current(None);
            return self.finish(task);
        }
        let next = self.core.queues.pop_fork();
        // If its parent has not run since it forked, the handle is still in the frame that did.
        let alone = task.plain && next.is_some_and(|next| next.waits_since_fork_of(task));
        if !(alone && task.join.finish_alone()) {
            self.set_current(None);
            if let task @ Some(_) = self.finish(task) {
                next.into_iter().for_each(|next| self.push_fork(next));
                return task;
            }
        }
        if next.is_some() {
            // A child that finished alone is not freed before its parent runs.
            self.set_current(next);
            self.count_move();
        }
        next
    }

    /// Finishes a task that has come to the end of its stack; or gives it back, to run again: it was detached when it had
    /// looked whether it was, and what it leaves is dropped on its own stack, as a part of it.
    pub(super) fn finish(&self, task: TaskRef) -> Option<TaskRef> {
        let home = task.pinned();
        // Taken while the task is ours; done when this function ends, after the result is settled.
        let after = task.take_after();
        match task.join.finish() {
            Finish::Detached if task.has_dropped_result() => {
                // SAFETY: the task's own reference is ours to give up, after which it is not used.
                unsafe { task.end() };
            }
            Finish::Detached => {
                task.put_after(after);
                // SAFETY: we finish it, nobody can take the result any more, and it has not dropped it.
                unsafe { task.wind_up_again() };
                self.set_current(Some(task));
                return Some(task);
            }
            Finish::Handed { joiner, timed, last } => {
                if joiner {
                    // SAFETY: we are the finisher; the joiner waits until it is claimed, and its
                    // handle keeps the task.
                    let wake = unsafe { task.joiner().claim(0) };
                    wake.into_iter().for_each(super::wake);
                }
                if timed {
                    self.sched.timed_joiners.wake(task);
                }
                if last {
                    // SAFETY: no reference is left, so no result either: the handle is gone, and
                    // would have left DETACHED had it not taken the result.
                    unsafe { task.free() };
                }
            }
        }
        if let Some(home) = home {
            self.sched.forget_pinned(home);
        }
        drop(after);
        None
    }

    // ---- what running tasks ask for -----------------------------------------------------------

    /// The running task, if it may suspend: it must not while it unwinds (the panic count is the OS
    /// thread's) nor inside `blocking` or `no_switch`.
    #[inline]
    pub(crate) fn green(&self) -> Option<TaskRef> {
        if self.must_not_suspend() { None } else { self.current.get() }
    }

    #[inline]
    pub(super) fn must_not_suspend(&self) -> bool {
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
    pub(super) fn hold_for_ever(&self) {
        self.holds.set(self.holds.get() | FOR_EVER);
    }

    /// Whether the running task is the one that has forked, in the child.
    #[inline]
    pub(crate) fn is_held_for_ever(&self) -> bool {
        self.holds.get() & FOR_EVER != 0
    }

    /// Whether it has anything else to run.
    pub(crate) fn has_others(&self) -> bool {
        self.core.queues.has_others()
    }

    pub(crate) fn sched(&self) -> &Arc<Sched> {
        &self.sched
    }

    /// Whether this is a worker of `sched`.
    #[inline]
    pub(crate) fn serves(&self, sched: &Sched) -> bool {
        std::ptr::eq(&raw const *self.sched, sched)
    }

    /// This worker's number, for pinning.
    pub(crate) fn index(&self) -> u32 {
        self.core.index
    }

    /// It begins to run. If work waits behind tasks that compute, a child might be another of those: for some time children
    /// are queued, so that their parents go on.
    pub(super) fn come_to_help(&self) {
        if self.sched.monitor.sees_stall() {
            self.set_deep(true);
        }
    }

    /// So many continuations wait here that children should be queued.
    pub(super) fn set_deep(&self, deep: bool) {
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
    fn take_slot_of_pool(&self, class: SizeClass) -> Result<Slot, StackError> {
        let mut stacks = self.stacks.borrow_mut();
        let slot = stacks.refill(&self.sched.pool, class)?;
        stacks.coming().iter().for_each(TaskRef::prefetch_to_start);
        drop(stacks);
        if self.sched.pool.is_growing() {
            // Whoever has nothing else to do prepares the next ones (`steal.rs`).
            self.sched.answer(self.sched.idle.notify());
        }
        Ok(slot)
    }

    #[inline]
    pub(super) fn put_slot(&self, slot: Slot) {
        self.stacks.borrow_mut().put(&self.sched.pool, slot);
    }

    /// Gives the stacks in stock back, for others to use or the monitor to trim.
    pub(super) fn flush_stacks(&self) {
        self.stacks.borrow_mut().flush(&self.sched.pool);
    }

    /// The running task is about to block this OS thread: lets another take this worker's place.
    pub(crate) fn enter_blocking(&self) {
        let holds = self.holds.get();
        self.holds.set(holds + 1);
        if holds & !NO_SWITCH > 0 {
            return;
        }
        self.start_halves();
        self.step_aside(BLOCKING);
        self.end_turn();
    }

    /// The task that runs now, or next, will keep this OS thread: lets another take this worker's place.
    pub(super) fn step_aside(&self, status: usize) {
        self.core.queues.expose_all();
        if self.core.remote.own.status.enter(status) == NORMAL {
            self.sched.idle.block();
        }
        if self.core.remote.has_stealable() || self.sched.has_work() {
            self.sched.answer(self.sched.idle.notify_outside());
        }
    }

    /// The running task has its OS thread back.
    pub(crate) fn leave_blocking(&self) {
        let holds = self.holds.get() - 1;
        self.holds.set(holds);
        if holds & !NO_SWITCH == 0 {
            self.core.remote.own.status.enter(NORMAL);
            self.sched.idle.unblock();
            self.sched.monitor.stir();
        }
    }
}
