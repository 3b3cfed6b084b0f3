//! The only reader of the runtime's thread-local: which worker is this OS thread?
//!
//! A green thread may continue on another OS thread after any suspension, and the compiler does not
//! know that: it may compute the address of a thread-local once and use it on both sides of a switch.
//! So the address never leaves the function below, which is never inlined, and the reference that it
//! gives out must not be kept across a suspension, wherever its caller is inlined.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use crate::runtime::worker::Worker;
use crate::task::header::{TaskRef, Temporary};
use crate::task::locals::Locals;
use crate::task::os_thread::os_locals;

thread_local! {
    static WORKER: Cell<*const Worker> = const { Cell::new(ptr::null()) };
    /// The temporary stack that an OS thread runs on outside any green thread.
    static TEMPORARY: Cell<*const Temporary> = const { Cell::new(ptr::null()) };
}

/// The temporary stack that the calling thread, green or not, runs on; null if it runs on its own.
#[inline(never)]
pub(crate) fn temporary() -> *const Temporary {
    running().map_or_else(|| TEMPORARY.with(Cell::get), |task| task.temporary.get())
}

/// The calling thread is about to run on a temporary stack, or no longer does.
#[inline(never)]
pub(crate) fn set_temporary(stack: *const Temporary) {
    match running() {
        Some(task) => task.temporary.set(stack),
        None => TEMPORARY.with(|current| current.set(stack)),
    }
}

/// What the calling thread, green or not, keeps in `green_local!`s. Valid until the thread ends. On an OS thread it is that thread's: nothing moves to another from there.
#[inline(never)]
pub(crate) fn locals() -> NonNull<Locals> {
    running().map_or_else(os_locals, |task| NonNull::from(&task.as_ref().locals))
}

/// The green thread that calls, whether or not it may suspend.
pub(crate) fn running() -> Option<TaskRef> {
    with(|worker| worker.and_then(Worker::running))
}

#[inline(never)]
fn get() -> *const Worker {
    WORKER.with(Cell::get)
}

/// Makes `worker` the calling OS thread's, for as long as the guard lives.
pub(crate) fn enter(worker: &Worker) -> Entered<'_> {
    WORKER.with(|current| current.set(worker));
    Entered { _worker: worker }
}

pub(crate) struct Entered<'a> {
    _worker: &'a Worker,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        WORKER.with(|current| current.set(ptr::null()));
    }
}

/// Calls `f` with the worker that the caller runs on, if it runs on one. `f` must not suspend; so it runs nothing of the
/// program's: no closure, no drop of a value, no hook. Debug builds find out if it does (`Worker::run_task`).
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    #[cfg(debug_assertions)]
    let _lent = lent::Lent::new();
    // SAFETY: a non-null pointer was set by `enter` on this OS thread, which borrows the worker until
    // the guard resets it. The reference does not outlive this call, in which the caller stays on
    // this OS thread.
    f(NonNull::new(get().cast_mut()).map(|worker| unsafe { worker.as_ref() }))
}

/// In debug builds: whether the calling OS thread is inside [`with`].
#[cfg(debug_assertions)]
pub(crate) mod lent {
    use std::cell::Cell;

    thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
    }

    #[inline(never)]
    fn enter() {
        DEPTH.with(|depth| depth.set(depth.get() + 1));
    }

    #[inline(never)]
    fn leave() {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }

    /// By a worker, on its own stack.
    #[inline(never)]
    pub(crate) fn assert_not() {
        let depth = DEPTH.with(Cell::get);
        assert_eq!(depth, 0, "a task was suspended while its worker was borrowed");
    }

    pub(crate) struct Lent;

    impl Lent {
        pub(crate) fn new() -> Self {
            enter();
            Self
        }
    }

    impl Drop for Lent {
        fn drop(&mut self) {
            leave();
        }
    }
}
