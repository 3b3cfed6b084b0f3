//! How a task is made, and where it begins to run.

use std::cell::{Cell, UnsafeCell};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::thread;

use gthread_arch::stacks::Slot;
use gthread_arch::{Entry, Fiber, FiberStack, Suspender};

use crate::task::cell::{Content, TaskCell, VTable};
use crate::task::cpu_bound::CpuBound;
use crate::task::header::{Attributes, Body, Task, TaskRef, control_block_of};
use crate::task::locals::Locals;
use crate::task::owner::Owner;
use crate::task::switch_request::SwitchRequest;
use crate::task::wait_state::WaitState;

impl TaskRef {
    /// Builds a task that will run `f`, with two references: its own and the caller's.
    ///
    /// # Safety
    ///
    /// - The owner outlives the task.
    /// - `F` and `T` may be sent to another thread, and outlive the task: either they are `'static`,
    ///   or the caller waits for the task.
    // Inlined whatever its size: the attributes of a plain spawn are constants then. Passed through
    // memory they cost a fifth of the spawn (narrow stores, wide loads, no store forwarding).
    #[inline(always)]
    pub(crate) unsafe fn new<F, T>(
        owner: Owner,
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
        let packet = unsafe { TaskCell::new::<F, T>(place.cast(), f, &Types::<F, T>::VTABLE) };
        // SAFETY: the slot is kept in the task until it is freed, and the fiber uses what is below
        // control block and packet.
        let stack = unsafe { Self::stack_in(&slot, place, &packet) };
        // SAFETY: the entry catches panics; it expects the task, which outlives its fiber.
        let fiber = unsafe { Fiber::new::<Types<F, T>>(stack, place.as_ptr().cast()) };
        let plain = attributes.pinned.is_none() && attributes.after.is_none();
        let body = Body {
            wait: WaitState::new(),
            fiber: UnsafeCell::new(fiber),
            suspender: Cell::new(MaybeUninit::uninit()),
            errand: Cell::new(None),
            last_child: Cell::new(std::ptr::null()),
            owner,
            packet,
            joiner: UnsafeCell::new(None),
            slot: Cell::new(Some(slot)),
            after: Cell::new(attributes.after),
            id: attributes.id,
            site: attributes.site,
            name: attributes.name,
            plain,
            result_dropped: Cell::new(false),
            cpu_bound: Cell::new(CpuBound::No),
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
}

/// The types of a task's closure and result: the fiber's entry, and what else is compiled for them.
pub(crate) struct Types<F, T>(F, T);

impl<F, T> Types<F, T>
where
    F: FnOnce() -> T,
{
    const VTABLE: VTable = VTable {
        drop_result: Self::drop_result,
        wind_up: Self::wind_up_on,
        free: if Content::<F, T>::INLINE { None } else { Some(Self::free) },
    };

    /// Drops what is to be dropped before the task is done, on its own stack, so that this is green code too.
    ///
    /// # Safety
    ///
    /// `task` is the calling task and has run its closure. `result` is the place of its result, which is not shared yet.
    #[cold]
    #[inline(never)]
    unsafe fn wind_up(task: &Task, result: NonNull<thread::Result<T>>) {
        loop {
            if task.join.is_detached() && !task.result_dropped.replace(true) {
                // SAFETY: the caller's; it has not been dropped before.
                abort_on_panic("result", || unsafe { result.drop_in_place() });
            }
            if task.locals.is_empty() {
                break;
            }
            // Their drops may take long, and detach the task meanwhile; and its result's may use them again.
            // SAFETY: the caller's: the closure is gone, and with it all that could use them.
            abort_on_panic("green_local", || unsafe { task.locals.end() });
        }
    }

    /// # Safety
    ///
    /// The stack is the task's, which has run its closure and is suspended nowhere; `task` is a [`Task`].
    unsafe fn wind_up_on(stack: FiberStack, task: *mut ()) -> Fiber<SwitchRequest> {
        // SAFETY: the entry does not unwind, and expects the task.
        unsafe { Fiber::new::<WindUp<F, T>>(stack, task) }
    }

    /// # Safety
    ///
    /// The content is a result, which is not used again.
    unsafe fn drop_result(content: NonNull<()>) {
        let result = content.cast::<thread::Result<T>>();
        // SAFETY: the caller's.
        abort_on_panic("result", || unsafe { result.drop_in_place() });
    }

    /// # Safety
    ///
    /// The content was boxed by `TaskCell::new` with these types, and is gone.
    unsafe fn free(content: NonNull<()>) {
        // SAFETY: the caller's; a union of `ManuallyDrop`s drops nothing but its memory.
        drop(unsafe { Box::from_raw(content.cast::<Content<F, T>>().as_ptr()) });
    }
}

/// Runs the closure and stores its result. What it is given is the task whose packet has these types.
impl<F, T> Entry<SwitchRequest> for Types<F, T>
where
    F: FnOnce() -> T,
{
    // By its name dumps know where a thread's calls begin.
    #[inline(never)]
    unsafe fn run(suspender: Suspender<SwitchRequest>, task: *mut ()) {
        // SAFETY: the caller's.
        let task = unsafe { &*task.cast::<Task>() };
        task.suspender.set(MaybeUninit::new(suspender));
        let content = task.packet.content.cast::<Content<F, T>>();
        // SAFETY: the packet holds the closure, which is read once.
        let closure = unsafe { std::ptr::read(&raw const (*content.as_ptr()).closure) };
        let result = catch_unwind(AssertUnwindSafe(ManuallyDrop::into_inner(closure)));
        // SAFETY: the place is ours until the task is done; the result lies at the union's start.
        unsafe { content.cast::<thread::Result<T>>().write(result) };
        if task.join.is_detached() || !task.locals.is_empty() {
            // SAFETY: we are the task, and the result is there; the closure is gone.
            unsafe { Self::wind_up(task, content.cast()) };
        }
    }
}

/// Winds up a task that was detached when it had done so before.
struct WindUp<F, T>(F, T);

impl<F, T> Entry<SwitchRequest> for WindUp<F, T>
where
    F: FnOnce() -> T,
{
    #[inline(never)]
    unsafe fn run(suspender: Suspender<SwitchRequest>, task: *mut ()) {
        // SAFETY: the caller's.
        let task = unsafe { &*task.cast::<Task>() };
        task.suspender.set(MaybeUninit::new(suspender));
        // SAFETY: we are the task, and its closure is gone.
        unsafe { Types::<F, T>::wind_up(task, task.packet.content.cast()) };
    }
}

/// As std: what panics in its drop after the thread's end has nobody to report to.
fn abort_on_panic(what: &str, f: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(f)).is_err() {
        eprintln!("fatal: a green thread's {what} panicked while it was dropped");
        std::process::abort();
    }
}
