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

pub(crate) mod command;
mod debugger;
mod end;
pub(crate) mod half;
mod hog;
pub(crate) mod holder;
pub(crate) mod join;
pub(crate) mod locals;
mod note;
mod os;
mod os_end;
mod packet;
mod prefetch;
mod reason;
pub(crate) mod state;
mod waiter;

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::panic::Location;
use std::ptr::NonNull;

use gthread_arch::stacks::Slot;
use gthread_arch::{Fiber, FiberStack, Suspender, Switch};

use crate::dump::Errand;
use crate::sched::Sched;
use command::Command;
use join::JoinWord;
use locals::Locals;
use state::WaitCell;

pub(crate) use end::After;
pub(crate) use hog::Hog;
pub(crate) use note::{OsWait, Target};
pub(crate) use os::{OsAsleep, OsThread, os_locals, os_thread_number};
use packet::{Packet, Types};
pub(crate) use reason::Reason;
pub(crate) use waiter::{Waiter, Wake};

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
    pub(crate) join: JoinWord,
    body: Body,
}

/// All of a control block but the word that says whether there is one.
#[repr(C)]
pub(crate) struct Body {
    pub(crate) wait: WaitCell,
    fiber: UnsafeCell<Fiber<Command>>,
    suspender: Cell<MaybeUninit<Suspender<Command>>>,
    /// What it is resumed for, if it is to suspend again at once, or [`END`]. Goes with the fiber.
    errand: Cell<Option<NonNull<Errand>>>,
    /// The child that it forked last, for the worker that finishes that. Written by the worker that runs
    /// the task, between the task's suspension and its becoming stealable; so it is read by who holds it.
    /// Null before it forks. Only compared.
    last_child: Cell<*const Task>,
    /// The scheduler it belongs to; outlives the task (see `Sched`).
    sched: NonNull<Sched>,
    packet: Packet,
    joiner: UnsafeCell<Option<Waiter>>,
    slot: Cell<Option<Slot>>,
    after: Cell<Option<After>>,
    pub(crate) id: NonZeroU64,
    pub(crate) site: &'static Location<'static>,
    pub(crate) name: Option<Box<str>>,
    pinned: Option<u32>,
    /// Finishing the task is a matter of its join word alone: it is not pinned, and nothing comes after.
    pub(crate) plain: bool,
    /// It was detached, and has dropped its result.
    result_dropped: Cell<bool>,
    /// Whether it computes for long. Goes with the fiber. (In a line that whoever makes it runnable reads.)
    pub(crate) hog: Cell<Hog>,
    /// Where the task last waited, why and since when, and for whom: written by the task itself, read by
    /// dumps when it is suspended. The others only if there is a place, and `waits_for` only if the reason has
    /// one: a task that never waits does not pay for them.
    waits_at: Cell<Option<&'static Location<'static>>>,
    waits: Cell<MaybeUninit<(Reason, bool, u64)>>,
    waits_for: Cell<MaybeUninit<NonNull<()>>>,
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
const END: NonNull<Errand> = NonNull::dangling();

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
pub(crate) struct TaskRef(NonNull<Task>);

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
const _: () = assert!(Slot::MAX_COLOUR + size_of::<Task>() + packet::MAX_INLINE <= ABOVE_STACK);

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

    #[inline]
    pub(crate) fn as_ptr(self) -> *mut Task {
        self.0.as_ptr()
    }

    /// Builds a task that will run `f`, with two references: its own and the caller's.
    ///
    /// # Safety
    ///
    /// - `sched` outlives the task.
    /// - `F` and `T` may be sent to another thread, and outlive the task: either they are `'static`,
    ///   or the caller waits for the task.
    // Inlined whatever its size: the attributes of a plain spawn are constants then. Passed through
    // memory they cost a fifth of the spawn (narrow stores, wide loads, no store forwarding).
    #[inline(always)]
    pub(crate) unsafe fn new<F, T>(
        sched: &Sched,
        slot: Slot,
        attributes: Attributes,
        f: F,
    ) -> TaskRef
    where
        F: FnOnce() -> T,
    {
        // SAFETY: slots are at least 16 KiB and page-aligned, so the control block fits below the top,
        // aligned to its 64 bytes because its size and the colour are multiples of that.
        let place = unsafe { slot.top().sub(control_block_of(&slot)) }.cast::<Task>();
        // SAFETY: the bytes below the control block are the slot's, unused.
        let packet = unsafe { Packet::new::<F, T>(place.cast(), f) };
        // SAFETY: the slot is kept in the task until it is freed, and the fiber uses what is below
        // control block and packet.
        let stack = unsafe { Self::stack_in(&slot, place, &packet) };
        // SAFETY: the entry catches panics; it expects the task, which outlives its fiber.
        let fiber = unsafe { Fiber::new::<Types<F, T>>(stack, place.as_ptr().cast()) };
        let plain = attributes.pinned.is_none() && attributes.after.is_none();
        let body = Body {
            wait: WaitCell::new(),
            fiber: UnsafeCell::new(fiber),
            suspender: Cell::new(MaybeUninit::uninit()),
            errand: Cell::new(None),
            last_child: Cell::new(std::ptr::null()),
            sched: NonNull::from(sched),
            packet,
            joiner: UnsafeCell::new(None),
            slot: Cell::new(Some(slot)),
            after: Cell::new(attributes.after),
            id: attributes.id,
            site: attributes.site,
            name: attributes.name,
            plain,
            result_dropped: Cell::new(false),
            hog: Cell::new(Hog::No),
            pinned: attributes.pinned,
            waits_at: Cell::new(None),
            waits: Cell::new(MaybeUninit::uninit()),
            waits_for: Cell::new(MaybeUninit::uninit()),
            ends: Cell::new(false),
            is_over: Cell::new(false),
            temporary: Cell::new(std::ptr::null()),
            locals: Locals::new(),
        };
        // SAFETY: `place` is ours and large enough. The join word is there before: zero, or as the last
        // task in this slot has left it.
        unsafe {
            (&raw mut (*place.as_ptr()).body).write(body);
            (*place.as_ptr()).join.begin();
        }
        TaskRef(place)
    }

    /// The part of a slot that is below its control block and packet.
    ///
    /// # Safety
    ///
    /// The slot outlives the stack's use, and nothing else uses that part.
    #[inline(always)]
    unsafe fn stack_in(slot: &Slot, place: NonNull<Task>, packet: &Packet) -> FiberStack {
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
    /// - The task was seen asleep ([`WaitCell::is_asleep`]) since it last ran.
    /// - Nobody else has its fiber: it does not run, and nobody can make it run meanwhile.
    pub(crate) unsafe fn send(self, errand: &Errand) {
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
    /// - Its wait was [ended](WaitCell::end) since it last ran.
    /// - Nobody else has its fiber, and nobody can make it run meanwhile.
    pub(crate) unsafe fn resume_to_end(self) -> Switch<Command> {
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
    pub(crate) unsafe fn resume(self) -> Switch<Command> {
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
    pub(crate) unsafe fn suspend(self, command: Command) {
        // SAFETY: the task runs, so its entry has stored the suspender; it is this fiber's.
        unsafe { self.suspender.get().assume_init().suspend(command) };
    }

    /// [`TaskRef::suspend`], to wait: with a command after which the task is asleep. Dumps look into it then.
    ///
    /// # Safety
    ///
    /// As [`TaskRef::suspend`].
    #[inline(always)]
    pub(crate) unsafe fn suspend_asleep(self, command: Command) -> Resumed {
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
    unsafe fn do_errands(self, command: Command) -> Resumed {
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

    #[inline]
    pub(crate) fn sched(&self) -> &Sched {
        // SAFETY: `TaskRef::new` requires that it outlives the task.
        unsafe { self.sched.as_ref() }
    }

    /// The worker that alone may run this task, if it is pinned.
    #[inline]
    pub(crate) fn pinned(&self) -> Option<u32> {
        self.pinned
    }
}
