//! A worker's random order of tasks under chaos; see [`Chaos`].

use std::thread;
use std::time::Duration;

use crate::loom::Ordering;
use crate::runtime::policy::random::Chaos;
use crate::runtime::worker::Worker;
use crate::task::header::TaskRef;

/// How often a worker that finds only tasks which it ran last itself yields, so that others come
/// and take one; below it, how often it then sleeps a little. Fewer times if none came the last
/// times.
const YIELDS: u32 = 16;

const NAPS: u32 = 4;

const NAP: Duration = Duration::from_micros(20);

impl Worker {
    /// Returns the task to run next, under chaos.
    pub(crate) fn next_at_random(&self, chaos: &Chaos) -> Option<TaskRef> {
        let me = self.core.index;
        self.decide_on_children();
        let injected = std::iter::from_fn(|| self.take_injected());
        if chaos.strew(self.core.queues.take_all().into_iter().chain(injected)) {
            self.shared.answer(self.shared.idle.notify_outside());
        }
        // Tasks that are not strewn: pinned ones, and those in the queues of other workers.
        let elsewhere = match self.random() % 4 {
            0 => self.next_pinned(),
            1 => self.steal().or_else(|| self.take_over_stuck()),
            _ => None,
        };
        if elsewhere.is_some() {
            return elsewhere;
        }
        if self.one_in(32) {
            thread::yield_now();
        }
        let alone = self.shared.config.workers == 1;
        let mut tries = 0;
        loop {
            if let Some(task) = chaos.take(self.random(), me, !alone) {
                return Some(task);
            }
            if chaos.is_empty() {
                chaos.in_vain.store(0, Ordering::Relaxed);
                break;
            }
            // Gives the workers that were notified time to come.
            let in_vain = chaos.in_vain.load(Ordering::Relaxed) as u32;
            let enough = tries >= YIELDS + NAPS - in_vain;
            if enough || self.has_pinned_work() || self.shared.is_stopped() {
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
        self.next_pinned().or_else(|| self.take_strewn())
    }

    /// Takes a strewn task, if the runtime is under chaos.
    pub(crate) fn take_strewn(&self) -> Option<TaskRef> {
        self.shared.chaos.as_ref()?.take(self.random(), self.core.index, false)
    }

    /// Returns the child of a task that was just queued, to run at once. Under chaos the parent is
    /// strewn, and perhaps the child too: returns `None` then.
    #[cold]
    pub(crate) fn pick_child(&self, child: TaskRef) -> Option<TaskRef> {
        let Some(chaos) = &self.shared.chaos else { return Some(child) };
        self.decide_on_children();
        let waits = child.pinned().is_none() && self.one_in(2);
        if waits {
            // Before another worker may run the child.
            self.set_current(None);
        } else {
            chaos.note(child, self.core.index);
        }
        if chaos.strew(self.core.queues.take_all().into_iter().chain(waits.then_some(child))) {
            self.shared.answer(self.shared.idle.notify_outside());
        }
        (!waits).then_some(child)
    }

    /// Decides at random whether the children of the next task are queued.
    fn decide_on_children(&self) {
        self.set_deep(self.one_in(3));
    }

    fn one_in(&self, n: u64) -> bool {
        self.random().is_multiple_of(n)
    }

    /// Returns `true` if the running task should be suspended although it need not be. Always
    /// `false` without chaos.
    pub(crate) fn is_to_suspend(&self) -> bool {
        self.shared.chaos.is_some() && self.one_in(4)
    }
}
