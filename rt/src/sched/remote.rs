//! What of a worker the other threads see.

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_deque::Stealer;
use crossbeam_utils::CachePadded;

use super::biased::Biased;
use super::counters::Counters;
use super::driver::Timers;
use super::parker::Parker;
use super::status::Status;
use crate::prim::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Mutex, Ordering, fence, lock};
use crate::task::half::HalfRef;
use crate::task::{Task, TaskRef};

/// The shared side of one worker.
#[derive(Debug)]
pub(super) struct Remote {
    /// Exposed continuations: thieves take the oldest.
    pub(super) forks: Stealer<TaskRef>,
    /// Exposed woken and yielded tasks.
    pub(super) ready: Stealer<TaskRef>,
    private: CachePadded<Biased<Private>>,
    halves: CachePadded<Biased<Halves>>,
    pub(super) parker: Parker,
    /// Written by the worker at every pick.
    pub(super) own: CachePadded<Own>,
    /// Timers of the tasks that began to wait here.
    pub(super) timers: CachePadded<Timers>,
    inbox: Inbox,
    /// Tasks that are pinned here and not finished: while there are any, the OS thread may not end.
    pub(super) pinned: AtomicUsize,
}

/// Tasks that the owner keeps for itself as long as nobody is hungry; see `queues`.
#[derive(Debug)]
pub(super) struct Private {
    /// The task just woken, to run next.
    pub(super) handoff: Option<TaskRef>,
    pub(super) forks: VecDeque<TaskRef>,
    pub(super) ready: VecDeque<TaskRef>,
    /// Ready tasks that the owner has taken back from a crowd of exposed ones: older than all others.
    pub(super) front: VecDeque<TaskRef>,
    /// Some were taken out by another: the owner was stuck.
    pub(super) rescued: bool,
}

impl Private {
    /// How many tasks there are.
    pub(super) fn len(&self) -> usize {
        usize::from(self.handoff.is_some()) + self.forks.len() + self.front.len() + self.ready.len()
    }
}

/// What the running task has deferred; see `halves`.
#[derive(Debug)]
pub(super) struct Halves {
    /// The oldest first.
    pub(super) list: VecDeque<HalfRef>,
    /// As in [`Private`].
    pub(super) rescued: bool,
}

/// What another thread takes out of a stuck worker's private queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rescue {
    /// The hand-off, else the oldest continuation, else half of the ready tasks.
    Some,
    All,
}

/// Written often by the owner, read now and then by the monitor.
#[derive(Debug)]
pub(super) struct Own {
    /// Among others it counts picks; the monitor sees by that whether the worker moves on.
    pub(super) counters: Counters,
    /// How many tasks are private: a hint.
    private: AtomicUsize,
    /// How many halves are: as well.
    halves: AtomicUsize,
    /// What the worker is doing. The owner and the monitor change it.
    pub(super) status: Status,
    /// Who wakes another here goes on for long; see `beside`. A hint, of the owner and of those who rescue.
    beside: AtomicBool,
    /// It lets others take what is ready, to see whether that is worth it; see `share`. A hint, of the owner and of thieves.
    on_trial: AtomicBool,
    /// The processor time that the OS thread had used when the worker was covered; see `hogs`.
    used_at_cover: AtomicU64,
    /// The task that runs now. Written by the owner; dumps rely on when (`world`).
    current: AtomicPtr<Task>,
}

/// Pinned tasks made runnable by other threads.
#[derive(Debug)]
struct Inbox {
    len: AtomicUsize,
    tasks: Mutex<VecDeque<TaskRef>>,
}

impl Own {
    /// Before the worker is covered, with the processor time that its OS thread has used.
    pub(super) fn begin_cover(&self, used: Duration) {
        let nanos = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        self.used_at_cover.store(nanos, Ordering::Relaxed);
    }

    /// How much it has used since, for one that is covered.
    pub(super) fn used_since_cover(&self, used: Duration) -> Duration {
        used.saturating_sub(Duration::from_nanos(self.used_at_cover.load(Ordering::Relaxed)))
    }

    #[inline]
    pub(super) fn wakes_beside(&self) -> bool {
        self.beside.load(Ordering::Relaxed)
    }

    pub(super) fn set_wakes_beside(&self, beside: bool) {
        self.beside.store(beside, Ordering::Relaxed);
    }

    pub(super) fn is_on_trial(&self) -> bool {
        self.on_trial.load(Ordering::Relaxed)
    }

    pub(super) fn set_on_trial(&self, on_trial: bool) {
        self.on_trial.store(on_trial, Ordering::Relaxed);
    }
}

impl Remote {
    pub(super) fn new(forks: Stealer<TaskRef>, ready: Stealer<TaskRef>) -> Self {
        let private = Private {
            handoff: None,
            forks: VecDeque::with_capacity(64),
            ready: VecDeque::with_capacity(64),
            front: VecDeque::new(),
            rescued: false,
        };
        let halves = Halves { list: VecDeque::with_capacity(64), rescued: false };
        Self {
            forks,
            ready,
            private: CachePadded::new(Biased::new(private)),
            halves: CachePadded::new(Biased::new(halves)),
            parker: Parker::new(),
            own: CachePadded::new(Own {
                counters: Counters::default(),
                private: AtomicUsize::new(0),
                halves: AtomicUsize::new(0),
                status: Status::new(),
                beside: AtomicBool::new(true),
                on_trial: AtomicBool::new(false),
                used_at_cover: AtomicU64::new(0),
                current: AtomicPtr::new(std::ptr::null_mut()),
            }),
            timers: CachePadded::new(Timers::new()),
            inbox: Inbox { len: AtomicUsize::new(0), tasks: Mutex::new(VecDeque::new()) },
            pinned: AtomicUsize::new(0),
        }
    }

    /// The task that runs now, for as long as it does. Any thread but the owner must know that it does.
    pub(super) fn current(&self) -> Option<TaskRef> {
        let task = std::ptr::NonNull::new(self.own.current.load(Ordering::Acquire))?;
        // SAFETY: the owner runs it; as the comment says.
        Some(unsafe { TaskRef::from_raw(task) })
    }

    /// Owner only.
    #[inline]
    pub(super) fn set_current(&self, task: Option<TaskRef>) {
        let task = task.map_or(std::ptr::null_mut(), TaskRef::as_ptr);
        // Release: whoever reads that this task runs sees what the worker did before.
        self.own.current.store(task, Ordering::Release);
    }

    /// Whether there is work here that any worker could take.
    pub(super) fn has_stealable(&self) -> bool {
        !self.forks.is_empty() || !self.ready.is_empty()
    }

    /// Calls `f` with the private queues.
    ///
    /// # Safety
    ///
    /// As the owner, and `f` neither comes here again nor panics.
    #[inline(always)]
    pub(super) unsafe fn with_private<R>(&self, f: impl FnOnce(&mut Private) -> R) -> R {
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
    pub(super) unsafe fn with_halves<R>(&self, f: impl FnOnce(&mut Halves) -> R) -> R {
        let counted = |halves: &mut Halves| {
            let result = f(halves);
            self.own.halves.store(halves.list.len(), Ordering::Relaxed);
            result
        };
        // SAFETY: the caller's.
        unsafe { self.halves.with(counted) }
    }

    /// Changes as the worker moves on: with its picks, and when it has woken many or deferred something.
    pub(super) fn moves(&self) -> u64 {
        self.own.counters.picks.get() + self.own.counters.turns.get()
    }

    /// Whether tasks seem to be private here, or halves.
    pub(super) fn has_private(&self) -> bool {
        self.has_private_tasks() || self.has_halves()
    }

    pub(super) fn has_halves(&self) -> bool {
        self.own.halves.load(Ordering::Relaxed) > 0
    }

    fn has_private_tasks(&self) -> bool {
        self.own.private.load(Ordering::Relaxed) > 0
    }

    /// Takes private tasks out, in the order in which they were to run elsewhere. By any thread but the
    /// owner; costs a system call if there seem to be any.
    pub(super) fn rescue(&self, what: Rescue) -> Vec<TaskRef> {
        if !self.has_private_tasks() {
            return Vec::new();
        }
        let taken = self.private.try_with(|private| {
            let handoff = private.handoff.take();
            let Private { forks, front, ready, .. } = private;
            let (some_forks, some_front, some_ready) = match what {
                Rescue::All => (forks.len(), front.len(), ready.len()),
                Rescue::Some if handoff.is_some() => (0, 0, 0),
                Rescue::Some if !forks.is_empty() => (1, 0, 0),
                Rescue::Some => (0, front.len().div_ceil(2), ready.len().div_ceil(2)),
            };
            private.rescued |= some_forks > 0;
            if handoff.is_some() {
                self.own.set_wakes_beside(true);
            }
            let forks = handoff.into_iter().chain(forks.drain(..some_forks));
            let ready = front.drain(..some_front).chain(ready.drain(..some_ready));
            let taken = forks.chain(ready).collect();
            self.own.private.store(private.len(), Ordering::Relaxed);
            taken
        });
        taken.unwrap_or_default()
    }

    /// Takes the oldest half, of which `start` makes a task at once. By any thread but the owner; costs as much as
    /// [`Remote::rescue`].
    pub(super) fn rescue_half(&self, start: impl FnOnce(HalfRef) -> TaskRef) -> Option<TaskRef> {
        let taken = self.halves.try_with(|halves| {
            let half = halves.list.pop_front()?;
            halves.rescued = true;
            self.own.halves.store(halves.list.len(), Ordering::Relaxed);
            Some(start(half))
        });
        taken.flatten()
    }

    /// Whether the worker, which is number `index`, ends when it has slept for some time: it is there beyond the first
    /// `workers` to cover for others, and no task is pinned to it.
    pub(super) fn is_spare(&self, index: usize, workers: u32) -> bool {
        index >= workers as usize && self.pinned.load(Ordering::Relaxed) == 0
    }

    pub(super) fn post(&self, task: TaskRef) {
        let mut tasks = lock(&self.inbox.tasks);
        tasks.push_back(task);
        self.inbox.len.store(tasks.len(), Ordering::Relaxed);
        drop(tasks);
        fence(Ordering::SeqCst);
    }

    #[inline]
    pub(super) fn has_post(&self) -> bool {
        self.inbox.len.load(Ordering::Relaxed) > 0
    }

    pub(super) fn take_post(&self) -> VecDeque<TaskRef> {
        let mut tasks = lock(&self.inbox.tasks);
        self.inbox.len.store(0, Ordering::Relaxed);
        std::mem::take(&mut tasks)
    }
}
