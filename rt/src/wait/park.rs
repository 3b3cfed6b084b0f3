//! The only blocking primitive: every operation that blocks, of green and OS threads, blocks here.
//!
//! A wait is armed, registered where it may be ended, and then slept in:
//!
//! ```text
//!   let wait = Wait::arm(site);
//!   queue.push(wait.waiter());          // under the queue's lock
//!   match wait.park(reason, deadline, site) {
//!       TIMED_OUT => queue.remove(…),   // not claimed: withdraw
//!       op => …                         // claimed, and out of the queue
//!   }
//! ```
//!
//! A wait in one queue only is shorter ([`Wait::in_queue`]). The queue's lock is held throughout,
//! so a green thread needs no state for it (see `task/wait_state.rs`).
//!
//! ```text
//!   let guard = queue.lock();
//!   let (guard, wait) = Wait::in_queue(guard, deadline, site);
//!   guard.push(wait.waiter());
//!   match wait.park_unlocking(guard, reason, deadline, site) { … as above … }
//! ```
//!
//! A green thread whose runtime is dropped never returns from its wait (`runtime/worker/last_turns.rs`). If other
//! threads may stand behind it in a queue, it leaves the queue first, like a thread that has timed
//! out:
//!
//! ```text
//!   let mut op = wait.park_or_withdraw(reason, deadline, site);
//!   if op == TIMED_OUT {
//!       queue.remove(…);                // and wake the threads behind, if necessary
//!       op = wait.withdrawn();          // returns if the wait has really timed out
//!   }
//! ```
//!
//! A wait without a deadline may end with `TIMED_OUT` as well, if it was made
//! [interruptible](Wait::interruptible). That happens when all threads wait for ever and that is to
//! be a panic (`diagnostics/deadlock.rs`). The caller leaves the queue in the same way, and then calls
//! [`interrupted`].
//!
//! Inside [`no_switch`](crate::wait::no_switch) a green thread's wait panics when it is armed.
//! Nothing is registered by then, and a lock that passes through is released first.

use std::hint;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;

use crate::runtime::context;
use crate::runtime::handle::{self, insert_timer};
use crate::runtime::policy::random;
use crate::runtime::shared::Shared;
use crate::runtime::worker::Worker;
use crate::task::header::{Resumed, TaskRef, Waiter, Wake};
use crate::task::lock_owner::AwaitedLock;
use crate::task::os_thread::OsThread;
use crate::task::switch_request::SwitchRequest;
use crate::task::wait_info::{OsWait, Reason};
use crate::task::wait_note::Target;
use crate::task::wait_state::{Claim, TIMED_OUT, WaitState, WakeReason};
use crate::util::spin_lock;
use crate::wait::no_switch;

pub(crate) use crate::wait::no_switch::Violation;

/// An armed wait of the calling thread.
#[must_use = "an armed wait must be parked in or cancelled"]
pub(crate) struct Wait {
    who: Who,
    interruptible: bool,
    /// The caller has already checked for a moment whether it need not wait.
    looked: bool,
    /// A wait belongs to one thread.
    _not_send: PhantomData<*mut ()>,
}

enum Who {
    Green(TaskRef),
    /// A green thread in one queue only, without a deadline: not armed.
    Held(TaskRef),
    Os(Arc<OsThread>),
}

impl Who {
    /// Returns the calling thread, which waits at `site`: the green thread if it may suspend. A
    /// lock that it holds for its wait passes through, and is released if this panics.
    #[inline]
    fn current<G>(guard: G, site: &'static Location<'static>) -> (G, Self) {
        match green() {
            Some(task) => (guard, Self::Green(task)),
            None => Self::os(guard, site),
        }
    }

    #[cold]
    fn os<G>(guard: G, site: &'static Location<'static>) -> (G, Self) {
        if let Some(violation) = no_switch::violation(site) {
            drop(guard);
            violation.panic();
        }
        (guard, Self::Os(OsThread::current()))
    }

    fn cell(&self) -> &WaitState {
        match self {
            Self::Green(task) | Self::Held(task) => &task.wait,
            Self::Os(thread) => &thread.wait,
        }
    }
}

impl Wait {
    /// Announces a wait of the calling thread at `site`. Nothing can end it until its waiter is
    /// registered.
    pub(crate) fn arm(site: &'static Location<'static>) -> Self {
        Self::arm_under((), site).1
    }

    fn of(who: Who) -> Self {
        Self { who, interruptible: false, looked: false, _not_send: PhantomData }
    }

    /// Like [`Wait::arm`], for a thread that holds a lock.
    #[inline]
    pub(crate) fn arm_under<G>(guard: G, site: &'static Location<'static>) -> (G, Self) {
        let (guard, who) = Who::current(guard, site);
        who.cell().arm();
        (guard, Self::of(who))
    }

    /// Creates a wait of the calling thread in one queue, whose lock it holds until it sleeps in
    /// [`Wait::park_unlocking`]. It must not be cancelled.
    #[inline]
    pub(crate) fn in_queue<G>(
        guard: G,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> (G, Self) {
        let (guard, who) = Who::current(guard, site);
        let who = match who {
            Who::Green(task) if deadline.is_none() => Who::Held(task),
            who => {
                who.cell().arm();
                who
            }
        };
        (guard, Self::of(who))
    }

    /// Makes this a wait that may end with `TIMED_OUT` even though there is no deadline. Called
    /// before it is registered anywhere.
    #[inline]
    pub(crate) fn interruptible(mut self) -> Self {
        self.interruptible = true;
        if let Who::Held(task) = self.who {
            if Shared::of(&task).interrupts() {
                // Only an armed wait can be claimed without the lock of its queue.
                task.wait.arm();
                self.who = Who::Green(task);
            }
        }
        self
    }

    /// Makes this the wait of a thread that has already checked for a moment whether it need not
    /// wait, like [`Retry`]. An OS thread then goes to sleep without checking again.
    pub(crate) fn looked(mut self) -> Self {
        self.looked = true;
        self
    }

    /// Returns the waiter, for queues. Valid as long as `self`.
    pub(crate) fn waiter(&self) -> Waiter {
        match &self.who {
            Who::Green(task) => Waiter::Green(*task),
            Who::Held(task) => Waiter::Held(*task),
            Who::Os(thread) => Waiter::Os(NonNull::from(&**thread)),
        }
    }

    /// Records for dumps that the wait is for this thread to end. The wait's reason must be a join.
    pub(crate) fn note_join(&self, joined: TaskRef) {
        match &self.who {
            Who::Green(task) | Who::Held(task) => task.note_target(Target::Task(joined)),
            Who::Os(thread) => thread.note_joined(joined.id),
        }
    }

    /// Records that the wait is for this lock. The wait's reason must be a lock. Dumps read the
    /// record, which stays in its place until the wait is over; so does the worker.
    pub(crate) fn note_lock(&self, lock: &AwaitedLock) {
        if let Who::Green(task) | Who::Held(task) = &self.who {
            task.note_target(Target::Lock(NonNull::from(lock)));
            handle::note_lock_met();
        }
    }

    /// Withdraws the wait. Returns `None` if it was not claimed, otherwise the operation of the
    /// claim.
    pub(crate) fn cancel(&self) -> Option<WakeReason> {
        self.who.cell().cancel()
    }

    /// Ends a wait that no other thread can have claimed.
    pub(crate) fn disarm(&self) {
        if !matches!(self.who, Who::Held(_)) {
            let claimed = self.cancel();
            debug_assert_eq!(claimed, None, "claimed without having been registered");
        }
    }

    /// Sleeps until claimed, and returns the operation; returns `TIMED_OUT` after `deadline`. A
    /// green thread suspends, and may continue on another OS thread; an OS thread blocks. If the
    /// green thread's runtime is dropped this does not return.
    ///
    /// The waiter is valid as long as `self`: it must be out of every queue before `self` is
    /// dropped.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn park(
        &self,
        reason: Reason,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> WakeReason {
        self.park_with(reason, deadline, site, |task| stay(task))
    }

    /// Like [`Wait::park`], but returns `TIMED_OUT` also if the runtime is dropped. Then the caller
    /// leaves the queues, wakes the threads behind it if necessary, and calls [`Wait::withdrawn`].
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn park_or_withdraw(
        &self,
        reason: Reason,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> WakeReason {
        self.park_with(reason, deadline, site, withdraw)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn park_with(
        &self,
        reason: Reason,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
        end: impl FnOnce(TaskRef) -> WakeReason,
    ) -> WakeReason {
        match &self.who {
            Who::Green(task) => {
                let interruptible = self.interruptible && deadline.is_none();
                task.note_wait(reason, interruptible, Shared::of(task).coarse_now(), site);
                park_green(*task, deadline, end)
            }
            Who::Held(_) => unreachable!("parked with the lock held"),
            Who::Os(thread) => {
                let _blocking = Blocking::enter();
                // A panic during unwinding would abort the process.
                let interruptible = self.interruptible && !std::thread::panicking();
                // A thread that waits for a lock or for a buffer has checked before ([`Spin`],
                // [`Retry`]).
                let looks = !(reason.is_lock() || self.looked);
                thread.sleep(OsWait { reason, site, deadline, interruptible }, looks)
            }
        }
    }

    /// Releases the lock of the queue, and sleeps like [`Wait::park`]. Both happen in one step if
    /// the wait is [`in_queue`](Wait::in_queue).
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn park_unlocking(
        &self,
        guard: impl spin_lock::Guard,
        reason: Reason,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> WakeReason {
        self.park_unlocking_with(guard, reason, deadline, site, |task| stay(task))
    }

    /// Combines [`Wait::park_unlocking`] and [`Wait::park_or_withdraw`].
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn park_unlocking_or_withdraw(
        &self,
        guard: impl spin_lock::Guard,
        reason: Reason,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> WakeReason {
        self.park_unlocking_with(guard, reason, deadline, site, withdraw)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn park_unlocking_with(
        &self,
        guard: impl spin_lock::Guard,
        reason: Reason,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
        end: impl FnOnce(TaskRef) -> WakeReason,
    ) -> WakeReason {
        if let Who::Held(task) = &self.who {
            return park_holding(*task, guard, reason, site, end);
        }
        drop(guard);
        self.park_with(reason, deadline, site, end)
    }

    /// Ends a withdrawal, after [`park_or_withdraw`](Wait::park_or_withdraw) returned `TIMED_OUT`
    /// and the caller has left the queue, under its lock. Returns only if the runtime was not
    /// dropped, or if the thread was claimed before it left the queue. In the second case it
    /// returns the claim's operation, and the thread uses the result in the last turn that it gets.
    #[cold]
    pub(crate) fn withdrawn(&self) -> WakeReason {
        let (Who::Green(task) | Who::Held(task)) = self.who else { return TIMED_OUT };
        if !task.withdraws.get() {
            return TIMED_OUT;
        }
        if let (Who::Held(_), Some(op)) = (&self.who, task.wait.claimed_at_last()) {
            task.withdraws.set(false);
            // SAFETY: the task runs on this thread. The thread that has claimed it makes it
            // runnable.
            let resumed = unsafe { task.suspend_asleep(SwitchRequest::CLAIMED) };
            debug_assert_eq!(resumed, Resumed::Woken, "not asleep for others");
            return op;
        }
        stay(task)
    }
}

/// Returns the outcome of a wait from which the thread has to withdraw.
#[cold]
fn withdraw(task: TaskRef) -> WakeReason {
    task.withdraws.set(true);
    TIMED_OUT
}

/// Suspends for ever.
#[cold]
fn stay(task: TaskRef) -> ! {
    // For dumps, and so that no thread claims it.
    task.wait.hold_for_ever();
    loop {
        // SAFETY: the callers run on the task's stack.
        let _ = unsafe { task.suspend_asleep(SwitchRequest::OVER) };
    }
}

// Inlined, like everything between a blocking call and the switch. Otherwise each `ret` up to there
// is mispredicted after the switch, because the processor predicts returns from the most recent
// calls. (Not in debug builds, where each copy of a large value takes a separate place in the
// frame.)
#[cfg_attr(not(debug_assertions), inline(always))]
fn park_holding(
    task: TaskRef,
    guard: impl spin_lock::Guard,
    reason: Reason,
    site: &'static Location<'static>,
    end: impl FnOnce(TaskRef) -> WakeReason,
) -> WakeReason {
    task.note_wait(reason, false, Shared::of(&task).coarse_now(), site);
    task.wait.hold();
    // SAFETY: `Who::current` found this task running on this thread.
    let resumed = unsafe { task.suspend_asleep(SwitchRequest::parked_holding(guard.into_held())) };
    if resumed == Resumed::ToEnd {
        return end(task);
    }
    task.wait.selected().expect("a parked task is resumed by a claim")
}

#[cfg_attr(not(debug_assertions), inline(always))]
fn park_green(
    task: TaskRef,
    deadline: Option<Instant>,
    end: impl FnOnce(TaskRef) -> WakeReason,
) -> WakeReason {
    let timer = deadline.map(|at| insert_timer(Shared::of(&task), at, Waiter::Green(task)));
    // SAFETY: `Who::current` found this task running on this thread.
    let resumed = unsafe { task.suspend_asleep(SwitchRequest::PARKED) };
    if resumed == Resumed::ToEnd {
        // The timer, if there is one, is never due: it is not checked any more.
        return end(task);
    }
    let op = task.wait.selected().expect("a parked task is resumed by a claim");
    if let Some(timer) = timer {
        if op != TIMED_OUT {
            Shared::of(&task).remove_timer(timer);
        }
    }
    op
}

/// Counts an operation of the calling thread that might have waited and need not. After many on one
/// worker, yields, so that threads whose operations never wait leave others their turns.
#[inline]
pub(crate) fn spend(site: &'static Location<'static>) {
    if context::with(|worker| worker.is_some_and(Worker::spend)) {
        yield_at(site);
    }
}

/// Panics for an [interruptible](Wait::interruptible) wait without a deadline that has timed out.
/// The caller has left all queues.
#[cold]
#[inline(never)]
pub(crate) fn interrupted(site: &'static Location<'static>) -> ! {
    panic!(
        "all green threads are asleep - deadlock! This thread would have waited for ever at {site} (what each waits for was \
         printed to stderr)"
    )
}

/// Returns the reason why the calling thread must not wait at `site`, if there is one. For callers
/// that check before they do something that would make them wait.
#[cold]
pub(crate) fn cannot_wait(site: &'static Location<'static>) -> Option<Violation> {
    if is_green() { None } else { no_switch::violation(site) }
}

/// Returns the calling green thread, if it may suspend.
#[inline]
fn green() -> Option<TaskRef> {
    context::with(|worker| worker.and_then(|worker| worker.green()))
}

/// Returns the id of the calling thread, green or not.
pub(crate) fn thread_id() -> NonZeroU64 {
    context::running().map_or_else(|| OsThread::current().id, |task| task.id)
}

/// Returns `true` if the calling thread is a green thread that may suspend.
pub(crate) fn is_green() -> bool {
    green().is_some()
}

/// Marks a place where the calling thread may be suspended, even if it does not have to be. The
/// chaos mode suspends it there at random, and lets `no_switch` find such places even where the
/// thread does not have to suspend.
///
/// Only in debug builds: it is called in operations that take only a few nanoseconds.
#[inline(always)]
pub(crate) fn may_suspend(site: &'static Location<'static>) {
    if cfg!(debug_assertions) && random::is_anywhere() {
        suspend_at_random(site);
    }
}

#[cold]
fn suspend_at_random(site: &'static Location<'static>) {
    if context::with(|worker| worker.is_some_and(Worker::is_to_suspend)) {
        yield_at(site);
    }
}

/// Retries for a moment before a wait. That pays off for an OS thread, which is slow to sleep and
/// to wake. A green thread parks at once, and lets others run.
pub(crate) struct Retry(Option<Backoff>);

impl Retry {
    /// Creates the retries of the calling thread.
    pub(crate) fn new() -> Self {
        Self((!is_green()).then(Backoff::new))
    }

    /// Returns `true` if the caller should try once more, after a short pause.
    pub(crate) fn again(&self) -> bool {
        let backoff = self.0.as_ref().filter(|backoff| !backoff.is_completed());
        backoff.inspect(|backoff| backoff.snooze()).is_some()
    }
}

/// Spins for a moment on a condition that another OS thread may be about to change. A green thread
/// looks once more and then parks, because its worker has better things to do. If its runtime has
/// one worker it does not look at all: the thread that it waits for cannot run meanwhile.
pub(crate) struct Spin {
    looks: u32,
    limit: u32,
}

impl Spin {
    /// The looks of an OS thread, which is slow to sleep and to wake. After each look the pause
    /// doubles, to 127 pauses in all. (Loom needs fewer looks to explore all interleavings.)
    const OS_THREAD_LOOKS: u32 = if cfg!(loom) { 3 } else { 7 };

    /// Creates the retries of the calling thread.
    pub(crate) fn new() -> Self {
        let limit = context::with(|worker| {
            let worker = worker.filter(|worker| worker.green().is_some());
            worker.map(|worker| u32::from(worker.shared().config.workers > 1))
        });
        Self { looks: 0, limit: limit.unwrap_or(Self::OS_THREAD_LOOKS) }
    }

    /// Returns `true` if the caller should look again, after a short pause.
    pub(crate) fn again(&mut self) -> bool {
        if self.looks == self.limit {
            return false;
        }
        for _ in 0..1_u32 << self.looks {
            hint::spin_loop();
        }
        self.looks += 1;
        true
    }
}

/// A guard during whose life another worker may run in place of the one that the caller blocks.
pub(crate) struct Blocking {
    on_worker: bool,
    _not_send: PhantomData<*mut ()>,
}

impl Blocking {
    pub(crate) fn enter() -> Self {
        let on_worker =
            context::with(|worker| worker.map(|worker| worker.enter_blocking()).is_some());
        Self { on_worker, _not_send: PhantomData }
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        if self.on_worker {
            context::with(|worker| {
                worker.expect("a blocked task stays on its worker").leave_blocking();
            });
        }
    }
}

/// Runs a closure that blocks its OS thread, while another OS thread takes over the waiting work.
///
/// For calls that gthread cannot see: file reads, foreign functions, long computations. Work queued
/// behind the caller is handed over at once, to a sleeping worker or to a spare OS thread. Without
/// this the runtime finds out by itself. It notices within about 10 ms that a thread sleeps in the
/// kernel, in less than one while more of them do. It notices that a thread computes when the
/// thread has used 10 ms of processor time. There are no more spare threads than
/// [`RuntimeBuilder::max_spares`](crate::RuntimeBuilder::max_spares) allows.
///
/// In a green thread, `f` runs where it is, on the thread's own stack: nothing is copied or sent,
/// and the call costs well under a microsecond if no work waits. On an OS thread it is a plain
/// call.
///
/// Inside `f` the caller does not suspend: an operation that blocks, blocks the OS thread, and a
/// `go!` queues its child.
///
/// (Go does the same around system calls; tokio calls it `block_in_place`. It also serves for
/// tokio's `spawn_blocking`: `go!(|| blocking(f))`.)
///
/// # Examples
///
/// ```
/// let text = gthread::run(|| gthread::blocking(|| std::fs::read_to_string("Cargo.toml")));
/// assert!(text.is_ok());
/// ```
#[doc(alias = "spawn_blocking", alias = "block_in_place")]
pub fn blocking<T>(f: impl FnOnce() -> T) -> T {
    let _blocking = Blocking::enter();
    f()
}

/// Lets other green threads run, then continues.
///
/// A suspension point: the caller goes to the end of its worker's queue, and may continue on
/// another OS thread. On an OS thread this is [`std::thread::yield_now`].
// Inlined so that it has no return to mispredict; see the comment on `park_holding`.
#[doc(alias = "Gosched")]
#[inline]
#[track_caller]
pub fn yield_now() {
    yield_at(Location::caller());
}

#[inline]
pub(crate) fn yield_at(site: &'static Location<'static>) {
    match green() {
        // SAFETY: the task runs on this thread.
        Some(task) => unsafe { task.suspend(SwitchRequest::YIELDED) },
        None => yield_in_place(site),
    }
}

/// Yields for a thread that is not switched.
#[cold]
#[inline(never)]
fn yield_in_place(site: &'static Location<'static>) {
    // An OS thread has other OS threads to yield to in any case, so this is checked for green
    // threads only.
    let violation = context::running().and_then(|_| no_switch::violation(site));
    if let Some(violation) = violation {
        violation.panic();
    }
    std::thread::yield_now();
}

/// Blocks until the current thread's token is made available by
/// [`Thread::unpark`](crate::Thread::unpark), like [`std::thread::park`].
///
/// The token is kept: an `unpark` that comes first makes the next `park` return at once. May return
/// without a token, so callers loop on their condition. Parks the green thread, a suspension point;
/// on an OS thread it blocks that thread.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// let flag = Arc::new(AtomicBool::new(false));
/// let parked = gthread::go!({
///     let flag = Arc::clone(&flag);
///     move || {
///         while !flag.load(Ordering::Acquire) {
///             gthread::park();
///         }
///     }
/// });
/// flag.store(true, Ordering::Release);
/// parked.thread().unpark();
/// parked.join().unwrap();
/// ```
#[track_caller]
pub fn park() {
    park_until(None, Location::caller());
}

/// Like [`park`], but for no longer than `timeout`, as in [`std::thread::park_timeout`].
#[track_caller]
pub fn park_timeout(timeout: Duration) {
    park_for(timeout, Location::caller());
}

pub(crate) fn park_for(timeout: Duration, site: &'static Location<'static>) {
    // A deadline that the clock cannot represent means no deadline.
    park_until(Instant::now().checked_add(timeout), site);
}

#[inline(never)]
fn park_until(deadline: Option<Instant>, site: &'static Location<'static>) {
    may_suspend(site);
    let running = context::running();
    if running.is_some_and(|task| task.wait.take_token()) {
        return;
    }
    let ((), who) = Who::current((), site);
    if let (Some(task), Who::Os(_)) = (running, &who) {
        // The task is unwinding, or in `blocking`: the token is the task's, but it must not
        // suspend.
        return poll_token(task, deadline);
    }
    let cell = who.cell();
    if cell.take_token() || !cell.arm_park() {
        return;
    }
    let wait = Wait::of(who).interruptible();
    let op = wait.park(Reason::Park, deadline, site);
    let woken = wait.who.cell().take_token();
    if op == TIMED_OUT && deadline.is_none() && !woken {
        interrupted(site);
    }
}

/// Waits for a green thread's token without suspending the thread. This is rare, so it may poll.
fn poll_token(task: TaskRef, deadline: Option<Instant>) {
    const POLL: Duration = Duration::from_millis(1);
    let _blocking = Blocking::enter();
    while !task.wait.take_token() && deadline.is_none_or(|at| Instant::now() < at) {
        std::thread::sleep(POLL);
    }
}

/// Makes the token of a green thread available. The caller holds a reference to it.
pub(crate) fn unpark_green(task: TaskRef) {
    if task.wait.unpark() == Claim::Asleep {
        handle::wake(Wake::Green(task));
    }
}

/// Makes the token of an OS thread available.
pub(crate) fn unpark_os(thread: &OsThread) {
    if thread.wait.unpark() == Claim::Asleep {
        thread.thread.unpark();
    }
}
