//! `join`: two closures, perhaps in parallel.
//!
//! The first runs at once, in the caller's frame. The second waits there meanwhile, and the worker
//! knows of it (`runtime/worker/fork_join.rs`). If no other worker has taken it by the end of the first, the
//! caller runs it too; the whole cost is then adding it to a list and removing it. It becomes a
//! separate green thread if another worker is idle, or if the caller is suspended. (This is lazy
//! task creation by Mohr, Kranz and Halstead, and rayon's `join`.)
//!
//! If the caller cannot do that, because the stack is nearly used up or because another thread is
//! due to run, the first half runs as a green thread, like a child.

use std::cell::{Cell, UnsafeCell};
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::ptr::NonNull;

use gthread_arch::stacks::Slot;

use crate::runtime::context;
use crate::runtime::worker::Worker;
use crate::runtime::worker::fork_join::Deferred;
use crate::task::header::{Attributes, TaskRef};
use crate::task::owner::Owner;
use crate::task::stack_job::{StackJob, StackJobRef};
use crate::thread::scope::run;
use crate::thread::spawn::{JoinHandle, Options, start};
use crate::wait::park;

/// Runs two closures, perhaps in parallel, and returns both results, like `rayon::join`.
///
/// `a` runs at once, in the calling green thread, and then `b` does, unless it was started
/// meanwhile as a separate green thread. That happens if another worker has nothing to do, or if
/// the caller is suspended inside `a`. So either closure may wait for the other. Both may borrow. A
/// suspension point. On an OS thread the whole call moves into the default runtime, while the OS
/// thread waits.
///
/// Nested calls of `join` share the caller's stack up to a quarter of it, and continue on another
/// stack from there. If no stack can be had the closures run one after the other.
///
/// # Panics
///
/// If one of them panics, with its payload, after both have ended. If both panic, with the payload
/// of `a`.
///
/// # Examples
///
/// ```
/// fn fib(n: u32) -> u32 {
///     if n < 2 {
///         return n;
///     }
///     let (a, b) = gthread::join(|| fib(n - 1), || fib(n - 2));
///     a + b
/// }
/// assert_eq!(fib(12), 144);
/// ```
#[track_caller]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    join_at(Location::caller(), a, b)
}

fn join_at<A, B, RA, RB>(site: &'static Location<'static>, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    let frame = Frame::new(site, b);
    loop {
        // SAFETY: the frame stays until `take_back`, which is called whether or not `a` panics.
        let defer = |worker: &Worker| unsafe { worker.defer(frame.job()) };
        match context::with(|worker| worker.map(defer)) {
            Some(Deferred::Yes) => break,
            Some(Deferred::Later) => park::yield_at(site),
            Some(Deferred::Never) => return join_apart(site, a, frame.into_closure()),
            None => return run(|| join_at(site, a, frame.into_closure())),
        }
    }
    let ra = catch_unwind(AssertUnwindSafe(a));
    // Possibly not the same worker as before.
    context::with(|worker| {
        worker.expect("a green thread runs on a worker").take_back(frame.job());
    });
    let ra = match ra {
        Ok(ra) if !frame.is_started() => return (ra, frame.into_closure()()),
        ra => ra,
    };
    match (ra, frame.into_result()) {
        (Ok(ra), Ok(rb)) => (ra, rb),
        (Err(payload), _) | (_, Err(payload)) => resume_unwind(payload),
    }
}

/// A caller's frame. Other threads use it as the deferred second half.
///
/// Invariant: the owner of the [`StackJobRef`] has exclusive access to the frame. From `take_back`
/// on, that is the caller.
#[repr(C)]
struct Frame<B, RB> {
    /// First, so that its address is the frame's.
    job: StackJob,
    site: &'static Location<'static>,
    closure: UnsafeCell<Option<B>>,
    /// The thread that the half has become.
    thread: Cell<Option<JoinHandle<RB>>>,
}

impl<B, RB> Frame<B, RB>
where
    B: FnOnce() -> RB + Send,
    RB: Send,
{
    #[inline]
    fn new(site: &'static Location<'static>, closure: B) -> Self {
        // SAFETY: the half becomes part of a frame of this type below, and the types are `Send`.
        let job = unsafe { StackJob::new(Self::start) };
        Self { job, site, closure: UnsafeCell::new(Some(closure)), thread: Cell::new(None) }
    }

    #[inline]
    fn job(&self) -> StackJobRef {
        // SAFETY: the callers keep the frame until `take_back`, see `join_at`.
        unsafe { StackJobRef::new(NonNull::from(self).cast()) }
    }

    /// Starts the half as a green thread.
    ///
    /// # Safety
    ///
    /// `half` is that of a frame of this type, which the caller has exclusively, and whose closure
    /// is there.
    unsafe fn start(job: NonNull<StackJob>, owner: Owner, slot: Slot, id: NonZeroU64) -> TaskRef {
        // SAFETY: the caller guarantees the type of the frame; with `repr(C)` the half is its first
        // field.
        let frame = unsafe { job.cast::<Self>().as_ref() };
        let attributes = Attributes { id, name: None, site: frame.site, pinned: None, after: None };
        // SAFETY: the caller has the frame exclusively, so no other thread uses the closure.
        let closure = unsafe { (*frame.closure.get()).take() }.expect("started once");
        // SAFETY: the scheduler outlives its tasks. The types are `Send`. The data that they borrow
        // outlives the thread: the frame's function waits for the thread, or the thread never runs
        // again, in the child of a `fork`.
        let task = unsafe { TaskRef::new::<B, RB>(owner, slot, attributes, closure) };
        // SAFETY: the task was created with result type `RB`, and one of its references is the
        // handle's.
        frame.thread.set(Some(unsafe { JoinHandle::from_ref(task) }));
        task
    }

    #[inline]
    fn is_started(&self) -> bool {
        // SAFETY: only called after `take_back`, so the frame is the caller's alone.
        unsafe { (*self.closure.get()).is_none() }
    }

    #[inline]
    fn into_closure(self) -> B {
        self.closure.into_inner().expect("neither called nor started")
    }

    /// Returns the result of the closure, by calling it here or by waiting for its thread.
    #[cold]
    fn into_result(self) -> std::thread::Result<RB> {
        let site = self.site;
        match self.thread.into_inner() {
            Some(thread) => {
                thread.wait(site).unwrap_or_else(|dropped| Err(Box::new(dropped.text())))
            }
            None => {
                let closure = self.closure.into_inner().expect("neither called nor started");
                catch_unwind(AssertUnwindSafe(closure))
            }
        }
    }
}

/// Runs the first half at once, as a green thread. The second half runs here, as soon as the first
/// parks or ends, or on another worker that steals the caller's continuation meanwhile.
#[cold]
fn join_apart<A, B, RA, RB>(site: &'static Location<'static>, a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    // The closure stays here if the thread cannot be started.
    let mut a = Some(a);
    let taken = SendPtr(&raw mut a);
    // SAFETY: the types are `Send`. This function does not return or unwind before the thread was
    // joined, so `a` and all data that the closures borrow outlive it. (In the child of a `fork` it
    // does, and the thread never runs again: `runtime/worker/fork_child.rs`.)
    let handle = unsafe {
        start(Options::new(site), move || {
            let taken = taken;
            (*taken.0).take().expect("taken once")()
        })
    };
    let Ok(handle) = handle else {
        let ra = a.take().expect("no thread was started to take it")();
        return (ra, b());
    };
    let rb = catch_unwind(AssertUnwindSafe(b));
    match (handle.join(), rb) {
        (Ok(ra), Ok(rb)) => (ra, rb),
        (Err(payload), _) | (_, Err(payload)) => resume_unwind(payload),
    }
}

/// A pointer that one other thread may use.
struct SendPtr<T>(*mut T);

// SAFETY: one green thread, which `join_apart` creates and waits for, moves the value out, which is
// `Send`. No other thread uses the place meanwhile.
unsafe impl<T: Send> Send for SendPtr<T> {}
