//! The control block of a green thread: its layout, and which thread may access which field.
//!
//! A task lives at the top of its own stack slot, with its closure (later its result) just below it
//! and its stack below that, so that a small parked thread touches one page:
//!
//! ```text
//!   bottom                              base                                      top
//!     | guard | ... the fiber's stack <-- | closure or result |   Task   | colour |
//! ```
//!
//! For the colour, see `Slot::colour`.
//!
//! Access to the fields:
//! - `wait` and `join` are atomic state machines, see [`wait_state`](crate::task::wait_state) and
//!   [`join_state`](crate::task::join_state).
//! - `fiber` belongs to the holder of the task as runnable: exactly one queue, worker or waker at a
//!   time. It passes on through the queues' release/acquire, and through the claims of `wait`.
//! - `cell`, the task cell, belongs to the task until `DONE`, then to the holder of the
//!   `JoinHandle`.
//! - `locals` and `result_dropped` belong to the task until its worker finishes it.
//! - `joiner` belongs to the holder of the `JoinHandle` until it is registered, then to the
//!   finisher.
//! - The rest is written before the task is first made runnable, and only read afterwards, unless a
//!   field says otherwise.
//! - Dumps read all of it, including `fiber`, while no worker can start or resume a task
//!   (`diagnostics/stop_world.rs`). The join state tells them which slots have a task.
//!
//! The file also has the waiters that wakers see: [`Waiter`] and [`Wake`].

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

/// The attributes with which a task is started.
pub(crate) struct Attributes {
    pub(crate) id: NonZeroU64,
    pub(crate) name: Option<Box<str>>,
    pub(crate) site: &'static Location<'static>,
    /// The only worker that may run the task, if it is pinned.
    pub(crate) pinned: Option<u32>,
    pub(crate) after: Option<After>,
}

/// The control block of one green thread.
#[repr(C, align(64))]
pub(crate) struct Task {
    pub(crate) join: JoinState,
    pub(crate) body: Body,
}

/// A control block without its join state, which tells whether there is a control block.
#[repr(C)]
pub(crate) struct Body {
    pub(crate) wait: WaitState,
    pub(crate) fiber: UnsafeCell<Fiber<SwitchRequest>>,
    pub(crate) suspender: Cell<MaybeUninit<Suspender<SwitchRequest>>>,
    /// The remote call for which the task is resumed and after which it suspends again at once, or
    /// [`END`]. Goes with the fiber.
    pub(crate) remote_call: Cell<Option<NonNull<RemoteCall>>>,
    /// The child that the task forked last, for the worker that finishes the child. Null before the
    /// first fork. Written by the worker that runs the task, between the task's suspension and the
    /// task's becoming stealable, so it is read by the holder of the task. Only compared.
    pub(crate) last_child: Cell<*const Task>,
    /// The runtime of the task. It outlives the task (see `Shared`).
    pub(crate) owner: Owner,
    pub(crate) cell: TaskCell,
    pub(crate) joiner: UnsafeCell<Option<Waiter>>,
    pub(crate) slot: Cell<Option<Slot>>,
    pub(crate) after: Cell<Option<After>>,
    pub(crate) id: NonZeroU64,
    pub(crate) site: &'static Location<'static>,
    pub(crate) name: Option<Box<str>>,
    pub(crate) pinned: Option<u32>,
    /// The join state alone decides how the task finishes: it is not pinned, and has no callback.
    pub(crate) plain: bool,
    /// The task was detached, and has dropped its result.
    pub(crate) result_dropped: Cell<bool>,
    /// Whether the task is CPU-bound. Goes with the fiber. It is in a cache line that a waker reads
    /// anyway.
    pub(crate) cpu_bound: Cell<CpuBound>,
    /// The task's last wait: its place, its reason and start (`waits`), and its target
    /// (`waits_for`). Written by the task itself, read by dumps while it is suspended. `waits` is
    /// initialized only if there is a place, and `waits_for` only if the reason has a target: a
    /// task that never waits does not pay for them.
    pub(crate) waits_at: Cell<Option<&'static Location<'static>>>,
    pub(crate) waits: Cell<MaybeUninit<(Reason, bool, u64)>>,
    pub(crate) waits_for: Cell<MaybeUninit<NonNull<()>>>,
    /// The task's runtime has ended, and the task withdraws from its wait. Used only by the task
    /// itself.
    pub(crate) withdraws: Cell<bool>,
    /// The task never runs again, because its runtime has ended. Goes with the fiber.
    pub(crate) is_over: Cell<bool>,
    /// The temporary stack on which the task runs, or null.
    pub(crate) temporary: Cell<*const Temporary>,
    /// The task's `green_local!`s.
    pub(crate) locals: Locals,
}

/// The value of `remote_call` for a task that is resumed to withdraw from its wait. It is not a
/// remote call.
const END: NonNull<RemoteCall> = NonNull::dangling();

/// Why a task that was asleep goes on.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// Its wait was claimed.
    Woken,
    /// The task must withdraw from its wait, and then never goes on ([`TaskRef::resume_to_end`]).
    ToEnd,
}

impl Deref for Task {
    type Target = Body;
    #[inline]
    fn deref(&self) -> &Body {
        &self.body
    }
}

/// Returns the number of bytes at the top of a slot that are reserved for a control block. If there
/// is no task, they say so.
pub(crate) fn control_block_of(slot: &Slot) -> usize {
    slot.colour() + size_of::<Task>()
}

/// A stack on which a thread runs during one call.
#[derive(Debug)]
pub(crate) struct Temporary {
    pub(crate) slot: Slot,
    /// The temporary stack on which the call was made, or null.
    pub(crate) below: *const Temporary,
}

/// A pointer to a live task.
///
/// Holding one keeps nothing alive. Every holder states why the task outlives it: it holds a
/// reference in the join state, or the task as runnable, or a registered wait of the task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskRef(pub(crate) NonNull<Task>);

// SAFETY: the address is plain. The rules at the head of this file say what a thread may do with
// the task. Of the user's values in the task, another OS thread can
// - run the closure, by the fiber, which may be sent, if it holds the task as runnable;
// - take or drop the closure or the result, if it has the right to: `TaskRef::new` requires that
//   both may be sent;
// - not touch the `green_local!`s, which may not be `Send`: the task itself ends them before it is
//   done, on its own stack, and a task that never ran has none.
unsafe impl Send for TaskRef {}

impl Deref for TaskRef {
    type Target = Task;
    #[inline]
    fn deref(&self) -> &Task {
        // SAFETY: a holder of a `TaskRef` has it only while the task is alive
        // (`TaskRef::from_raw`).
        unsafe { self.0.as_ref() }
    }
}

/// The most bytes at the top of a slot that are not stack: colour, control block, closure or
/// result.
pub(crate) const ABOVE_STACK: usize = 4096;

const _: () = assert!(Slot::MAX_COLOUR + size_of::<Task>() + cell::MAX_INLINE <= ABOVE_STACK);

impl TaskRef {
    /// Creates a pointer to a task.
    ///
    /// # Safety
    ///
    /// The task must stay alive as long as the result, or a copy of it, is used.
    #[inline]
    pub(crate) unsafe fn from_raw(task: NonNull<Task>) -> Self {
        Self(task)
    }

    /// Returns the task, for as long as the caller keeps it alive.
    pub(crate) fn as_ref<'a>(self) -> &'a Task {
        // SAFETY: same as `deref`. The caller keeps the task alive while it uses the result.
        unsafe { &*self.0.as_ptr() }
    }

    /// Returns the task's address, for code that does not know tasks.
    #[inline]
    pub(crate) fn address(self) -> NonNull<()> {
        self.0.cast()
    }

    #[inline]
    pub(crate) fn as_ptr(self) -> *mut Task {
        self.0.as_ptr()
    }

    /// Returns the part of a slot that is below its control block and its cell.
    ///
    /// # Safety
    ///
    /// The slot outlives the use of the stack, and nothing else uses that part.
    #[inline(always)]
    pub(crate) unsafe fn stack_in(
        slot: &Slot,
        place: NonNull<Task>,
        cell: &TaskCell,
    ) -> FiberStack {
        let above = slot.top().as_ptr() as usize - cell.lowest(place.as_ptr() as usize);
        // SAFETY: the slot outlives the use of the stack, and nothing else uses that part, says the
        // caller.
        unsafe { FiberStack::new(slot, above) }
    }

    /// Returns the task at the top of a slot in use, if there is one that has not finished.
    ///
    /// # Safety
    ///
    /// `top` is the top of a slot, less its colour, and is mapped now. The result is valid as long
    /// as the task cannot finish.
    pub(crate) unsafe fn at_top(top: NonNull<u8>) -> Option<TaskRef> {
        // SAFETY: as in `new`: a slot is large enough for a control block.
        let place = unsafe { top.sub(size_of::<Task>()) }.cast::<Task>();
        // SAFETY: the word is mapped, and every access to it is atomic (`join_state.rs`).
        let join = unsafe { &(*place.as_ptr()).join };
        join.is_alive().then_some(TaskRef(place))
    }

    /// Makes a sleeping task run a remote call on its stack. Afterwards it is suspended where it
    /// was.
    ///
    /// # Safety
    ///
    /// - The task was seen asleep ([`WaitState::is_asleep`]) since it last ran.
    /// - The caller alone has its fiber: the task does not run, and no other thread can make it run
    ///   meanwhile.
    pub(crate) unsafe fn send(self, remote_call: &RemoteCall) {
        self.remote_call.set(Some(NonNull::from(remote_call)));
        // SAFETY: the caller alone has the fiber. The task is suspended in `suspend_asleep`, so it
        // makes the call first and suspends again.
        let switch = unsafe { (*self.fiber.get()).resume() };
        // The task's earlier request stands: this is the same one again.
        debug_assert!(matches!(switch, Switch::Suspended(_)));
    }

    /// Makes a sleeping task withdraw from its wait. Returns the request with which it then
    /// suspends.
    ///
    /// # Safety
    ///
    /// - The task's wait was [ended](WaitState::end) since it last ran.
    /// - The caller alone has its fiber, and no other thread can make it run meanwhile.
    pub(crate) unsafe fn resume_to_end(self) -> Switch<SwitchRequest> {
        self.remote_call.set(Some(END));
        // SAFETY: the caller alone has the fiber. The task is suspended in `suspend_asleep`, so it
        // sees `END` first.
        unsafe { self.resume() }
    }

    /// Returns `true` if the task has ever run.
    ///
    /// # Safety
    ///
    /// The caller alone has the task's fiber.
    pub(crate) unsafe fn has_started(self) -> bool {
        // SAFETY: the caller alone has the fiber.
        unsafe { (*self.fiber.get()).is_suspended() }
    }

    /// Runs the task until it suspends or finishes.
    ///
    /// # Safety
    ///
    /// The caller holds the task as runnable.
    #[inline]
    pub(crate) unsafe fn resume(self) -> Switch<SwitchRequest> {
        // SAFETY: the caller holds the task as runnable, so it has the fiber to itself.
        unsafe { (*self.fiber.get()).resume() }
    }

    /// Notes that the task has forked `child`. Called by the worker, which has the task as
    /// runnable.
    #[inline]
    pub(crate) fn note_fork(self, child: TaskRef) {
        self.last_child.set(child.as_ptr());
    }

    /// Returns `true` if the task has not run since it forked `child`. The task is a continuation
    /// that the caller holds, and `child` is alive.
    #[inline]
    pub(crate) fn waits_since_fork_of(self, child: TaskRef) -> bool {
        // A task that has run since can only be a continuation again because it forked another
        // child.
        self.last_child.get() == child.as_ptr().cast_const()
    }

    /// Suspends the task with a request. Returns when the task is resumed, perhaps on another OS
    /// thread: the address of a thread-local must not be held across the call.
    ///
    /// # Safety
    ///
    /// The caller runs on this task's stack.
    #[inline(always)]
    pub(crate) unsafe fn suspend(self, command: SwitchRequest) {
        // SAFETY: the task runs, so its entry has stored the suspender, which is that of this
        // fiber.
        unsafe { self.suspender.get().assume_init().suspend(command) };
    }

    /// Suspends the task to wait: like [`TaskRef::suspend`], with a request after which the task is
    /// asleep. Dumps inspect it meanwhile.
    ///
    /// # Safety
    ///
    /// Same as [`TaskRef::suspend`].
    #[inline(always)]
    pub(crate) unsafe fn suspend_asleep(self, command: SwitchRequest) -> Resumed {
        // SAFETY: the caller runs on this task's stack.
        unsafe { self.suspend(command) };
        if self.remote_call.get().is_some() {
            // SAFETY: the caller runs on this task's stack.
            return unsafe { self.run_remote_calls(command) };
        }
        Resumed::Woken
    }

    /// Makes the remote calls for which the task was resumed, and suspends it again after each.
    ///
    /// # Safety
    ///
    /// Same as [`TaskRef::suspend`].
    #[cold]
    #[inline(never)]
    unsafe fn run_remote_calls(self, command: SwitchRequest) -> Resumed {
        while let Some(remote_call) = self.remote_call.take() {
            if remote_call == END {
                return Resumed::ToEnd;
            }
            // SAFETY: this is the task's stack. `send` waits in the `resume` that has led here, so
            // the call is alive, and it is made once.
            unsafe { remote_call.as_ref().run() };
            // SAFETY: the caller runs on this task's stack.
            unsafe { self.suspend(command) };
        }
        Resumed::Woken
    }
}

impl Task {
    /// Returns the slot with which the task was made. For the task itself, or for a thread that
    /// keeps the task from being freed.
    pub(crate) fn slot(&self) -> &Slot {
        // SAFETY: the slot is taken out by the thread that frees the task, when the task has
        // finished and no other thread has it any more. So nothing writes it now.
        unsafe { (*self.slot.as_ptr()).as_ref() }.expect("a task has a slot until it is freed")
    }

    /// Returns the runtime of the task.
    #[inline]
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Returns the only worker that may run this task, if it is pinned.
    #[inline]
    pub(crate) fn pinned(&self) -> Option<u32> {
        self.pinned
    }
}

/// A thread with an armed wait, as registered in queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    Green(TaskRef),
    /// A green thread that parks while it holds the lock of the only queue that it is in. The
    /// thread that takes it out of the queue has it.
    Held(TaskRef),
    Os(NonNull<OsThread>),
}

// SAFETY: another thread can compare it, prefetch the task, and claim the wait, which is unsafe:
// `claim` says when the pointee may be used. `claim` touches the wait state, which is atomic, and
// an OS thread's handle, which never changes and may be cloned anywhere. No value of the waiting
// thread is reached through it.
unsafe impl Send for Waiter {}

/// The duty of a waker that won a claim: to make the thread run. If it is dropped, the thread never
/// runs again.
#[must_use = "a claimed thread that is not woken sleeps for ever"]
#[derive(Debug)]
pub(crate) enum Wake {
    /// The thread was still awake, and goes on by itself.
    Awake,
    /// A parked green thread: the holder has it as runnable.
    Green(TaskRef),
    /// An OS thread that sleeps or is about to sleep.
    Os(Thread),
}

impl Waiter {
    /// Returns the green thread, if the waiter is one.
    pub(crate) fn task(self) -> Option<TaskRef> {
        match self {
            Self::Green(task) | Self::Held(task) => Some(task),
            Self::Os(_) => None,
        }
    }

    /// Prefetches the lines that are needed to claim the thread and to run it.
    #[inline]
    pub(crate) fn prefetch(self) {
        self.task().into_iter().for_each(TaskRef::prefetch);
    }

    /// Tries to end the wait with `op`. Returns `None` if the wait was over, or if the thread never
    /// runs again because its runtime was dropped. The caller passes over both, so that another
    /// waiter gets the wake.
    ///
    /// # Safety
    ///
    /// The wait is registered with the caller in a way that keeps the waiting thread from leaving
    /// it: the caller holds the lock of the thread's queue.
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
                // SAFETY: the wait is registered, so its owner is still in it and keeps the record
                // alive.
                let thread = unsafe { thread.as_ref() };
                // Cloned first: once claimed, the thread's record may be gone.
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
