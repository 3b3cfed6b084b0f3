//! The control block of a green thread, and the states it goes through.
//!
//! A task lives at the top of its own stack slot, with its closure (later its result) just below it
//! and its stack below that, so that a small parked thread touches one page:
//!
//! ```text
//!   bottom                              base                                      top
//!     | guard | ... the fiber's stack <-- | closure or result |   Task   | colour |
//! ```
//!
//! (What the colour is for, see `Slot::colour`.)
//!
//! Who may touch what:
//! - `wait` and `join` are atomic state machines, see [`state`] and [`join`].
//! - `fiber` belongs to whoever holds the task as runnable: exactly one queue, worker or waker at a
//!   time. It passes on through the queues' release/acquire, and through the claims of `wait`.
//! - `packet` belongs to the task until `DONE`, then to the holder of the `JoinHandle`.
//! - `locals` and `result_dropped` belong to the task, until its worker finishes it.
//! - `joiner` belongs to the holder of the `JoinHandle` until it is registered, then to the finisher.
//! - The rest is written before the task is first made runnable, and only read after.
//! - Dumps read all of it, `fiber` too, while no worker can pick a task up (`sched/world.rs`). Which slots
//!   have a task they see by its join word.
//!
//! Here are also the waiters that wakers see: [`Waiter`] and [`Wake`].

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::panic::Location;
use std::ptr::NonNull;

use gthread_arch::stacks::Slot;
use gthread_arch::{Fiber, FiberStack, Suspender, Switch};

use crate::loom::os_thread::Thread;
use crate::task::after::After;
use crate::task::cell::{self, TaskCell};
use crate::task::cpu_bound::CpuBound;
use crate::task::join_state::JoinState;
use crate::task::locals::Locals;
use crate::task::os_thread::OsThread;
use crate::task::owner::Owner;
use crate::task::remote_call::RemoteCall;
use crate::task::switch_request::SwitchRequest;
use crate::task::wait_info::Reason;
use crate::task::wait_state::{Claim, WaitState, WakeReason};

/// What a task is started with.
pub(crate) struct Attributes {
    pub(crate) id: NonZeroU64,
    pub(crate) name: Option<Box<str>>,
    pub(crate) site: &'static Location<'static>,
    /// The worker that alone may run the task.
    pub(crate) pinned: Option<u32>,
    pub(crate) after: Option<After>,
}

/// The control block of one green thread.
#[repr(C, align(64))]
pub(crate) struct Task {
    pub(crate) join: JoinState,
    pub(crate) body: Body,
}

/// All of a control block but the word that says whether there is one.
#[repr(C)]
pub(crate) struct Body {
    pub(crate) wait: WaitState,
    pub(crate) fiber: UnsafeCell<Fiber<SwitchRequest>>,
    pub(crate) suspender: Cell<MaybeUninit<Suspender<SwitchRequest>>>,
    /// What it is resumed for, if it is to suspend again at once, or [`END`]. Goes with the fiber.
    pub(crate) errand: Cell<Option<NonNull<RemoteCall>>>,
    /// The child that it forked last, for the worker that finishes that. Written by the worker that runs
    /// the task, between the task's suspension and its becoming stealable; so it is read by who holds it.
    /// Null before it forks. Only compared.
    pub(crate) last_child: Cell<*const Task>,
    /// The scheduler it belongs to; outlives the task (see `Shared`).
    pub(crate) owner: Owner,
    pub(crate) packet: TaskCell,
    pub(crate) joiner: UnsafeCell<Option<Waiter>>,
    pub(crate) slot: Cell<Option<Slot>>,
    pub(crate) after: Cell<Option<After>>,
    pub(crate) id: NonZeroU64,
    pub(crate) site: &'static Location<'static>,
    pub(crate) name: Option<Box<str>>,
    pub(crate) pinned: Option<u32>,
    /// Finishing the task is a matter of its join word alone: it is not pinned, and nothing comes after.
    pub(crate) plain: bool,
    /// It was detached, and has dropped its result.
    pub(crate) result_dropped: Cell<bool>,
    /// Whether it computes for long. Goes with the fiber. (In a line that whoever makes it runnable reads.)
    pub(crate) cpu_bound: Cell<CpuBound>,
    /// Where the task last waited, why and since when, and for whom: written by the task itself, read by
    /// dumps when it is suspended. The others only if there is a place, and `waits_for` only if the reason has
    /// one: a task that never waits does not pay for them.
    pub(crate) waits_at: Cell<Option<&'static Location<'static>>>,
    pub(crate) waits: Cell<MaybeUninit<(Reason, bool, u64)>>,
    pub(crate) waits_for: Cell<MaybeUninit<NonNull<()>>>,
    /// Its scheduler has ended, and it withdraws from its wait. Its own.
    pub(crate) ends: Cell<bool>,
    /// It never runs again, because its scheduler has ended. Goes with the fiber.
    pub(crate) is_over: Cell<bool>,
    /// The temporary stack that it runs on, if it does.
    pub(crate) temporary: Cell<*const Temporary>,
    /// What it keeps in `green_local!`s.
    pub(crate) locals: Locals,
}

/// What a task is resumed for that is to withdraw from its wait: no errand.
const END: NonNull<RemoteCall> = NonNull::dangling();

/// Why a task that was asleep goes on.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// Its wait was claimed.
    Woken,
    /// It is to withdraw from its wait, and never to go on ([`TaskRef::resume_to_end`]).
    ToEnd,
}

impl Deref for Task {
    type Target = Body;
    #[inline]
    fn deref(&self) -> &Body {
        &self.body
    }
}

/// Bytes at the top of a slot that nobody may use but for a control block: where there is none, they say so.
pub(crate) fn control_block_of(slot: &Slot) -> usize {
    slot.colour() + size_of::<Task>()
}

/// A stack that a thread runs on for the time of one call.
#[derive(Debug)]
pub(crate) struct Temporary {
    pub(crate) slot: Slot,
    /// The one that the call was made on, if it was one.
    pub(crate) below: *const Temporary,
}

/// A pointer to a live task.
///
/// Holding one keeps nothing alive: every holder says why the task outlives it (it holds a reference
/// in the join word, or the task as runnable, or a registered wait of it).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskRef(pub(crate) NonNull<Task>);

// SAFETY: the address is plain; what may be done with the task from which thread is governed by the rules at the head of
// this file. Of what the task has of its user's, another OS thread can
// - run it, by its fiber, which may be sent, if it holds the task as runnable;
// - take or drop the closure or the result, if it has the right to: `TaskRef::new` demands that both may be sent;
// - not touch its `green_local!`s, which may not be: the task itself ends them before it is done, on its own stack, and a
//   task that never ran has none.
unsafe impl Send for TaskRef {}

impl Deref for TaskRef {
    type Target = Task;
    #[inline]
    fn deref(&self) -> &Task {
        // SAFETY: holders of a TaskRef hold it only while the task is alive (`TaskRef::from_raw`).
        unsafe { self.0.as_ref() }
    }
}

/// Bytes at the top of a slot that may not be stack: colour, control block, closure or result.
pub(crate) const ABOVE_STACK: usize = 4096;

const _: () = assert!(Slot::MAX_COLOUR + size_of::<Task>() + cell::MAX_INLINE <= ABOVE_STACK);

impl TaskRef {
    /// # Safety
    ///
    /// The task must stay alive as long as the result, or a copy of it, is used.
    #[inline]
    pub(crate) unsafe fn from_raw(task: NonNull<Task>) -> Self {
        Self(task)
    }

    /// The task, for as long as the caller keeps it alive.
    pub(crate) fn as_ref<'a>(self) -> &'a Task {
        // SAFETY: as for `deref`.
        unsafe { &*self.0.as_ptr() }
    }

    /// Returns the task's address, for those that do not know tasks.
    #[inline]
    pub(crate) fn address(self) -> NonNull<()> {
        self.0.cast()
    }

    #[inline]
    pub(crate) fn as_ptr(self) -> *mut Task {
        self.0.as_ptr()
    }

    /// The part of a slot that is below its control block and packet.
    ///
    /// # Safety
    ///
    /// The slot outlives the stack's use, and nothing else uses that part.
    #[inline(always)]
    pub(crate) unsafe fn stack_in(
        slot: &Slot,
        place: NonNull<Task>,
        packet: &TaskCell,
    ) -> FiberStack {
        let above = slot.top().as_ptr() as usize - packet.lowest(place.as_ptr() as usize);
        // SAFETY: the caller's.
        unsafe { FiberStack::new(slot, above) }
    }

    /// The task at the top of a slot that is in use, if there is one that has not finished.
    ///
    /// # Safety
    ///
    /// `top` is that of a slot, less its colour, and mapped now. The result is valid as long as its task
    /// cannot finish.
    pub(crate) unsafe fn at_top(top: NonNull<u8>) -> Option<TaskRef> {
        // SAFETY: as in `new`.
        let place = unsafe { top.sub(size_of::<Task>()) }.cast::<Task>();
        // SAFETY: the word is mapped, and accessed atomically at all times (`join`).
        let join = unsafe { &(*place.as_ptr()).join };
        join.is_alive().then_some(TaskRef(place))
    }

    /// Has a task that sleeps do an errand on its stack. It is suspended where it was afterwards.
    ///
    /// # Safety
    ///
    /// - The task was seen asleep ([`WaitState::is_asleep`]) since it last ran.
    /// - Nobody else has its fiber: it does not run, and nobody can make it run meanwhile.
    pub(crate) unsafe fn send(self, errand: &RemoteCall) {
        self.errand.set(Some(NonNull::from(errand)));
        // SAFETY: the caller's. It is suspended in `suspend_asleep`, and so looks at the errand first.
        let switch = unsafe { (*self.fiber.get()).resume() };
        // The command that it gave before stands: this is the same again.
        debug_assert!(matches!(switch, Switch::Suspended(_)));
    }

    /// Has a task that sleeps withdraw from its wait. Gives the command that it suspends with then.
    ///
    /// # Safety
    ///
    /// - Its wait was [ended](WaitState::end) since it last ran.
    /// - Nobody else has its fiber, and nobody can make it run meanwhile.
    pub(crate) unsafe fn resume_to_end(self) -> Switch<SwitchRequest> {
        self.errand.set(Some(END));
        // SAFETY: the caller's. It is suspended in `suspend_asleep`, and so looks at the errand first.
        unsafe { self.resume() }
    }

    /// Whether it has ever run.
    ///
    /// # Safety
    ///
    /// Nobody else has its fiber.
    pub(crate) unsafe fn has_started(self) -> bool {
        // SAFETY: the caller's.
        unsafe { (*self.fiber.get()).is_suspended() }
    }

    /// Runs the task until it suspends or finishes.
    ///
    /// # Safety
    ///
    /// The caller holds the task as runnable.
    #[inline]
    pub(crate) unsafe fn resume(self) -> Switch<SwitchRequest> {
        // SAFETY: the holder of a runnable task has its fiber to itself.
        unsafe { (*self.fiber.get()).resume() }
    }

    /// Notes that the task has forked `child`. By the worker, which has the task as runnable.
    #[inline]
    pub(crate) fn note_fork(self, child: TaskRef) {
        self.last_child.set(child.as_ptr());
    }

    /// Whether the task, a continuation that the caller holds, has not run since it forked `child`, which
    /// is alive.
    #[inline]
    pub(crate) fn waits_since_fork_of(self, child: TaskRef) -> bool {
        // Had it run, it could only have become a continuation again by forking another.
        self.last_child.get() == child.as_ptr().cast_const()
    }

    /// Suspends the task with `command`. Comes back when resumed, perhaps on another OS thread: no
    /// address of a thread-local may be held across.
    ///
    /// # Safety
    ///
    /// The caller runs on this task's stack.
    #[inline(always)]
    pub(crate) unsafe fn suspend(self, command: SwitchRequest) {
        // SAFETY: the task runs, so its entry has stored the suspender; it is this fiber's.
        unsafe { self.suspender.get().assume_init().suspend(command) };
    }

    /// [`TaskRef::suspend`], to wait: with a command after which the task is asleep. Dumps look into it then.
    ///
    /// # Safety
    ///
    /// As [`TaskRef::suspend`].
    #[inline(always)]
    pub(crate) unsafe fn suspend_asleep(self, command: SwitchRequest) -> Resumed {
        // SAFETY: the caller's.
        unsafe { self.suspend(command) };
        if self.errand.get().is_some() {
            // SAFETY: the caller's.
            return unsafe { self.do_errands(command) };
        }
        Resumed::Woken
    }

    /// # Safety
    ///
    /// As [`TaskRef::suspend`].
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn do_errands(self, command: SwitchRequest) -> Resumed {
        while let Some(errand) = self.errand.take() {
            if errand == END {
                return Resumed::ToEnd;
            }
            // SAFETY: `send` waits in the resume that brought us here, and this is the task's stack.
            unsafe { errand.as_ref().run() };
            // SAFETY: the caller's.
            unsafe { self.suspend(command) };
        }
        Resumed::Woken
    }
}

impl Task {
    /// The stack that it was made with. For the task itself, or while it runs.
    pub(crate) fn slot(&self) -> &Slot {
        // SAFETY: the slot is taken out by whoever frees the task, when it has finished and nobody has
        // it any more.
        unsafe { (*self.slot.as_ptr()).as_ref() }.expect("a task has a slot until it is freed")
    }

    /// The runtime that the task belongs to.
    #[inline]
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// The worker that alone may run this task, if it is pinned.
    #[inline]
    pub(crate) fn pinned(&self) -> Option<u32> {
        self.pinned
    }
}

/// A thread with an armed wait, as registered in queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    Green(TaskRef),
    /// A green thread that parks while it holds the lock of the one queue it is in: whoever takes it
    /// out has it.
    Held(TaskRef),
    Os(NonNull<OsThread>),
}

// SAFETY: another thread can compare it, have its place prefetched, and claim the wait, which is unsafe: `claim` says
// when the pointee may be used. Of that it touches the wait cell, which is atomic, and an OS thread's handle, which
// never changes and may be cloned anywhere. No value of the waiting thread's is reached through it.
unsafe impl Send for Waiter {}

/// The duty of a waker that won: make the thread run. Dropping it loses the thread for ever.
#[must_use = "a claimed thread that is not woken sleeps for ever"]
#[derive(Debug)]
pub(crate) enum Wake {
    /// It was awake still, and goes on by itself.
    Awake,
    /// A green thread, parked: the holder has it as runnable.
    Green(TaskRef),
    /// An OS thread that sleeps or is about to.
    Os(Thread),
}

impl Waiter {
    /// The green thread, if it is one.
    pub(crate) fn task(self) -> Option<TaskRef> {
        match self {
            Self::Green(task) | Self::Held(task) => Some(task),
            Self::Os(_) => None,
        }
    }

    /// Has the processor fetch what it takes to claim the thread and to run it.
    #[inline]
    pub(crate) fn prefetch(self) {
        self.task().into_iter().for_each(TaskRef::prefetch);
    }

    /// Tries to end the wait with `op`: `None` if it was over, or if the thread never runs again because its runtime was
    /// dropped. Both are passed over, so that somebody gets what is given.
    ///
    /// # Safety
    ///
    /// The wait is registered with the caller in a way that keeps the waiting thread from leaving it
    /// (the caller holds the lock of the queue it is in).
    #[inline]
    pub(crate) unsafe fn claim(self, op: WakeReason) -> Option<Wake> {
        match self {
            Self::Green(task) => match task.wait.claim(op) {
                Claim::Lost => None,
                Claim::Awake => Some(Wake::Awake),
                Claim::Asleep => Some(Wake::Green(task)),
            },
            Self::Held(task) => task.wait.select_held(op).then_some(Wake::Green(task)),
            Self::Os(thread) => {
                // SAFETY: registered, so its owner is still in the wait and keeps it alive.
                let thread = unsafe { thread.as_ref() };
                // Cloned first: once claimed, the thread may be gone.
                let handle = thread.thread.clone();
                match thread.wait.claim(op) {
                    Claim::Lost => None,
                    Claim::Awake => Some(Wake::Awake),
                    Claim::Asleep => Some(Wake::Os(handle)),
                }
            }
        }
    }
}
