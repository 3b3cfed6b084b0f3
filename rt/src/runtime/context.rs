//! The thread-locals of the runtime: the worker and the temporary stack of the calling OS thread.
//! No other file uses them.
//!
//! A green thread may continue on another OS thread after any suspension, and the compiler does not
//! know that: it may compute the address of a thread-local once and use it on both sides of a
//! switch. So the address never leaves the functions below that access a thread-local for a green
//! thread, and these are never inlined. The reference to the worker that [`with`] lends must not be
//! kept across a suspension, wherever its caller is inlined.

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

/// Returns the temporary stack on which the calling thread, green or not, runs. Null if it runs on
/// its own stack.
#[inline(never)]
pub(crate) fn temporary() -> *const Temporary {
    running().map_or_else(|| TEMPORARY.with(Cell::get), |task| task.temporary.get())
}

/// Notes that the calling thread is about to run on a temporary stack, or returns to the one below
/// it, or to its own stack (null).
#[inline(never)]
pub(crate) fn set_temporary(stack: *const Temporary) {
    match running() {
        Some(task) => task.temporary.set(stack),
        None => TEMPORARY.with(|current| current.set(stack)),
    }
}

/// Returns the values that the calling thread, green or not, keeps in `green_local!`s. Valid until
/// the thread ends. On an OS thread they are that thread's, from which no caller moves to another.
#[inline(never)]
pub(crate) fn locals() -> NonNull<Locals> {
    running().map_or_else(os_locals, |task| NonNull::from(&task.as_ref().locals))
}

/// Returns the calling green thread, whether or not it may suspend.
pub(crate) fn running() -> Option<TaskRef> {
    with(|worker| worker.and_then(Worker::running))
}

#[inline(never)]
fn get() -> *const Worker {
    WORKER.with(Cell::get)
}

/// Makes `worker` the worker of the calling OS thread, for the lifetime of the guard.
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

/// Calls `f` with the worker on which the caller runs, if it runs on one. `f` must not suspend. So
/// it runs no code of the user: no closure, no drop of a value, no hook. Debug builds check that it
/// has not suspended (`Worker::run_task`).
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    #[cfg(debug_assertions)]
    let _lent = lent::Lent::new();
    // SAFETY: a non-null pointer was set by `enter` on this OS thread, which borrows the worker until
    // the guard resets it. The reference does not outlive this call, in which the caller stays on
    // this OS thread.
    f(NonNull::new(get().cast_mut()).map(|worker| unsafe { worker.as_ref() }))
}

/// Checks in debug builds whether the calling OS thread is inside [`with`].
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

    /// Panics if the OS thread is inside `with`. Called by a worker, on its own stack.
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
