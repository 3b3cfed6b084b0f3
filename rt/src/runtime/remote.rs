//! What of a worker the other threads see.

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
    /// Exposed continuations: thieves take the oldest.
    pub(crate) forks: Stealer<TaskRef>,
    /// Exposed woken and yielded tasks.
    pub(crate) ready: Stealer<TaskRef>,
    private: CachePadded<Biased<Private>>,
    jobs: CachePadded<Biased<DeferredJobs>>,
    pub(crate) parker: Parker,
    /// Written by the worker at every switch.
    pub(crate) own: CachePadded<Published>,
    /// Timers of the tasks that began to wait here.
    pub(crate) timers: CachePadded<Timers>,
    inbox: Inbox,
    /// Tasks that are pinned here and not finished: while there are any, the OS thread may not end.
    pub(crate) pinned: AtomicUsize,
}

/// Written often by the owner, read now and then by sysmon.
#[derive(Debug)]
pub(crate) struct Published {
    /// Among others it counts switches; sysmon sees by that whether the worker moves on.
    pub(crate) counters: Counters,
    /// How many tasks are private: a hint.
    pub(crate) private: AtomicUsize,
    /// How many halves are: as well.
    pub(crate) jobs: AtomicUsize,
    /// What the worker is doing. The owner and sysmon change it.
    pub(crate) status: Status,
    /// Who wakes another here goes on for long; see `policy/wake_beside.rs`. A hint, of the owner and of those who take over.
    pub(crate) beside: AtomicBool,
    /// It lets others take what is ready, to see whether that is worth it; see `policy/sharing.rs`. A hint, of the owner and of thieves.
    pub(crate) on_trial: AtomicBool,
    /// The processor time that the OS thread had used when the worker was retaken; see `cpu_bound.rs`.
    pub(crate) used_at_retake: AtomicU64,
    /// The task that runs now. Written by the owner; dumps rely on when (`diagnostics/stop_world.rs`).
    pub(crate) current: AtomicPtr<Task>,
}

/// Pinned tasks made runnable by other threads.
#[derive(Debug)]
struct Inbox {
    len: AtomicUsize,
    tasks: Mutex<VecDeque<TaskRef>>,
}

impl Published {
    /// Before the worker is retaken, with the processor time that its OS thread has used.
    pub(crate) fn begin_retake(&self, used: Duration) {
        let nanos = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        self.used_at_retake.store(nanos, Ordering::Relaxed);
    }

    /// How much it has used since, for one that is retaken.
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

    /// The task that runs now, for as long as it does. Any thread but the owner must know that it does.
    pub(crate) fn current(&self) -> Option<TaskRef> {
        let task = std::ptr::NonNull::new(self.own.current.load(Ordering::Acquire))?;
        // SAFETY: the owner runs it; as the comment says.
        Some(unsafe { TaskRef::from_raw(task) })
    }

    /// Owner only.
    #[inline]
    pub(crate) fn set_current(&self, task: Option<TaskRef>) {
        let task = task.map_or(std::ptr::null_mut(), TaskRef::as_ptr);
        // Release: whoever reads that this task runs sees what the worker did before.
        self.own.current.store(task, Ordering::Release);
    }

    /// Whether there is work here that any worker could take.
    pub(crate) fn has_stealable(&self) -> bool {
        !self.forks.is_empty() || !self.ready.is_empty()
    }

    /// Calls `f` with the private queues.
    ///
    /// # Safety
    ///
    /// As the owner, and `f` neither comes here again nor panics.
    #[inline(always)]
    pub(crate) unsafe fn with_private<R>(&self, f: impl FnOnce(&mut Private) -> R) -> R {
        let counted = |private: &mut Private| {
            let result = f(private);
            self.own.private.store(private.len(), Ordering::Relaxed);
            result
        };
        // SAFETY: the caller's.
        unsafe { self.private.with(counted) }
    }

    /// Calls `f` with the halves.
    ///
    /// # Safety
    ///
    /// As for [`Remote::with_private`].
    #[inline(always)]
    pub(crate) unsafe fn with_jobs<R>(&self, f: impl FnOnce(&mut DeferredJobs) -> R) -> R {
        let counted = |jobs: &mut DeferredJobs| {
            let result = f(jobs);
            self.own.jobs.store(jobs.list.len(), Ordering::Relaxed);
            result
        };
        // SAFETY: the caller's.
        unsafe { self.jobs.with(counted) }
    }

    /// Changes as the worker moves on: with its switches, and when it has woken many or deferred something.
    pub(crate) fn moves(&self) -> u64 {
        self.own.counters.task_switches.get() + self.own.counters.turns.get()
    }

    /// Whether tasks seem to be private here, or halves.
    pub(crate) fn has_private(&self) -> bool {
        self.has_private_tasks() || self.has_jobs()
    }

    pub(crate) fn has_jobs(&self) -> bool {
        self.own.jobs.load(Ordering::Relaxed) > 0
    }

    fn has_private_tasks(&self) -> bool {
        self.own.private.load(Ordering::Relaxed) > 0
    }

    /// Takes private tasks out, in the order in which they were to run elsewhere. By any thread but the
    /// owner; costs a system call if there seem to be any.
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

    /// Takes the oldest deferred job, of which `start` makes a task at once. By any thread but the owner; costs as much as
    /// [`Remote::take_over`].
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

    /// Whether the worker, which is number `index`, ends when it has slept for some time: it is there beyond the first
    /// `workers` to retake others, and no task is pinned to it.
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
