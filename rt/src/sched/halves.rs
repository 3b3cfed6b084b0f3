//! The second halves of `join`s that wait on a worker: those of the task that it runs.
//!
//! Invariants:
//! - In `Remote::halves` are halves of the running task only, the oldest first. When it is suspended, or the
//!   worker may not come back for long, each becomes a task, so that others can run it.
//! - Others take the oldest, under the lock, and have made a task of it before they let the lock go. So what the
//!   list has lost is at its front: a half that is taken back is the last in the list, or there is none.
//! - `Queues::deferred` counts the frames that have put a half into the list since, whether or not it was taken by
//!   another; a frame that finds it zero was suspended meanwhile, and has no half in any list.

use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use super::pick::STUCKS_TURN;
use super::remote::Remote;
use super::status::COVERED;
use super::worker::Worker;
use super::{Sched, next_ids};
use crate::prim::barrier;
use crate::task::TaskRef;
use crate::task::command::Command;
use crate::task::half::HalfRef;

/// Of a stack, the part that nested `join`s share, as a divisor: each half has the rest to itself.
const SHARE: usize = 4;

/// For so long a task that forks and joins goes on before it looks whether others wait, and lets them run: when it
/// is suspended all that it has deferred must become tasks, and a look at other workers takes their cache lines.
const QUANTUM: Duration = Duration::from_micros(100);

/// Turns between two looks at the clock, at most.
const MOST_UNTIMED: u32 = 8;

/// Since a worker has last looked, in a `join`, whether others wait.
#[derive(Clone, Copy)]
pub(super) struct Stretch {
    since: Instant,
    turns: u32,
    /// With which turn to look at the clock: the first, the second, the fourth, the eighth, and each eighth then.
    look_at: u32,
}

impl Stretch {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), turns: 0, look_at: 1 }
    }

    /// One more turn. If it was the last: true, and begins anew.
    fn is_over(&mut self) -> bool {
        self.turns += 1;
        if self.turns < self.look_at {
            return false;
        }
        self.look_at = self.turns + self.turns.min(MOST_UNTIMED);
        let is_over = self.since.elapsed() >= QUANTUM;
        if is_over {
            *self = Self::new();
        }
        is_over
    }
}

/// What becomes of the second half of a `join`.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deferred {
    /// It waits, or has been taken already.
    Yes,
    /// Not before the calling task has let others run.
    Later,
    /// The first half may not run in the calling thread: it may not be suspended, or has too little stack left.
    Never,
}

impl Worker {
    /// Keeps the second half of a `join` while the first runs in the calling task.
    ///
    /// # Safety
    ///
    /// If so, the half stays where it is until that task has [taken it back](Worker::take_back).
    #[inline]
    pub(crate) unsafe fn defer(&self, half: HalfRef) -> Deferred {
        if !self.green().is_some_and(has_room) {
            return Deferred::Never;
        }
        match self.until_fair.get() {
            1 if self.sched.chaos.is_some() => return Deferred::Never,
            1 if !self.pass_turn() => return Deferred::Later,
            1 => {}
            left => self.until_fair.set(left - 1),
        }
        self.counters().turns.count();
        self.core.queues.push_half(half);
        // Asked after it was pushed: either whoever disturbs has seen it, or we see that we are (`cover`).
        barrier::light();
        if !self.core.remote.own.status.is_undisturbed() {
            // If it was taken it is a task, and all is well.
            let ours = self.core.queues.pop_half().is_some();
            return if ours { Deferred::Later } else { Deferred::Yes };
        }
        if self.sched.idle.is_hungry() {
            self.offer_half();
        }
        Deferred::Yes
    }

    /// A fair pick is due. True if the running task may go on all the same: because there is nothing to pick, or
    /// because this was only just asked.
    #[cold]
    fn pass_turn(&self) -> bool {
        let mut stretch = self.stretch.get();
        let is_over = stretch.is_over();
        self.stretch.set(stretch);
        if is_over && self.do_others_wait() {
            return false;
        }
        self.until_fair.set(self.fairness_period);
        self.stacks.borrow_mut().tend(&self.sched.pool);
        self.counters().fair_picks.count();
        true
    }

    fn do_others_wait(&self) -> bool {
        let others = self.core.queues.has_others()
            || self.has_pinned_work()
            || self.sched.has_work()
            || self.sched.is_timer_due();
        if !others && self.is_suspect_stuck() {
            // Nothing else is to be picked, so the pick that follows is to be one for the stuck.
            self.fair_turn.set(STUCKS_TURN);
            return true;
        }
        others
    }

    /// The running task takes back the half that it has deferred last. If another has taken it, or it had to become
    /// a task, its frame says so now; otherwise it is the frame's again.
    #[inline]
    pub(crate) fn take_back(&self, half: HalfRef) {
        let Some(taken) = self.core.queues.pop_half() else {
            return self.core.queues.want_started();
        };
        debug_assert_eq!(taken, half, "halves are taken back in order");
        barrier::light();
        if self.core.remote.own.status.state() == COVERED {
            self.start_halves();
            self.expose_all();
        }
    }

    /// Lets others take the oldest of what is here, because somebody is hungry.
    #[cold]
    fn offer_half(&self) {
        let queues = &self.core.queues;
        if self.core.remote.has_stealable() {
            // They have been told.
            return;
        }
        if queues.forks() > 0 {
            if queues.offer_fork() {
                self.tell_of_offer();
            }
        } else if queues.is_half_worth_it() {
            let Ok(slot) = self.take_slot(self.sched.config.class) else { return };
            match queues.pop_oldest_half() {
                Some(half) => {
                    // SAFETY: taken out of the list, and the scheduler outlives its tasks.
                    let task = unsafe { half.start(&self.sched, slot, self.next_id()) };
                    queues.offer_started(task);
                    self.tell_of_offer();
                }
                None => self.put_slot(slot),
            }
        }
    }

    /// Of a task that has suspended with this command: what it has deferred it cannot take back elsewhere.
    #[inline]
    pub(super) fn part_with_halves(&self, command: Command) -> Command {
        if self.core.queues.has_deferred() {
            self.start_halves();
        }
        command
    }

    /// Makes tasks of all halves, because the task that they belong to may not come back here, or not soon.
    #[cold]
    pub(super) fn start_halves(&self) {
        while let Some(half) = self.core.queues.pop_oldest_half() {
            // Without a stack it stays with its frame, which will see to it.
            let Ok(slot) = self.take_slot(self.sched.config.class) else { continue };
            // SAFETY: as above.
            self.push_fork(unsafe { half.start(&self.sched, slot, self.next_id()) });
        }
        self.core.queues.forget_deferred();
    }
}

/// Makes tasks of what stuck workers have deferred.
impl Sched {
    /// The task that the oldest half of a worker has become, which is not the calling one. Costs as much as
    /// [`Remote::rescue`], if there is one.
    pub(super) fn rescue_half(&self, worker: &Remote) -> Option<TaskRef> {
        if !worker.has_halves() {
            return None;
        }
        let mut slot = Some(self.take_slot(self.config.class).ok()?);
        let task = worker.rescue_half(|half| {
            let slot = slot.take().expect("called once");
            // SAFETY: it is out of the list, whose lock is held; the scheduler outlives its tasks.
            unsafe { half.start(self, slot, next_ids(1)) }
        });
        slot.into_iter().for_each(|slot| self.put_slot(slot));
        task
    }
}

/// Whether so little of the task's stack is in use that the halves of another `join` can share it.
#[inline]
fn has_room(task: TaskRef) -> bool {
    let here = MaybeUninit::<u8>::uninit();
    // On a temporary stack this is out of range as well.
    let used = task.slot().top().addr().get().wrapping_sub((&raw const here).addr());
    used <= task.slot().usable() / SHARE
}

#[cfg(all(test, loom))]
mod models {
    use crate::prim::{AtomicUsize, Ordering};
    use crate::sched::biased::Biased;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;
    use std::collections::VecDeque;

    /// A half reduced to whether it was started, which is its frame's to know only after it was taken back.
    #[derive(Default)]
    struct World {
        list: Biased<VecDeque<usize>>,
        started: [Checked<bool>; 2],
        runs: AtomicUsize,
    }

    impl Default for Biased<VecDeque<usize>> {
        fn default() -> Self {
            Self::new(VecDeque::new())
        }
    }

    impl World {
        /// Two nested `join`s, by the owner.
        fn join(&self, half: usize) {
            // SAFETY: one thread is the owner.
            unsafe { self.list.with(|list| list.push_back(half)) };
            if half + 1 < self.started.len() {
                self.join(half + 1);
            }
            // SAFETY: as above.
            let taken = unsafe { self.list.with(VecDeque::pop_back) };
            // SAFETY: taken back, the frame is its function's; loom checks it.
            let started = self.started[half].with(|started| unsafe { *started });
            assert_eq!(
                taken,
                (!started).then_some(half),
                "the last in the list, or taken by another"
            );
            if !started {
                self.runs.fetch_add(1, Ordering::Relaxed);
            }
        }

        fn rescue(&self) {
            let start = |list: &mut VecDeque<usize>| {
                let half = list.pop_front()?;
                // SAFETY: taken out of the list under the lock; loom checks it.
                self.started[half].with_mut(|started| unsafe { *started = true });
                Some(())
            };
            if self.list.try_with(start).flatten().is_some() {
                self.runs.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn each_half_runs_once() {
        loom::model(|| {
            let world = Arc::new(World::default());
            let other = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    world.rescue();
                    world.rescue();
                })
            };
            world.join(0);
            other.join().unwrap();
            assert_eq!(world.runs.load(Ordering::Relaxed), 2);
        });
    }
}
