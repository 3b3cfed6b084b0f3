//! The closure of a task, and then its result, in the same place.

use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::thread;

use gthread_arch::{Entry, Fiber, FiberStack, Suspender};

use super::{Command, Task};

/// A closure until the task starts, its result once it has ended. `repr(C)`: both start at the start.
#[repr(C)]
union Content<F, T> {
    closure: ManuallyDrop<F>,
    result: ManuallyDrop<thread::Result<T>>,
}

/// What can be done with a packet whose types are forgotten.
pub(crate) struct VTable {
    /// Drops the stored result.
    pub(crate) drop_result: unsafe fn(NonNull<()>),
    /// Makes a fiber that winds the task up once more.
    pub(super) wind_up: unsafe fn(FiberStack, *mut ()) -> Fiber<Command>,
    /// Frees the packet's memory, if it is on the heap.
    free: Option<unsafe fn(NonNull<()>)>,
}

/// A packet larger than this, or aligned more strictly, goes to the heap: it would crowd the stack.
const INLINE_SIZE: usize = 1024;
const INLINE_ALIGN: usize = 64;

/// Bytes that a packet may take at the top of a slot.
pub(super) const MAX_INLINE: usize = INLINE_SIZE + INLINE_ALIGN;

/// Where the content of a task's packet is, and what it is.
pub(crate) struct Packet {
    content: NonNull<()>,
    vtable: &'static VTable,
}

impl Packet {
    /// Stores `f` below `limit`, or on the heap if it is large.
    ///
    /// # Safety
    ///
    /// At least `INLINE_SIZE + INLINE_ALIGN` bytes below `limit` are the caller's, unused, and stay so
    /// until the packet is freed. `limit` is aligned to `INLINE_ALIGN`.
    #[inline]
    pub(super) unsafe fn new<F, T>(limit: NonNull<u8>, f: F) -> Self
    where
        F: FnOnce() -> T,
    {
        let content = Content::<F, T> { closure: ManuallyDrop::new(f) };
        let place = if Types::<F, T>::INLINE {
            // SAFETY: `Types::BYTES` is at most INLINE_SIZE rounded up to the alignment.
            let place = unsafe { limit.sub(Types::<F, T>::BYTES) }.cast::<Content<F, T>>();
            // SAFETY: the bytes are ours, and aligned because limit and BYTES are.
            unsafe { place.write(content) };
            place
        } else {
            NonNull::from(Box::leak(Box::new(content)))
        };
        Self { content: place.cast(), vtable: &Types::<F, T>::VTABLE }
    }

    #[inline]
    pub(super) fn vtable(&self) -> &'static VTable {
        self.vtable
    }

    pub(super) fn content(&self) -> NonNull<()> {
        self.content
    }

    /// The lowest address in use by the packet, given the limit it was made with.
    #[inline]
    pub(super) fn lowest(&self, limit: usize) -> usize {
        match self.vtable.free {
            None => self.content.as_ptr() as usize,
            Some(_) => limit,
        }
    }

    /// Moves the result out.
    ///
    /// # Safety
    ///
    /// `T` is the type the packet was made with, the entry has run to its end, and the result was
    /// neither taken nor dropped.
    #[inline]
    pub(super) unsafe fn take_result<T>(&self) -> thread::Result<T> {
        // SAFETY: the result is at the start of the union whatever the closure's type was.
        unsafe { self.content.cast::<thread::Result<T>>().read() }
    }

    /// Frees the memory; the content is gone already.
    ///
    /// # Safety
    ///
    /// Once, last.
    #[inline]
    pub(super) unsafe fn free(&mut self) {
        if let Some(free) = self.vtable.free {
            // SAFETY: the content is on the heap and nobody uses it any more.
            unsafe { free(self.content) };
        }
    }
}

/// The types of a packet, and what follows from them at compile time.
pub(super) struct Types<F, T>(F, T);

impl<F, T> Types<F, T>
where
    F: FnOnce() -> T,
{
    const INLINE: bool =
        size_of::<Content<F, T>>() <= INLINE_SIZE && align_of::<Content<F, T>>() <= INLINE_ALIGN;

    /// Bytes that an inline packet takes, rounded so that its start is aligned as strictly as any.
    const BYTES: usize = {
        let align = if align_of::<Content<F, T>>() < 16 { 16 } else { align_of::<Content<F, T>>() };
        size_of::<Content<F, T>>().next_multiple_of(align)
    };

    const VTABLE: VTable = VTable {
        drop_result: Self::drop_result,
        wind_up: Self::wind_up_on,
        free: if Self::INLINE { None } else { Some(Self::free) },
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
    unsafe fn wind_up_on(stack: FiberStack, task: *mut ()) -> Fiber<Command> {
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
    /// The content was boxed by `Packet::new` with these types, and is gone.
    unsafe fn free(content: NonNull<()>) {
        // SAFETY: the caller's; a union of `ManuallyDrop`s drops nothing but its memory.
        drop(unsafe { Box::from_raw(content.cast::<Content<F, T>>().as_ptr()) });
    }
}

/// Runs the closure and stores its result. What it is given is the task whose packet has these types.
impl<F, T> Entry<Command> for Types<F, T>
where
    F: FnOnce() -> T,
{
    // By its name dumps know where a thread's calls begin.
    #[inline(never)]
    unsafe fn run(suspender: Suspender<Command>, task: *mut ()) {
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

impl<F, T> Entry<Command> for WindUp<F, T>
where
    F: FnOnce() -> T,
{
    #[inline(never)]
    unsafe fn run(suspender: Suspender<Command>, task: *mut ()) {
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
