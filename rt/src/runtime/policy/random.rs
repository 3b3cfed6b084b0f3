//! Chaos: a runtime that does everything that it may do, as often as it can. For tests.
//!
//! Programs come to rely on the usual behaviour: a woken thread runs soon, a child runs before its
//! parent goes on, a call returns on the OS thread on which it was made. Under chaos every task
//! that becomes runnable is *strewn*: it lies in one heap for all workers. They take tasks from it
//! at random, preferably tasks that they were not the last to run. So
//! - a thread that suspends is likely to continue on another OS thread, if there is one;
//! - any runnable thread may be next, and a woken one may be passed over for some time;
//! - of a parent and its child either may go on first, and a child may be queued;
//! - victims and the arms of selects follow from the seed.
//!
//! The other half is `park::may_suspend`: in debug builds, operations that could suspend, but need
//! not, suspend at random.
//!
//! A runtime without chaos does not pay for it. Workers look at the heap at ticks (`Worker::tick`),
//! which under chaos are at every switch, and when they are out of work. They leave tasks that
//! become runnable in their own queues, as always, and strew them before they switch. The heap is
//! work in the sense of the sleep protocol (`README.md`): a worker that strews notifies, and a
//! worker looks at the heap before it sleeps.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use crate::loom::{AtomicUsize, Mutex, Ordering, lock};
use crate::task::header::TaskRef;

/// How many tasks are looked at to find one that the worker was not the last to run.
const LOOKS: usize = 64;

/// The heap of a runtime under chaos.
#[derive(Debug)]
pub(crate) struct Chaos {
    pub(crate) seed: u64,
    pub(crate) heap: Mutex<Heap>,
    /// The number of tasks in the heap, to be read without the lock.
    pub(crate) len: AtomicUsize,
    /// The number of naps in a row during which no other worker came.
    pub(crate) in_vain: AtomicUsize,
}

#[derive(Debug, Default)]
pub(crate) struct Heap {
    tasks: Vec<TaskRef>,
    /// The worker on which each task ran last, by the task's address: another one should run it
    /// next. Also has addresses of tasks that have ended, because later tasks will be there.
    ran_on: HashMap<usize, u32>,
}

/// Returns the key of a task in `ran_on`.
fn address(task: TaskRef) -> usize {
    task.as_ptr().addr()
}

/// Some runtime of the process is under chaos, or was.
static ANYWHERE: AtomicBool = AtomicBool::new(false);

/// Returns `true` if some runtime of the process is under chaos, or was.
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

    /// Returns the seed of a worker's random numbers.
    pub(crate) fn seed_of(&self, worker: u32) -> u64 {
        let mut x = self.seed ^ u64::from(worker).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Adds tasks to the heap. Returns `true` if there are some now.
    pub(crate) fn strew(&self, tasks: impl Iterator<Item = TaskRef>) -> bool {
        let mut heap = lock(&self.heap);
        heap.tasks.extend(tasks);
        self.len.store(heap.tasks.len(), Ordering::Relaxed);
        !heap.tasks.is_empty()
    }

    /// Takes a random task, preferably one that `me` was not the last to run. With `foreign`, takes
    /// no other task.
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

    /// Notes that a task runs on `me` although it was not taken from the heap.
    pub(crate) fn note(&self, task: TaskRef, me: u32) {
        lock(&self.heap).ran_on.insert(address(task), me);
    }
}
