//! A worker's queues, as their owner sees them.
//!
//! There are two kinds of runnable tasks, and two queues for each:
//!
//! |               | order                         | private          | published        |
//! |---------------|-------------------------------|------------------|------------------|
//! | continuations | owner LIFO, others the oldest | `Private::forks` | `forks`, a deque |
//! | ready tasks   | FIFO                          | `Private::ready` | `ready`, a deque |
//!
//! Any worker may take published tasks. The price is a fence and an atomic operation each time that
//! the owner takes one back. So tasks are private at first, in plain queues, and the owner
//! publishes the oldest of them when it sees *idle workers*: one searches, or fewer run than may.
//! While every worker is busy, none pays for stealing. (On private deques see Acar, Charguéraud and
//! Rainey, "Scheduling parallel programs by work stealing with private deques".)
//!
//! Invariant: all published tasks of a kind are older than the private ones. The exception is a few
//! ready tasks that the owner has taken from a *burst*, its own or an injected one: they are in
//! `Private::front`, and older than all others. The stack of each task of a burst is likely to be
//! in no cache, or in another processor's, so the owner prefetches it some switches ahead.
//!
//! The *LIFO slot* is private, too. The task in it was woken last, and runs next, before all
//! others. (A woken task does not go there if its waker is likely to go on for long: see
//! `policy/wake_beside.rs`.)
//!
//! Trials decide whether ready tasks are worth publishing: see `policy/sharing.rs`.
//!
//! An owner that is stuck in a task publishes nothing. Then other threads *take over* private tasks
//! ([`Remote::take_over`]): an idle worker that has not seen the owner move on for about 10 µs, or
//! sysmon. Private tasks are not work in the sense of the sleep protocol; see `README.md` §6.
//!
//! A *lone* continuation, the parent whose child runs, is a special case. If the child is short,
//! stealing the parent does more harm than good, and waking a worker for it even more. Each worker
//! decides by trial: after a theft that was not worth it, or an offer that no worker took in time,
//! it skips twice as many lone continuations as before, up to some thousands, before it offers one
//! again.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_deque::Worker as Deque;

use crate::runtime::queue::private::{DeferredJobs, Private};
use crate::runtime::remote::Remote;
use crate::task::header::TaskRef;
use crate::task::stack_job::StackJobRef;

/// The most uses of the LIFO slot in a row. Then other runnable tasks go first.
const MAX_LIFO_POLLS: u32 = 16;

/// If a child runs for less than this, stealing its parent is not worth it.
pub(crate) const WORTH_A_THEFT: Duration = Duration::from_micros(5);

/// log2 of the most lone continuations that are skipped in a row.
const MOST_FAILURES: u32 = 14;

/// If more ready tasks than this wait, they go before continuations, the newest first, except at
/// one of [`MANYS_TURNS`] switches. Otherwise a tree of threads whose leaves park, and are woken to
/// end, would keep the stacks of all leaves until it has started the last one. Such a tree wakes
/// nine while it starts ten.
const MANY: usize = 128;

const MANYS_TURNS: u32 = 16;

/// This many ready tasks are a burst: the hot lines of their stacks exceed a second-level cache.
const BURST: usize = 512;

/// How many switches ahead a task of a burst is prefetched. Less than [`BURST`].
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
    /// Counts the switches with many ready tasks.
    turn: Cell<u32>,
    /// The number of lone continuations to skip before one is offered again.
    skips: Cell<u32>,
    /// The number of offers of lone continuations in a row that were not worth it.
    failures: Cell<u32>,
    /// When the lone continuation that is published now was published.
    published_at: Cell<Option<Instant>>,
    /// The number of jobs that the running task has deferred and not taken back.
    deferred: Cell<u32>,
    /// The continuation published last is the task that a deferred job has become, and the job's
    /// frame still runs its first closure.
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
        // SAFETY: one worker at a time has the `RunQueue`, and is the owner. The closures in this
        // file do not call this function again. They panic at most if memory runs out, which ends
        // the process.
        unsafe { self.remote.with_private(f) }
    }

    // ---- continuations ------------------------------------------------------------------------

    #[inline]
    pub(crate) fn push_fork(&self, task: TaskRef) {
        self.private(|private| private.forks.push_back(task));
    }

    /// Takes the task in the LIFO slot, up to [`MAX_LIFO_POLLS`] times in a row; or else the newest
    /// continuation, or the newest of [many](MANY) ready tasks.
    // Always inlined: with several callers, the compiler would not inline it into the hot one.
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

    /// Returns `true` if the newest of many ready tasks goes before the newest continuation this
    /// time.
    fn goes_first(&self) -> bool {
        let turn = (self.turn.get() + 1) % MANYS_TURNS;
        self.turn.set(turn);
        turn != 0
    }

    /// Takes the newest continuation, unless there is a task in the LIFO slot.
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

    /// Publishes the oldest private continuation, because there are idle workers, unless it is a
    /// lone one to skip. Returns `true` if a continuation is published now.
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

    // ---- deferred jobs, see `worker/fork_join.rs` ----------------------------------------------

    #[inline]
    pub(crate) fn push_job(&self, job: StackJobRef) {
        self.deferred.set(self.deferred.get() + 1);
        self.jobs(|jobs| jobs.list.push_back(job));
    }

    /// Takes back the job that the running task has deferred last, if it is still here.
    #[inline]
    pub(crate) fn pop_job(&self) -> Option<StackJobRef> {
        let left = self.deferred.get().checked_sub(1)?;
        self.deferred.set(left);
        self.jobs(|jobs| jobs.list.pop_back())
    }

    /// Takes the oldest job, to make a task of it.
    pub(crate) fn pop_oldest_job(&self) -> Option<StackJobRef> {
        self.jobs(|jobs| jobs.list.pop_front())
    }

    #[inline]
    pub(crate) fn has_deferred(&self) -> bool {
        self.deferred.get() > 0
    }

    /// Notes that none of the jobs is here any more.
    pub(crate) fn forget_deferred(&self) {
        self.deferred.set(0);
        self.is_job.set(false);
    }

    /// Notes that a frame waits for a job that has become a task. From now on the task counts as
    /// one that waits for its turn ([`RunQueue::has_others`]).
    pub(crate) fn want_started(&self) {
        self.is_job.set(false);
    }

    /// Returns `true` if the oldest deferred job should be offered. A lone job is skipped if the
    /// last ones were too short.
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

    /// Publishes the task that a deferred job has become. Called while there are no continuations.
    pub(crate) fn publish_started(&self, task: TaskRef) {
        self.push_published_fork(task, self.jobs(|jobs| jobs.list.is_empty()));
        self.is_job.set(true);
    }

    #[inline(always)]
    fn jobs<R>(&self, f: impl FnOnce(&mut DeferredJobs) -> R) -> R {
        // SAFETY: one worker at a time has the `RunQueue`, and is the owner. The closures in this
        // file do not call this function again, and panic at most if memory runs out.
        unsafe { self.remote.with_jobs(f) }
    }

    // ---- ready tasks --------------------------------------------------------------------------

    /// Puts a woken task into the LIFO slot. Returns the task that was there.
    #[inline]
    pub(crate) fn push_lifo(&self, task: TaskRef) -> Option<TaskRef> {
        self.private(|private| private.lifo_slot.replace(task))
    }

    /// Queues a ready task. Returns `true` if no other task is ready.
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

    /// Takes the oldest ready task, if the published ones are a burst or were one.
    fn pop_of_burst(&self) -> Option<TaskRef> {
        let lack = if self.ready.len() >= BURST { AHEAD } else { 0 };
        self.private(|private| {
            let lack = lack.saturating_sub(private.front.len());
            let more = std::iter::from_fn(|| self.ready.pop()).take(lack);
            private.front.extend(more.inspect(|task| task.prefetch()));
            private.front.pop_front()
        })
    }

    /// Takes tasks of a burst from elsewhere, up to [`AHEAD`] of them, to run them next. Called
    /// when no other task is ready here.
    pub(crate) fn take_ahead(&self, next: impl Fn() -> Option<TaskRef>) {
        self.published.set(true);
        for task in std::iter::from_fn(next).take(AHEAD) {
            task.prefetch();
            self.private(|private| private.front.push_back(task));
        }
    }

    /// Puts `task` behind the ready tasks and takes the first of them all, if nothing else is
    /// runnable here and nothing is published. Otherwise gives `task` back.
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

    /// Publishes the ready tasks, because there are idle workers. Returns `true` if any are
    /// published now.
    #[cold]
    pub(crate) fn publish_ready(&self) -> bool {
        self.published.set(true);
        self.private(|private| {
            // If others are published already, the few in front would lose their turn behind them.
            let front = if self.ready.is_empty() { private.front.len() } else { 0 };
            let tasks = private.front.drain(..front).chain(private.ready.drain(..));
            tasks.for_each(|task| self.ready.push(task));
        });
        !self.ready.is_empty()
    }

    /// Returns the deque for the tasks that a thief takes in addition to the one that it runs.
    pub(crate) fn loot(&self) -> &Deque<TaskRef> {
        self.published.set(true);
        &self.ready
    }

    // ---- all ----------------------------------------------------------------------------------

    /// Takes the oldest continuation.
    pub(crate) fn oldest_fork(&self) -> Option<TaskRef> {
        let published = self.remote.forks.steal().success();
        published.or_else(|| self.private(|private| private.forks.pop_front()))
    }

    /// Returns `true` if any task is here, except one that was a deferred job and for which no
    /// frame waits yet.
    pub(crate) fn has_others(&self) -> bool {
        self.forks.len() > usize::from(self.is_job.get())
            || !self.ready.is_empty()
            || self.private(|private| private.len() > 0)
    }

    /// Returns how many continuations wait.
    pub(crate) fn forks(&self) -> usize {
        self.forks.len() + self.private(|private| private.forks.len())
    }

    /// Publishes all tasks, because the owner will not come back to them soon.
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

    /// Empties the queues, and returns the tasks.
    #[cold]
    pub(crate) fn take_all(&self) -> Vec<TaskRef> {
        let newest = std::iter::from_fn(|| self.pop_newest());
        newest.chain(std::iter::from_fn(|| self.pop_ready())).collect()
    }
}
