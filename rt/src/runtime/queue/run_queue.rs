//! A worker's queues, as their owner sees them.
//!
//! There are two kinds of runnable tasks, and two places for each:
//!
//! |               | order                          | private           | published               |
//! |---|---|---|---|
//! | continuations | owner LIFO, others the oldest  | `Private::forks`  | `forks`, a deque      |
//! | ready tasks   | FIFO                           | `Private::ready`  | `ready`, a deque      |
//!
//! What is published any worker may take, at the price of a fence and an atomic operation each time the owner
//! takes it back. So tasks are private at first, in plain queues, and the owner publishes the oldest of them
//! when it sees that there are *idle workers*: one searches, or fewer run than may. With every worker
//! busy nobody pays for stealing. (Lazy publication: Acar, Charguéraud and Rainey, "Scheduling parallel programs
//! by work stealing with private deques".)
//!
//! Invariant: everything published is older than everything private of its kind, but for the few ready tasks that
//! the owner has taken from a *burst*, its own or an injected one: those in front, which are older. Of a burst, each
//! task's stack is likely to be in no cache, or in another processor's, and the processor is told of them some switches ahead.
//!
//! Private, too, is the *LIFO slot*: the task that was woken last, which runs next, before all others. (Unless the one that
//! woke it is likely to go on for long: see `policy/wake_beside.rs`.)
//!
//! Whether ready tasks are worth it that others take them is found out by trial: see `policy/sharing.rs`.
//!
//! An owner that is stuck in a task publishes nothing. Then others *take over* what is private
//! ([`Remote::take_over`]): an idle worker that has seen the owner not move for some ten microseconds, or the
//! sysmon. What is private is no work in the sense of the sleep protocol; see §6 of
//! `README.md`.
//!
//! A *lone* continuation, the parent whose child runs, is a case of its own: if the child is short, whoever
//! steals the parent does more harm than good, and waking somebody for it even more. Each worker finds out by
//! trial: after a theft that was not worth it, or an offer that nobody took in time, it skips twice as many
//! lone continuations as before, up to some thousands, before it offers one again.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_deque::Worker as Deque;

use crate::runtime::queue::private::{DeferredJobs, Private};
use crate::runtime::remote::Remote;
use crate::task::header::TaskRef;
use crate::task::stack_job::StackJobRef;

/// Uses of the LIFO slot in a row, after which whatever else is runnable goes first.
const MAX_LIFO_POLLS: u32 = 16;

/// A child that runs for less than this is not worth that its parent is stolen.
pub(crate) const WORTH_A_THEFT: Duration = Duration::from_micros(5);

/// log2 of the most lone continuations that are skipped.
const MOST_FAILURES: u32 = 14;

/// With more ready tasks than this, all switches but one of so many are theirs, before continuations if there are any, the
/// newest first. A tree whose leaves park, and are woken to end, would otherwise keep all their stacks until its last leaf
/// was started; and it wakes nine while it starts ten.
const MANY: usize = 128;

const MANYS_TURNS: u32 = 16;

/// So many ready tasks are a burst: their stacks' hot lines are more than a second-level cache holds.
const BURST: usize = 512;

/// How many switches ahead a task of a burst is prefetched. Must be less.
const AHEAD: usize = 16;

#[derive(Debug)]
pub(crate) struct RunQueue {
    remote: Arc<Remote>,
    forks: Deque<TaskRef>,
    ready: Deque<TaskRef>,
    /// Uses of the LIFO slot in a row.
    lifo_polls: Cell<u32>,
    /// Something is published, or was and has been stolen.
    published: Cell<bool>,
    /// Counts switches with many ready tasks.
    turn: Cell<u32>,
    /// Lone continuations to keep before one is offered again.
    skips: Cell<u32>,
    /// Offers of lone continuations in a row that were not worth it.
    failures: Cell<u32>,
    /// When the lone continuation that is published now was.
    published_at: Cell<Option<Instant>>,
    /// DeferredJobs that the running task has deferred and not taken back.
    deferred: Cell<u32>,
    /// The continuation published last is such a deferred job, made a task, of a frame that runs its first half still.
    is_job: Cell<bool>,
}

impl RunQueue {
    pub(crate) fn new() -> (Self, Arc<Remote>) {
        let (forks, ready) = (Deque::new_lifo(), Deque::new_fifo());
        let remote = Arc::new(Remote::new(forks.stealer(), ready.stealer()));
        let (lifo_polls, published, turn, skips, failures, published_at, deferred, is_job) =
            Default::default();
        (
            Self {
                remote: Arc::clone(&remote),
                forks,
                ready,
                lifo_polls,
                published,
                turn,
                skips,
                failures,
                published_at,
                deferred,
                is_job,
            },
            remote,
        )
    }

    #[inline(always)]
    fn private<R>(&self, f: impl FnOnce(&mut Private) -> R) -> R {
        // SAFETY: `RunQueue` are with one worker at a time, which is the owner; what is called here does not
        // come back, and panics at most for want of memory, which ends the process.
        unsafe { self.remote.with_private(f) }
    }

    // ---- continuations ------------------------------------------------------------------------

    #[inline]
    pub(crate) fn push_fork(&self, task: TaskRef) {
        self.private(|private| private.forks.push_back(task));
    }

    /// The task that was woken last, up to so many times in a row; else the newest continuation.
    // Always, because with more than one caller it would not be in the one that is hot.
    #[inline(always)]
    pub(crate) fn pop_newest(&self) -> Option<TaskRef> {
        let newest = self.private(|private| {
            if let Some(task) = private.lifo_slot.take() {
                let uses = self.lifo_polls.get();
                if uses < MAX_LIFO_POLLS {
                    self.lifo_polls.set(uses + 1);
                    return Some(task);
                }
                private.ready.push_back(task);
            }
            self.lifo_polls.set(0);
            if private.ready.len() > MANY && !private.forks.is_empty() && self.goes_first() {
                return private.ready.pop_back();
            }
            private.forks.pop_back()
        });
        if newest.is_some() || !self.published.get() { newest } else { self.pop_published_fork() }
    }

    /// Whether the newest ready task, of many, goes before the newest continuation this time.
    fn goes_first(&self) -> bool {
        let turn = (self.turn.get() + 1) % MANYS_TURNS;
        self.turn.set(turn);
        turn != 0
    }

    /// The newest continuation, if it is what [`RunQueue::pop_newest`] would give.
    #[inline]
    pub(crate) fn pop_fork(&self) -> Option<TaskRef> {
        let (newest, lifo_slot) = self.private(|private| match private.lifo_slot {
            None => (private.forks.pop_back(), false),
            Some(_) => (None, true),
        });
        if newest.is_some() || lifo_slot || !self.published.get() {
            return newest;
        }
        self.pop_published_fork()
    }

    #[cold]
    fn pop_published_fork(&self) -> Option<TaskRef> {
        let task = self.forks.pop();
        if let Some(published_at) = self.published_at.take() {
            self.judge(task.is_none() && published_at.elapsed() >= WORTH_A_THEFT);
        }
        task
    }

    fn judge(&self, was_worth_it: bool) {
        let failures = if was_worth_it { 0 } else { MOST_FAILURES.min(self.failures.get() + 1) };
        self.failures.set(failures);
        self.skips.set((1 << failures) - 1);
    }

    /// Publishes the oldest private continuation, because there are idle workers. True if there is one to take
    /// now. Called after a push.
    #[cold]
    pub(crate) fn publish_fork(&self) -> bool {
        if !self.forks.is_empty() {
            return true;
        }
        let (oldest, lone, taken_over) = self.private(|private| {
            let lone = private.forks.len() == 1;
            let taken_over = std::mem::take(&mut private.taken_over);
            let keep = lone && self.skips.get() > 0 && !taken_over;
            (if keep { None } else { private.forks.pop_front() }, lone, taken_over)
        });
        if taken_over {
            self.judge(true);
        }
        match oldest {
            Some(task) => {
                self.push_published_fork(task, lone);
                true
            }
            None => {
                self.skips.set(self.skips.get().saturating_sub(1));
                false
            }
        }
    }

    fn push_published_fork(&self, task: TaskRef, lone: bool) {
        self.published_at.set(lone.then(Instant::now));
        self.published.set(true);
        self.is_job.set(false);
        self.forks.push(task);
    }

    // ---- deferred jobs, see `worker/fork_join.rs` -----------------------------------------------------------------

    #[inline]
    pub(crate) fn push_job(&self, job: StackJobRef) {
        self.deferred.set(self.deferred.get() + 1);
        self.jobs(|jobs| jobs.list.push_back(job));
    }

    /// The deferred job that the running task has deferred last, if it is here still.
    #[inline]
    pub(crate) fn pop_job(&self) -> Option<StackJobRef> {
        let left = self.deferred.get().checked_sub(1)?;
        self.deferred.set(left);
        self.jobs(|jobs| jobs.list.pop_back())
    }

    /// Takes one to make a task of it.
    pub(crate) fn pop_oldest_job(&self) -> Option<StackJobRef> {
        self.jobs(|jobs| jobs.list.pop_front())
    }

    #[inline]
    pub(crate) fn has_deferred(&self) -> bool {
        self.deferred.get() > 0
    }

    /// None is here any more.
    pub(crate) fn forget_deferred(&self) {
        self.deferred.set(0);
        self.is_job.set(false);
    }

    /// A frame wants a deferred job that was made a task: that is one more task that waits for its turn.
    pub(crate) fn want_started(&self) {
        self.is_job.set(false);
    }

    /// Whether to offer the oldest deferred job: not a lone one, if such were too short of late.
    pub(crate) fn is_job_worth_it(&self) -> bool {
        let (lone, taken_over) =
            self.jobs(|jobs| (jobs.list.len() == 1, std::mem::take(&mut jobs.taken_over)));
        if taken_over {
            self.judge(true);
        }
        let skips = self.skips.get();
        if lone {
            self.skips.set(skips.saturating_sub(1));
        }
        !lone || skips == 0
    }

    /// Publishes the task that a deferred job has become, while there are no continuations.
    pub(crate) fn publish_started(&self, task: TaskRef) {
        self.push_published_fork(task, self.jobs(|jobs| jobs.list.is_empty()));
        self.is_job.set(true);
    }

    #[inline(always)]
    fn jobs<R>(&self, f: impl FnOnce(&mut DeferredJobs) -> R) -> R {
        // SAFETY: as for `private`.
        unsafe { self.remote.with_jobs(f) }
    }

    // ---- ready tasks --------------------------------------------------------------------------

    /// Puts a woken task where it runs next. Gives back the one that was there.
    #[inline]
    pub(crate) fn push_lifo(&self, task: TaskRef) -> Option<TaskRef> {
        self.private(|private| private.lifo_slot.replace(task))
    }

    /// True if no other task is ready.
    #[inline]
    pub(crate) fn push_ready(&self, task: TaskRef) -> bool {
        let alone = self.private(|private| {
            let alone = private.ready.is_empty() && private.front.is_empty();
            private.ready.push_back(task);
            alone
        });
        alone && self.ready.is_empty()
    }

    #[inline]
    pub(crate) fn pop_ready(&self) -> Option<TaskRef> {
        let oldest = if self.published.get() { self.pop_published_ready() } else { None };
        oldest.or_else(|| {
            self.private(|private| {
                if private.ready.len() >= BURST {
                    private.ready[AHEAD].prefetch();
                }
                private.ready.pop_front()
            })
        })
    }

    #[cold]
    fn pop_published_ready(&self) -> Option<TaskRef> {
        let task = self.pop_of_burst().or_else(|| self.ready.pop());
        if task.is_none() {
            self.published.set(!self.forks.is_empty() || self.published_at.get().is_some());
        }
        task
    }

    /// The oldest of all, if there are many or were.
    fn pop_of_burst(&self) -> Option<TaskRef> {
        let lack = if self.ready.len() >= BURST { AHEAD } else { 0 };
        self.private(|private| {
            let lack = lack.saturating_sub(private.front.len());
            let more = std::iter::from_fn(|| self.ready.pop()).take(lack);
            private.front.extend(more.inspect(|task| task.prefetch()));
            private.front.pop_front()
        })
    }

    /// Takes over tasks of a burst that come from elsewhere, as long as there are some, to be run next. Nothing else is
    /// ready here.
    pub(crate) fn take_ahead(&self, next: impl Fn() -> Option<TaskRef>) {
        self.published.set(true);
        for task in std::iter::from_fn(next).take(AHEAD) {
            task.prefetch();
            self.private(|private| private.front.push_back(task));
        }
    }

    /// If nothing is runnable here but ready tasks, and nothing is published: puts `task` behind them, and gives
    /// the first of them all. Else gives `task` back.
    #[inline]
    pub(crate) fn rotate(&self, task: TaskRef) -> Result<TaskRef, TaskRef> {
        if self.published.get() {
            return Err(task);
        }
        self.private(|private| {
            if private.lifo_slot.is_some() || !private.forks.is_empty() {
                return Err(task);
            }
            let Some(first) = private.ready.pop_front() else { return Ok(task) };
            private.ready.push_back(task);
            Ok(first)
        })
    }

    /// Publishes the ready tasks, because there are idle workers. True if there are some to take now.
    #[cold]
    pub(crate) fn publish_ready(&self) -> bool {
        self.published.set(true);
        self.private(|private| {
            // Behind others that may be taken now the few in front would lose their turn.
            let front = if self.ready.is_empty() { private.front.len() } else { 0 };
            let tasks = private.front.drain(..front).chain(private.ready.drain(..));
            tasks.for_each(|task| self.ready.push(task));
        });
        !self.ready.is_empty()
    }

    /// Where a thief puts what it takes beyond the one task that it runs.
    pub(crate) fn loot(&self) -> &Deque<TaskRef> {
        self.published.set(true);
        &self.ready
    }

    // ---- all ----------------------------------------------------------------------------------

    /// The oldest continuation.
    pub(crate) fn oldest_fork(&self) -> Option<TaskRef> {
        let published = self.remote.forks.steal().success();
        published.or_else(|| self.private(|private| private.forks.pop_front()))
    }

    /// Whether any task is here but one deferred job, which the running task will take back if nobody else does.
    pub(crate) fn has_others(&self) -> bool {
        self.forks.len() > usize::from(self.is_job.get())
            || !self.ready.is_empty()
            || self.private(|private| private.len() > 0)
    }

    /// How many continuations wait.
    pub(crate) fn forks(&self) -> usize {
        self.forks.len() + self.private(|private| private.forks.len())
    }

    /// Publishes everything, because the owner will not come here soon.
    #[cold]
    pub(crate) fn publish_all(&self) {
        self.published.set(true);
        self.is_job.set(false);
        self.private(|private| {
            private.forks.drain(..).for_each(|task| self.forks.push(task));
            let ready = private.front.drain(..).chain(private.ready.drain(..));
            let ready = ready.chain(private.lifo_slot.take());
            ready.for_each(|task| self.ready.push(task));
        });
    }

    /// Empties the queues.
    #[cold]
    pub(crate) fn take_all(&self) -> Vec<TaskRef> {
        let newest = std::iter::from_fn(|| self.pop_newest());
        newest.chain(std::iter::from_fn(|| self.pop_ready())).collect()
    }
}
