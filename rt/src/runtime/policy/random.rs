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
//! (`Worker::tick`), which under chaos is at every switch; they leave what becomes runnable in their own
//! queues, as always, and strew it before they switch. The heap is work in the sense of the sleep protocol
//! (`README.md`): whoever strews notifies, and a worker looks at it before it sleeps.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use crate::loom::{AtomicUsize, Mutex, Ordering, lock};
use crate::task::header::TaskRef;

/// How many tasks it looks at to find one that another has strewn.
const LOOKS: usize = 64;

/// The heap of a scheduler under chaos.
#[derive(Debug)]
pub(crate) struct Chaos {
    pub(crate) seed: u64,
    pub(crate) heap: Mutex<Heap>,
    /// How many tasks are in it, to be read without the lock.
    pub(crate) len: AtomicUsize,
    /// Naps in a row for which nobody came.
    pub(crate) in_vain: AtomicUsize,
}

#[derive(Debug, Default)]
pub(crate) struct Heap {
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
    pub(crate) fn new(seed: u64) -> Self {
        ANYWHERE.store(true, Ordering::Relaxed);
        Self {
            seed,
            heap: Mutex::default(),
            len: AtomicUsize::new(0),
            in_vain: AtomicUsize::new(0),
        }
    }

    /// The seed of a worker's random numbers.
    pub(crate) fn seed_of(&self, worker: u32) -> u64 {
        let mut x = self.seed ^ u64::from(worker).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Adds tasks: true if there are some now.
    pub(crate) fn strew(&self, tasks: impl Iterator<Item = TaskRef>) -> bool {
        let mut heap = lock(&self.heap);
        heap.tasks.extend(tasks);
        self.len.store(heap.tasks.len(), Ordering::Relaxed);
        !heap.tasks.is_empty()
    }

    /// Takes any task, or one that `me` was not the last to run, if one is found.
    pub(crate) fn take(&self, random: u64, me: u32, foreign: bool) -> Option<TaskRef> {
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
    pub(crate) fn note(&self, task: TaskRef, me: u32) {
        lock(&self.heap).ran_on.insert(address(task), me);
    }
}
