//! How a task is made, where it begins to run, and how it winds up on its own stack.

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
    /// - `F` and `T` may be sent to another thread. Both outlive the task: either they are
    ///   `'static`, or the caller waits for the task.
    // Always inlined: the attributes of a plain spawn are constants then. Passed through memory,
    // they would be written by narrow stores and read by wide loads, without store forwarding.
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
        // SAFETY: slots are at least 16 KiB, so the control block fits below the top. The top is
        // page-aligned, and the block's size and the colour are multiples of 64, so the block is
        // aligned to its 64 bytes.
        let place = unsafe { slot.top().sub(control_block_of(&slot)) }.cast::<Task>();
        // SAFETY: the bytes below the control block belong to the slot and are unused. The slot has
        // room for `MAX_INLINE` of them, and the fiber's stack begins below the cell. The control
        // block's address is aligned. `VTABLE` is of the same types.
        let cell = unsafe { TaskCell::new::<F, T>(place.cast(), f, &Types::<F, T>::VTABLE) };
        // SAFETY: the task keeps the slot until it is freed. Only the fiber uses the part below the
        // control block and the task cell.
        let stack = unsafe { Self::stack_in(&slot, place, &cell) };
        // SAFETY: the entry catches panics. It expects the task, which outlives its fiber.
        let fiber = unsafe { Fiber::new::<Types<F, T>>(stack, place.as_ptr().cast()) };
        let plain = attributes.pinned.is_none() && attributes.after.is_none();
        let body = Body {
            wait: WaitState::new(),
            fiber: UnsafeCell::new(fiber),
            suspender: Cell::new(MaybeUninit::uninit()),
            remote_call: Cell::new(None),
            last_child: Cell::new(std::ptr::null()),
            owner,
            cell,
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
            withdraws: Cell::new(false),
            is_over: Cell::new(false),
            temporary: Cell::new(std::ptr::null()),
            locals: Locals::new(),
        };
        // SAFETY: `place` is ours and large enough. The join state is initialized already: it is
        // zero, or as the slot's last task left it.
        unsafe {
            (&raw mut (*place.as_ptr()).body).write(body);
            (*place.as_ptr()).join.begin();
        }
        TaskRef(place)
    }
}

/// The types of a task's closure and result. Carries the fiber's entry and the other code that is
/// compiled for them.
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

    /// Drops the locals, and the result of a detached task, before the task is done. Runs on the
    /// task's own stack, so that these drops are green code too. Aborts the process if one panics.
    ///
    /// # Safety
    ///
    /// `task` is the calling task and has run its closure. `result` is the place of its result,
    /// which is not shared yet.
    #[cold]
    #[inline(never)]
    unsafe fn wind_up(task: &Task, result: NonNull<thread::Result<T>>) {
        loop {
            if task.join.is_detached() && !task.result_dropped.replace(true) {
                // SAFETY: the caller guarantees that the result is there and not shared. The flag
                // shows that it has not been dropped before.
                abort_on_panic("result", || unsafe { result.drop_in_place() });
            }
            if task.locals.is_empty() {
                break;
            }
            // The drops of locals may take long, and the task may be detached meanwhile. The
            // result's drop may use locals again. So both are checked in a loop.
            // SAFETY: this is the task itself. Its closure is gone, and with it everything that
            // could use the locals.
            abort_on_panic("green_local", || unsafe { task.locals.end() });
        }
    }

    /// Creates a fiber that winds the task up.
    ///
    /// # Safety
    ///
    /// The stack is that of `task`, a [`Task`] that has run its closure and is suspended nowhere.
    unsafe fn wind_up_on(stack: FiberStack, task: *mut ()) -> Fiber<SwitchRequest> {
        // SAFETY: the entry does not unwind. It expects the task, which the caller passes.
        unsafe { Fiber::new::<WindUp<F, T>>(stack, task) }
    }

    /// Drops the result. Aborts the process if that panics.
    ///
    /// # Safety
    ///
    /// The content is a result of type `T`, which is not used again.
    unsafe fn drop_result(content: NonNull<()>) {
        let result = content.cast::<thread::Result<T>>();
        // SAFETY: the caller guarantees that the content is a result and not used again.
        abort_on_panic("result", || unsafe { result.drop_in_place() });
    }

    /// Frees the memory of content on the heap.
    ///
    /// # Safety
    ///
    /// `TaskCell::new` boxed the content with these types, and the content itself is gone.
    unsafe fn free(content: NonNull<()>) {
        // SAFETY: the pointer is from a box of this type, says the caller. Dropping a union of
        // `ManuallyDrop`s only frees the memory.
        drop(unsafe { Box::from_raw(content.cast::<Content<F, T>>().as_ptr()) });
    }
}

/// Runs the closure and stores its result. The argument is the task whose cell has these types.
impl<F, T> Entry<SwitchRequest> for Types<F, T>
where
    F: FnOnce() -> T,
{
    // Dumps recognize the start of a thread's calls by this function's name.
    #[inline(never)]
    unsafe fn run(suspender: Suspender<SwitchRequest>, task: *mut ()) {
        // SAFETY: `TaskRef::new` passed the task, which outlives its fiber.
        let task = unsafe { entered(suspender, task) };
        let content = task.cell.content.cast::<Content<F, T>>();
        // SAFETY: the cell holds the closure, which is read once.
        let closure = unsafe { std::ptr::read(&raw const (*content.as_ptr()).closure) };
        let result = catch_unwind(AssertUnwindSafe(ManuallyDrop::into_inner(closure)));
        // SAFETY: the place is ours until the task is done. The result is at the start of the
        // union.
        unsafe { content.cast::<thread::Result<T>>().write(result) };
        if task.join.is_detached() || !task.locals.is_empty() {
            // SAFETY: this is the calling task. Its closure has run and is gone, and its result is
            // there and not shared.
            unsafe { Self::wind_up(task, content.cast()) };
        }
    }
}

/// The entry of a fiber that winds a task up again, because the task was detached after it had
/// wound up.
struct WindUp<F, T>(F, T);

impl<F, T> Entry<SwitchRequest> for WindUp<F, T>
where
    F: FnOnce() -> T,
{
    #[inline(never)]
    unsafe fn run(suspender: Suspender<SwitchRequest>, task: *mut ()) {
        // SAFETY: `wind_up_on` passed the task, which outlives its fibers.
        let task = unsafe { entered(suspender, task) };
        // SAFETY: this is the calling task. Its closure is gone, and its result is there and not
        // shared.
        unsafe { Types::<F, T>::wind_up(task, task.cell.content.cast()) };
    }
}

/// Stores the suspender of the fiber that the calling task has begun to run on. Returns the task.
///
/// # Safety
///
/// `task` points to the calling task, which outlives `'a`.
#[inline(always)]
unsafe fn entered<'a>(suspender: Suspender<SwitchRequest>, task: *mut ()) -> &'a Task {
    // SAFETY: the caller guarantees it.
    let task = unsafe { &*task.cast::<Task>() };
    task.suspender.set(MaybeUninit::new(suspender));
    task
}

/// Calls `f`, and aborts the process if it panics. Like std: a panic in a drop after the thread's
/// end has nowhere to be reported.
fn abort_on_panic(what: &str, f: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(f)).is_err() {
        eprintln!("fatal: a green thread's {what} panicked while it was dropped");
        std::process::abort();
    }
}
