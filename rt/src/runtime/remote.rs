//! The side of a worker that other threads see.

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_deque::Stealer;
use crossbeam_utils::CachePadded;

use crate::loom::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Mutex, Ordering, fence, lock};
use crate::runtime::driver::Timers;
use crate::runtime::metrics::Counters;
use crate::runtime::queue::private::{DeferredJobs, Private, TakeOver};
use crate::runtime::status::Status;
use crate::sys::parker::Parker;
use crate::task::header::{Task, TaskRef};
use crate::task::stack_job::StackJobRef;
use crate::util::biased_lock::Biased;

/// The shared side of one worker.
#[derive(Debug)]
pub(crate) struct Remote {
    /// Published continuations. Thieves take the oldest.
    pub(crate) forks: Stealer<TaskRef>,
    /// Published ready tasks.
    pub(crate) ready: Stealer<TaskRef>,
    private: CachePadded<Biased<Private>>,
    jobs: CachePadded<Biased<DeferredJobs>>,
    pub(crate) parker: Parker,
    /// Written by the worker at every switch.
    pub(crate) own: CachePadded<Published>,
    /// The timers of the tasks that began to wait on this worker.
    pub(crate) timers: CachePadded<Timers>,
    inbox: Inbox,
    /// The number of unfinished tasks that are pinned to this worker. While there are any, its OS
    /// thread may not end.
    pub(crate) pinned: AtomicUsize,
}

/// State that the owner writes often, and other threads read now and then.
#[derive(Debug)]
pub(crate) struct Published {
    /// By these counts sysmon sees whether the worker moves on ([`Remote::moves`]).
    pub(crate) counters: Counters,
    /// The number of private tasks. A hint.
    pub(crate) private: AtomicUsize,
    /// The number of deferred jobs. A hint.
    pub(crate) jobs: AtomicUsize,
    /// The worker's state, and the requests to it; see `status.rs`.
    pub(crate) status: Status,
    /// Tasks that wake another go on for long here; see `policy/wake_beside.rs`. A hint, written by
    /// the owner and by threads that take over a LIFO slot.
    pub(crate) beside: AtomicBool,
    /// The worker publishes ready tasks, to see whether that is worth it; see `policy/sharing.rs`.
    /// A hint, written by the owner and by thieves.
    on_trial: AtomicBool,
    /// The processor time that the OS thread had used when the worker was retaken; see `cpu_bound.rs`.
    used_at_retake: AtomicU64,
    /// The running task. Written by the owner, in an order on which dumps rely
    /// (`diagnostics/stop_world.rs`).
    pub(crate) current: AtomicPtr<Task>,
}

/// Pinned tasks made runnable by other threads.
#[derive(Debug)]
struct Inbox {
    len: AtomicUsize,
    tasks: Mutex<VecDeque<TaskRef>>,
}

impl Published {
    /// Notes the processor time that the worker's OS thread has used. Called before the worker is
    /// retaken.
    pub(crate) fn begin_retake(&self, used: Duration) {
        let nanos = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        self.used_at_retake.store(nanos, Ordering::Relaxed);
    }

    /// Returns how much processor time the worker's OS thread has used since the worker was
    /// retaken, given the time that it has `used` in all.
    pub(crate) fn used_since_retake(&self, used: Duration) -> Duration {
        used.saturating_sub(Duration::from_nanos(self.used_at_retake.load(Ordering::Relaxed)))
    }

    #[inline]
    pub(crate) fn wakes_beside(&self) -> bool {
        self.beside.load(Ordering::Relaxed)
    }

    pub(crate) fn set_wakes_beside(&self, beside: bool) {
        self.beside.store(beside, Ordering::Relaxed);
    }

    pub(crate) fn is_on_trial(&self) -> bool {
        self.on_trial.load(Ordering::Relaxed)
    }

    pub(crate) fn set_on_trial(&self, on_trial: bool) {
        self.on_trial.store(on_trial, Ordering::Relaxed);
    }
}

impl Remote {
    pub(crate) fn new(forks: Stealer<TaskRef>, ready: Stealer<TaskRef>) -> Self {
        let private = Private {
            lifo_slot: None,
            forks: VecDeque::with_capacity(64),
            ready: VecDeque::with_capacity(64),
            front: VecDeque::new(),
            taken_over: false,
        };
        let jobs = DeferredJobs { list: VecDeque::with_capacity(64), taken_over: false };
        Self {
            forks,
            ready,
            private: CachePadded::new(Biased::new(private)),
            jobs: CachePadded::new(Biased::new(jobs)),
            parker: Parker::new(),
            own: CachePadded::new(Published {
                counters: Counters::default(),
                private: AtomicUsize::new(0),
                jobs: AtomicUsize::new(0),
                status: Status::new(),
                beside: AtomicBool::new(true),
                on_trial: AtomicBool::new(false),
                used_at_retake: AtomicU64::new(0),
                current: AtomicPtr::new(std::ptr::null_mut()),
            }),
            timers: CachePadded::new(Timers::new()),
            inbox: Inbox { len: AtomicUsize::new(0), tasks: Mutex::new(VecDeque::new()) },
            pinned: AtomicUsize::new(0),
        }
    }

    /// Returns the running task. Valid while the task runs: a caller other than the owner must know
    /// that it does.
    pub(crate) fn current(&self) -> Option<TaskRef> {
        let task = std::ptr::NonNull::new(self.own.current.load(Ordering::Acquire))?;
        // SAFETY: the owner runs the task, so it is alive, and the caller uses the result no longer
        // than that.
        Some(unsafe { TaskRef::from_raw(task) })
    }

    /// Notes the running task. Called by the owner.
    #[inline]
    pub(crate) fn set_current(&self, task: Option<TaskRef>) {
        let task = task.map_or(std::ptr::null_mut(), TaskRef::as_ptr);
        // Release: a thread that reads this value sees what the worker did before.
        self.own.current.store(task, Ordering::Release);
    }

    /// Returns `true` if there is work here, which any worker could take.
    pub(crate) fn has_stealable(&self) -> bool {
        !self.forks.is_empty() || !self.ready.is_empty()
    }

    /// Calls `f` with the private queues.
    ///
    /// # Safety
    ///
    /// The caller is the owner. `f` neither comes back to this lock nor panics.
    #[inline(always)]
    pub(crate) unsafe fn with_private<R>(&self, f: impl FnOnce(&mut Private) -> R) -> R {
        let counted = |private: &mut Private| {
            let result = f(private);
            self.own.private.store(private.len(), Ordering::Relaxed);
            result
        };
        // SAFETY: the caller is the owner. Neither `f` nor the count comes back to this lock or
        // panics.
        unsafe { self.private.with(counted) }
    }

    /// Calls `f` with the deferred jobs.
    ///
    /// # Safety
    ///
    /// Same as [`Remote::with_private`].
    #[inline(always)]
    pub(crate) unsafe fn with_jobs<R>(&self, f: impl FnOnce(&mut DeferredJobs) -> R) -> R {
        let counted = |jobs: &mut DeferredJobs| {
            let result = f(jobs);
            self.own.jobs.store(jobs.list.len(), Ordering::Relaxed);
            result
        };
        // SAFETY: the caller is the owner. Neither `f` nor the count comes back to this lock or
        // panics.
        unsafe { self.jobs.with(counted) }
    }

    /// Returns a number that changes when the worker moves on: at each task switch, and when it has
    /// woken many threads or deferred a job.
    pub(crate) fn moves(&self) -> u64 {
        self.own.counters.task_switches.get() + self.own.counters.turns.get()
    }

    /// Returns `true` if there seem to be private tasks or deferred jobs here.
    pub(crate) fn has_private(&self) -> bool {
        self.has_private_tasks() || self.has_jobs()
    }

    pub(crate) fn has_jobs(&self) -> bool {
        self.own.jobs.load(Ordering::Relaxed) > 0
    }

    fn has_private_tasks(&self) -> bool {
        self.own.private.load(Ordering::Relaxed) > 0
    }

    /// Takes over private tasks, in the order in which others should run them. Called by any thread
    /// except the owner. Costs a system call if there seem to be any tasks.
    pub(crate) fn take_over(&self, what: TakeOver) -> Vec<TaskRef> {
        if !self.has_private_tasks() {
            return Vec::new();
        }
        let taken = self.private.try_with(|private| {
            let lifo_slot = private.lifo_slot.take();
            let Private { forks, front, ready, .. } = private;
            let (some_forks, some_front, some_ready) = match what {
                TakeOver::All => (forks.len(), front.len(), ready.len()),
                TakeOver::Some if lifo_slot.is_some() => (0, 0, 0),
                TakeOver::Some if !forks.is_empty() => (1, 0, 0),
                TakeOver::Some => (0, front.len().div_ceil(2), ready.len().div_ceil(2)),
            };
            private.taken_over |= some_forks > 0;
            if lifo_slot.is_some() {
                self.own.set_wakes_beside(true);
            }
            let forks = lifo_slot.into_iter().chain(forks.drain(..some_forks));
            let ready = front.drain(..some_front).chain(ready.drain(..some_ready));
            let taken = forks.chain(ready).collect();
            self.own.private.store(private.len(), Ordering::Relaxed);
            taken
        });
        taken.unwrap_or_default()
    }

    /// Takes over the oldest deferred job. `start` makes a task of it at once. Called by any
    /// thread except the owner. Costs as much as [`Remote::take_over`].
    pub(crate) fn take_over_job(
        &self,
        start: impl FnOnce(StackJobRef) -> TaskRef,
    ) -> Option<TaskRef> {
        let taken = self.jobs.try_with(|jobs| {
            let job = jobs.list.pop_front()?;
            jobs.taken_over = true;
            self.own.jobs.store(jobs.list.len(), Ordering::Relaxed);
            Some(start(job))
        });
        taken.flatten()
    }

    /// Returns `true` if the worker with the number `index` ends after a long sleep: it is a spare
    /// beyond the first `workers`, and no task is pinned to it.
    pub(crate) fn is_spare(&self, index: usize, workers: u32) -> bool {
        index >= workers as usize && self.pinned.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn post(&self, task: TaskRef) {
        let mut tasks = lock(&self.inbox.tasks);
        tasks.push_back(task);
        self.inbox.len.store(tasks.len(), Ordering::Relaxed);
        drop(tasks);
        fence(Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn has_post(&self) -> bool {
        self.inbox.len.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn take_post(&self) -> VecDeque<TaskRef> {
        let mut tasks = lock(&self.inbox.tasks);
        self.inbox.len.store(0, Ordering::Relaxed);
        std::mem::take(&mut tasks)
    }
}
