//! The sole blocking primitive. Whatever blocks, of threads green or not, blocks here.
//!
//! A wait is armed, registered with whoever may end it, and then slept in:
//!
//! ```text
//!   let wait = Wait::arm(site);
//!   queue.push(wait.waiter());          // under the queue's lock
//!   match wait.park(reason, deadline, site) {
//!       TIMED_OUT => queue.remove(…),   // nobody claimed it: withdraw
//!       op => …                         // claimed, and out of the queue
//!   }
//! ```
//!
//! A wait in one queue only is shorter ([`Wait::in_queue`]): with the queue's lock held throughout, a
//! green thread needs no state for it (see `task/state.rs`).
//!
//! ```text
//!   let guard = queue.lock();
//!   let (guard, wait) = Wait::in_queue(guard, deadline, site);
//!   guard.push(wait.waiter());
//!   match wait.park_unlocking(guard, reason, deadline, site) { … as above … }
//! ```
//!
//! A green thread whose runtime is dropped never comes back from its wait (`sched/last.rs`). Where others may stand behind
//! it in a queue it leaves that first, as one that has timed out:
//!
//! ```text
//!   let mut op = wait.park_or_withdraw(reason, deadline, site);
//!   if op == TIMED_OUT {
//!       queue.remove(…);                // and see to those behind
//!       op = wait.withdrawn();          // comes back if it has timed out indeed
//!   }
//! ```
//!
//! A wait that has no deadline may end with `TIMED_OUT` as well, if it was made [interruptible](Wait::interruptible): when
//! all wait for ever, and that is to be a panic (`sched/deadlock.rs`). The caller leaves the queue likewise, and then calls
//! [`interrupted`].
//!
//! Inside [`no_switch`](crate::wait::no_switch) a green thread's wait panics when it is armed: nothing is
//! registered by then, and a lock is let go first.

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
    /// The caller has looked for a moment already whether it need not wait.
    looked: bool,
    /// Of one thread.
    _not_send: PhantomData<*mut ()>,
}

enum Who {
    Green(TaskRef),
    /// A green thread in one queue only, and for no deadline: not armed.
    Held(TaskRef),
    Os(Arc<OsThread>),
}

impl Who {
    /// The calling thread, as one that waits at `site`: the green one if it may suspend. A lock that it
    /// holds for its wait passes through, and is let go if this panics.
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

    /// [`Wait::arm`], of a thread that holds a lock.
    #[inline]
    pub(crate) fn arm_under<G>(guard: G, site: &'static Location<'static>) -> (G, Self) {
        let (guard, who) = Who::current(guard, site);
        who.cell().arm();
        (guard, Self::of(who))
    }

    /// A wait of the calling thread in one queue, whose lock it holds until it sleeps in
    /// [`Wait::park_unlocking`]. Not to be cancelled.
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

    /// The wait, as one that may end with `TIMED_OUT` though there is no deadline. Before it is registered anywhere.
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

    /// The wait of one that has looked for a moment already whether it need not wait, as [`Retry`] does: an OS thread goes to
    /// sleep without looking once more.
    pub(crate) fn looked(mut self) -> Self {
        self.looked = true;
        self
    }

    /// For queues. Valid as long as `self`.
    pub(crate) fn waiter(&self) -> Waiter {
        match &self.who {
            Who::Green(task) => Waiter::Green(*task),
            Who::Held(task) => Waiter::Held(*task),
            Who::Os(thread) => Waiter::Os(NonNull::from(&**thread)),
        }
    }

    /// Notes that it is a wait for this thread to end, with a reason that says so: for dumps.
    pub(crate) fn note_join(&self, joined: TaskRef) {
        match &self.who {
            Who::Green(task) | Who::Held(task) => task.note_target(Target::Task(joined)),
            Who::Os(thread) => thread.note_joined(joined.id),
        }
    }

    /// Notes that it is a wait for this lock, with a reason that says so: for dumps, where the note stays in its place until
    /// the wait is over, and for the worker. Whoever wakes it is told whether it steps aside.
    pub(crate) fn note_lock(&self, lock: &AwaitedLock) {
        if let Who::Green(task) | Who::Held(task) = &self.who {
            task.note_target(Target::Lock(NonNull::from(lock)));
            handle::note_lock_met();
        }
    }

    /// Withdraws the wait: `None` if nobody has claimed it, else the operation it was claimed with.
    pub(crate) fn cancel(&self) -> Option<WakeReason> {
        self.who.cell().cancel()
    }

    /// Ends a wait that nobody can have claimed.
    pub(crate) fn disarm(&self) {
        if !matches!(self.who, Who::Held(_)) {
            let claimed = self.cancel();
            debug_assert_eq!(claimed, None, "claimed by someone to whom it was not registered");
        }
    }

    /// Sleeps until claimed, and gives the operation; `TIMED_OUT` after `deadline`. A green thread
    /// suspends and may come back on another OS thread; an OS thread blocks. If the green thread's runtime is dropped
    /// it does not come back.
    ///
    /// The waiter is valid as long as `self`: it must be out of every queue before `self` is dropped.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn park(
        &self,
        reason: Reason,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> WakeReason {
        self.park_with(reason, deadline, site, |task| stay(task))
    }

    /// [`Wait::park`], but `TIMED_OUT` also if the runtime is dropped. Then the caller leaves the queues, sees to those
    /// behind it, and calls [`Wait::withdrawn`].
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
                // A panic while it unwinds would end the process.
                let interruptible = self.interruptible && !std::thread::panicking();
                // A thread that waits for a lock, or for a buffer, has looked before ([`Spin`], [`Retry`]).
                let looks = !(reason.is_lock() || self.looked);
                thread.sleep(OsWait { reason, site, deadline, interruptible }, looks)
            }
        }
    }

    /// Releases the lock of the queue and sleeps, as [`Wait::park`]; in one step, if the wait is
    /// [`in_queue`](Wait::in_queue).
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

    /// [`Wait::park_unlocking`] as [`Wait::park_or_withdraw`].
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

    /// After [`park_or_withdraw`](Wait::park_or_withdraw) gave `TIMED_OUT`, when the caller has left the queue, under its
    /// lock: comes back only if the runtime was not dropped, or if the thread was claimed before it left. Gives the
    /// operation: one that was claimed uses what it was given, in the last turn that it gets.
    #[cold]
    pub(crate) fn withdrawn(&self) -> WakeReason {
        let (Who::Green(task) | Who::Held(task)) = self.who else { return TIMED_OUT };
        if !task.ends.get() {
            return TIMED_OUT;
        }
        if let (Who::Held(_), Some(op)) = (&self.who, task.wait.claimed_at_last()) {
            task.ends.set(false);
            // SAFETY: the task runs here. Whoever has claimed it makes it runnable.
            let resumed = unsafe { task.suspend_asleep(SwitchRequest::CLAIMED) };
            debug_assert_eq!(resumed, Resumed::Woken, "not asleep for others");
            return op;
        }
        stay(task)
    }
}

/// The outcome of a wait whose thread is to withdraw from it.
#[cold]
fn withdraw(task: TaskRef) -> WakeReason {
    task.ends.set(true);
    TIMED_OUT
}

/// Never goes on.
#[cold]
fn stay(task: TaskRef) -> ! {
    // For dumps, and so that nobody claims it.
    task.wait.hold_for_ever();
    loop {
        // SAFETY: the callers run on its stack.
        let _ = unsafe { task.suspend_asleep(SwitchRequest::OVER) };
    }
}

// Inlined, as all that is between a blocking call and the switch: after it every `ret` up to there is
// mispredicted, since the processor predicts returns by the calls that came last. (Not in debug builds,
// where each copy of a large value has a place of its own in the frame.)
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
    // SAFETY: `Who::current` found this task running here.
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
    // SAFETY: `Who::current` found this task running here.
    let resumed = unsafe { task.suspend_asleep(SwitchRequest::PARKED) };
    if resumed == Resumed::ToEnd {
        // The timer, if there is one, is never due: nobody looks any more.
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

/// The end of an [interruptible](Wait::interruptible) wait without a deadline that has timed out, when the caller has
/// left all queues.
#[cold]
#[inline(never)]
pub(crate) fn interrupted(site: &'static Location<'static>) -> ! {
    panic!(
        "all green threads are asleep - deadlock! This thread would have waited for ever at {site} (what each waits for was \
         printed to stderr)"
    )
}

/// Why the calling thread must not wait at `site`, if so: for those who ask before they do what would make them wait.
#[cold]
pub(crate) fn cannot_wait(site: &'static Location<'static>) -> Option<Violation> {
    if is_green() { None } else { no_switch::violation(site) }
}

/// The green thread that calls, if it may suspend.
#[inline]
fn green() -> Option<TaskRef> {
    context::with(|worker| worker.and_then(|worker| worker.green()))
}

/// The id of the calling thread, green or not.
pub(crate) fn thread_id() -> NonZeroU64 {
    context::running().map_or_else(|| OsThread::current().id, |task| task.id)
}

/// Whether the calling thread is a green one that may suspend.
pub(crate) fn is_green() -> bool {
    green().is_some()
}

/// Called where the calling thread may be suspended, whether or not it has to be. For chaos, which suspends
/// it there at random; and which lets `no_switch` find such places even where it has not to be.
///
/// In debug builds only: it stands where an operation takes some nanoseconds.
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

/// Trying again for a moment before a wait. Worth it for an OS thread, which is slow to sleep and to
/// wake; a green thread parks at once, and lets others run.
pub(crate) struct Retry(Option<Backoff>);

impl Retry {
    /// For the calling thread.
    pub(crate) fn new() -> Self {
        Self((!is_green()).then(Backoff::new))
    }

    /// Whether to try once more. Waits a little if so.
    pub(crate) fn again(&self) -> bool {
        let backoff = self.0.as_ref().filter(|backoff| !backoff.is_completed());
        backoff.inspect(|backoff| backoff.snooze()).is_some()
    }
}

/// Looking again for a moment at what another OS thread may be about to change. A green thread whose
/// runtime has one worker does not: the one that it waits for cannot run meanwhile. One whose worker has others to run
/// looks once; else the worker would be idle, and to come back from that takes longer.
pub(crate) struct Spin {
    looks: u32,
}

impl Spin {
    /// After each the pauses are twice as many: 127 in all, which take one to five microseconds. (Loom need not look
    /// as often to see all that can happen.)
    const MOST: u32 = if cfg!(loom) { 3 } else { 7 };

    /// For the calling thread.
    pub(crate) fn new() -> Self {
        Self { looks: 0 }
    }

    /// Whether to look again. Waits a little if so.
    pub(crate) fn again(&mut self) -> bool {
        if self.looks == Self::MOST || (self.looks < 2 && self.is_in_vain()) {
            return false;
        }
        for _ in 0..1_u32 << self.looks {
            hint::spin_loop();
        }
        self.looks += 1;
        true
    }

    fn is_in_vain(&self) -> bool {
        context::with(|worker| {
            worker.filter(|worker| worker.green().is_some()).is_some_and(|worker| {
                match self.looks {
                    0 => worker.shared().config.workers == 1,
                    _ => worker.has_others(),
                }
            })
        })
    }
}

/// While it lives, another worker may run in the place of the one that the caller blocks.
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

/// Runs a closure that blocks its OS thread, while another takes over the work that waits.
///
/// For calls that gthread cannot see: file reads, foreign functions, long computations. Work queued
/// behind the caller is handed over at once, to a sleeping worker or to a spare OS thread. Without
/// this the runtime finds out by itself: within about 10 ms that a thread sleeps in the kernel, in
/// less than one while more of them do, and that one computes when it has used 10 ms of processor time.
/// There are no more spares than [`RuntimeBuilder::max_spares`](crate::RuntimeBuilder::max_spares)
/// allows. In a green thread, `f` runs where it is, on its own stack: nothing is copied or sent, and the
/// call costs well under a microsecond if nobody waits. Elsewhere it is a plain call.
///
/// Inside `f` the caller does not suspend: whatever blocks, blocks the OS thread, and a `go!` queues
/// its child.
///
/// (Go does the same around system calls; tokio calls it `block_in_place`. It serves as its `spawn_blocking` as well:
/// `go!(|| blocking(f))`.)
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

/// Lets other green threads run, then goes on.
///
/// A suspension point: the caller goes to the end of its worker's queue, and may come back on another
/// OS thread. On an OS thread this is [`std::thread::yield_now`].
// Inlined for what is said of returns below `Wait::park_unlocking`: it has none.
#[doc(alias = "Gosched")]
#[inline]
#[track_caller]
pub fn yield_now() {
    yield_at(Location::caller());
}

#[inline]
pub(crate) fn yield_at(site: &'static Location<'static>) {
    match green() {
        // SAFETY: the task runs here.
        Some(task) => unsafe { task.suspend(SwitchRequest::YIELDED) },
        None => yield_in_place(site),
    }
}

/// Of a thread that is not switched.
#[cold]
#[inline(never)]
fn yield_in_place(site: &'static Location<'static>) {
    // An OS thread has others to yield to in any case.
    let violation = context::running().and_then(|_| no_switch::violation(site));
    if let Some(violation) = violation {
        violation.panic();
    }
    std::thread::yield_now();
}

/// Blocks until the current thread's token is made available by [`Thread::unpark`](crate::Thread::unpark),
/// as [`std::thread::park`].
///
/// The token is kept: an `unpark` that comes first makes the next `park` return at once. May return
/// without a token, so callers loop on their condition. Parks the green thread, a suspension point;
/// on an OS thread it blocks that.
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

/// As [`park`], but for no longer than `timeout`, as [`std::thread::park_timeout`].
#[track_caller]
pub fn park_timeout(timeout: Duration) {
    park_for(timeout, Location::caller());
}

pub(crate) fn park_for(timeout: Duration, site: &'static Location<'static>) {
    // A deadline that is not representable is not reached either.
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
        // Unwinding, or in `blocking`: the token is the task's, but it must not suspend.
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

/// Waits for a green thread's token without suspending it: rare, so it may poll.
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
