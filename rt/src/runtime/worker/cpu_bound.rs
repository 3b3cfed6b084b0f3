//! How a worker runs CPU-bound tasks; see [`cpu_bound`](crate::runtime::cpu_bound).

use std::time::Instant;

use crate::runtime::cpu_bound::{CREDIT, SHORTEST, Turn};
use crate::runtime::status::RETAKEN;
use crate::runtime::worker::Worker;
use crate::sys::thread_state::own_time;
use crate::task::cpu_bound::CpuBound;
use crate::task::header::TaskRef;

impl Worker {
    /// Runs a CPU-bound task if its turn begins now, and then the tasks whose turns are next.
    /// Meanwhile another worker may take this worker's place.
    #[cold]
    pub(crate) fn run_cpu_bound(&self, task: TaskRef) {
        let mut next = self.begin_turn(task).then_some(task);
        while let Some(task) = next {
            self.run_task(task);
            next = self.pass_turn_on();
        }
    }

    /// Begins the turn of a CPU-bound task. Returns `false` if the task must wait: it is in the
    /// admission queue then.
    fn begin_turn(&self, task: TaskRef) -> bool {
        if task.pinned().is_some() {
            // After the admission queue any worker may run a task, so a pinned one does not wait
            // there.
            task.cpu_bound.set(CpuBound::No);
            return true;
        }
        if matches!(task.cpu_bound.get(), CpuBound::Known(_)) && !self.shared.cpu_bound.enter(task)
        {
            return false;
        }
        self.note_turn(task);
        self.step_aside(RETAKEN);
        true
    }

    fn note_turn(&self, task: TaskRef) {
        let credit = task.cpu_bound.replace(CpuBound::No).credit();
        self.turn.set(Some(Turn { began: Instant::now(), credit }));
        self.core.remote.own.begin_retake(own_time());
    }

    /// Notes, while the worker is retaken, whether the turn was long. Called when the running task
    /// has suspended and is still ours.
    #[inline]
    pub(crate) fn note_cpu_bound(&self, task: TaskRef) {
        if self.core.remote.own.status.state() == RETAKEN {
            self.judge_turn(task);
        }
    }

    #[cold]
    fn judge_turn(&self, task: TaskRef) {
        let long = self.core.remote.own.used_since_retake(own_time()) >= SHORTEST;
        let left = self.turn.get().map_or(0, |turn| turn.credit.saturating_sub(1));
        task.cpu_bound.set(CpuBound::known(if long { CREDIT } else { left }));
    }

    /// Puts a task that has yielded into the admission queue, to wait for its next turn, if it is
    /// CPU-bound and had a turn. Returns `true` if it did.
    #[inline]
    pub(crate) fn lines_up(&self, task: TaskRef) -> bool {
        self.turn.get().is_some() && self.line_up(task)
    }

    #[cold]
    pub(crate) fn line_up(&self, task: TaskRef) -> bool {
        let is_hog = task.cpu_bound.get() != CpuBound::No;
        if is_hog {
            self.shared.cpu_bound.line_up(task);
        }
        is_hog
    }

    /// Ends the turn of a CPU-bound task that has suspended, and returns the next one to run.
    /// Returns `None` if there is none, if the turn was over before, or if this worker has other
    /// things to do; then the turn ends at the next task switch.
    fn pass_turn_on(&self) -> Option<TaskRef> {
        let Self { shared, core, .. } = self;
        let Turn { began, .. } = self.turn.get()?;
        let back = core.remote.own.status.is_asked()
            || core.remote.has_private()
            || core.remote.has_stealable()
            || self.has_pinned_work()
            || shared.idle.has_room() && shared.has_work()
            || shared.is_stopped();
        if back {
            return None;
        }
        self.turn.set(None);
        let next = shared.cpu_bound.leave(began)?;
        self.note_turn(next);
        self.notify_of_timers();
        self.counters().task_switches.count();
        Some(next)
    }

    /// Ends the worker's turn, if it has one, and makes the next CPU-bound task runnable. Called
    /// when the worker is no longer retaken.
    #[cold]
    pub(crate) fn end_turn(&self) {
        if let Some(Turn { began, .. }) = self.turn.take() {
            self.shared
                .cpu_bound
                .leave(began)
                .into_iter()
                .for_each(|next| self.shared.inject(next));
        }
    }
}
