//! Chaos: a scheduler that does what the real one may do, as often as it can.
//!
//! For tests. Programs come to rely on what usually happens: that a thread which is woken runs soon, that a
//! child runs before its parent goes on, that a call comes back on the OS thread that it was made on. Under
//! chaos every task that becomes runnable is *strewn*: it lies in one heap for all workers, which take from
//! it at random, preferably what another one ran last. So
//! - a thread that suspends is likely to come back on another OS thread, if there is one;
//! - any runnable thread may be next, and a woken one may be passed over for some time;
//! - of a parent and its child either may go on first, and a child may be queued;
//! - victims and the arms of selects follow from the seed.
//!
//! The other half is `park::may_suspend`: in debug builds, operations that could suspend and need not do so
//! all the same, at random.
//!
//! Nothing of this is on the way of a scheduler without chaos. Workers see it only where they would be fair
//! (`Worker::count_pick`), which under chaos is at every pick; they leave what becomes runnable in their own
//! queues, as always, and strew it before they pick. The heap is work in the sense of the sleep protocol
//! (`README.md`): whoever strews notifies, and a worker looks at it before it sleeps.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use super::Sched;
use super::worker::Worker;
use crate::prim::{AtomicUsize, Mutex, Ordering, lock};
use crate::task::TaskRef;

/// How often a worker that finds only tasks of its own lets others come and take one, and then sleeps a
/// little for it: fewer times if nobody came the last times.
const YIELDS: u32 = 16;
const NAPS: u32 = 4;
const NAP: Duration = Duration::from_micros(20);
/// How many tasks it looks at to find one that another has strewn.
const LOOKS: usize = 64;

/// The heap of a scheduler under chaos.
#[derive(Debug)]
pub(super) struct Chaos {
    seed: u64,
    heap: Mutex<Heap>,
    /// How many tasks are in it, to be read without the lock.
    len: AtomicUsize,
    /// Naps in a row for which nobody came.
    in_vain: AtomicUsize,
}

#[derive(Debug, Default)]
struct Heap {
    tasks: Vec<TaskRef>,
    /// The worker that each task ran on last, by the task's address: not the one to run it next. Also of tasks
    /// that are no more; where one was the next will be.
    ran_on: HashMap<usize, u32>,
}

/// For `ran_on`.
fn address(task: TaskRef) -> usize {
    task.as_ptr().addr()
}

/// Some scheduler of the process is under chaos.
static ANYWHERE: AtomicBool = AtomicBool::new(false);

/// Whether some scheduler of the process is under chaos.
#[inline]
pub(crate) fn is_anywhere() -> bool {
    ANYWHERE.load(Ordering::Relaxed)
}

impl Chaos {
    pub(super) fn new(seed: u64) -> Self {
        ANYWHERE.store(true, Ordering::Relaxed);
        Self {
            seed,
            heap: Mutex::default(),
            len: AtomicUsize::new(0),
            in_vain: AtomicUsize::new(0),
        }
    }

    /// The seed of a worker's random numbers.
    pub(super) fn seed_of(&self, worker: u32) -> u64 {
        let mut x = self.seed ^ u64::from(worker).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Adds tasks: true if there are some now.
    fn strew(&self, tasks: impl Iterator<Item = TaskRef>) -> bool {
        let mut heap = lock(&self.heap);
        heap.tasks.extend(tasks);
        self.len.store(heap.tasks.len(), Ordering::Relaxed);
        !heap.tasks.is_empty()
    }

    /// Takes any task, or one that `me` was not the last to run, if one is found.
    fn take(&self, random: u64, me: u32, foreign: bool) -> Option<TaskRef> {
        if self.is_empty() {
            return None;
        }
        let Heap { tasks, ran_on } = &mut *lock(&self.heap);
        let count = tasks.len();
        let start = random as usize % count.max(1);
        let mut places = (0..count.min(LOOKS)).map(|offset| (start + offset) % count);
        let found = places.find(|&place| ran_on.get(&address(tasks[place])) != Some(&me));
        let place = found.or((!foreign && count > 0).then_some(start))?;
        let task = tasks.swap_remove(place);
        ran_on.insert(address(task), me);
        self.len.store(tasks.len(), Ordering::Relaxed);
        Some(task)
    }

    /// A task runs on `me` without having been taken.
    fn note(&self, task: TaskRef, me: u32) {
        lock(&self.heap).ran_on.insert(address(task), me);
    }
}

impl Sched {
    /// Whether tasks are strewn that any worker could take.
    pub(super) fn has_strewn(&self) -> bool {
        self.chaos.as_ref().is_some_and(|chaos| !chaos.is_empty())
    }
}

impl Worker {
    /// The task to run next, under chaos.
    pub(super) fn pick_at_random(&self, chaos: &Chaos) -> Option<TaskRef> {
        let me = self.core.index;
        self.decide_on_children();
        let injected = std::iter::from_fn(|| self.take_injected());
        if chaos.strew(self.core.queues.take_all().into_iter().chain(injected)) {
            self.sched.answer(self.sched.idle.notify_outside());
        }
        // What is not strewn: tasks of one worker, and those of one that is stuck.
        let elsewhere = match self.random() % 4 {
            0 => self.pick_pinned(),
            1 => self.steal().or_else(|| self.rescue_stuck()),
            _ => None,
        };
        if elsewhere.is_some() {
            return elsewhere;
        }
        if self.one_in(32) {
            thread::yield_now();
        }
        let alone = self.sched.config.workers == 1;
        let mut tries = 0;
        loop {
            if let Some(task) = chaos.take(self.random(), me, !alone) {
                return Some(task);
            }
            if chaos.is_empty() {
                chaos.in_vain.store(0, Ordering::Relaxed);
                break;
            }
            // For those who were told to come.
            let in_vain = chaos.in_vain.load(Ordering::Relaxed) as u32;
            let enough = tries >= YIELDS + NAPS - in_vain;
            if enough || self.has_pinned_work() || self.sched.is_stopped() {
                break;
            }
            if tries < YIELDS {
                thread::yield_now();
            } else {
                thread::sleep(NAP);
                chaos.in_vain.store((in_vain + 1).min(NAPS - 1) as usize, Ordering::Relaxed);
            }
            tries += 1;
        }
        self.pick_pinned().or_else(|| self.take_strewn())
    }

    /// Takes what is strewn, if this scheduler is under chaos.
    pub(super) fn take_strewn(&self) -> Option<TaskRef> {
        self.sched.chaos.as_ref()?.take(self.random(), self.core.index, false)
    }

    /// Whether the child of a task, which was just pushed, runs at once. Under chaos the parent is strewn, and
    /// so may be the child: `None` then.
    #[cold]
    pub(super) fn pick_child(&self, child: TaskRef) -> Option<TaskRef> {
        let Some(chaos) = &self.sched.chaos else { return Some(child) };
        self.decide_on_children();
        let waits = child.pinned().is_none() && self.one_in(2);
        if waits {
            // Before others may run it.
            self.set_current(None);
        } else {
            chaos.note(child, self.core.index);
        }
        if chaos.strew(self.core.queues.take_all().into_iter().chain(waits.then_some(child))) {
            self.sched.answer(self.sched.idle.notify_outside());
        }
        (!waits).then_some(child)
    }

    /// Decides whether the children of the task that runs next are queued.
    fn decide_on_children(&self) {
        self.set_deep(self.one_in(3));
    }

    fn one_in(&self, n: u64) -> bool {
        self.random().is_multiple_of(n)
    }

    /// Whether the running task is to be suspended where it need not be. Never without chaos.
    pub(crate) fn is_to_suspend(&self) -> bool {
        self.sched.chaos.is_some() && self.one_in(4)
    }
}
