//! Detection of `fork`: processes that were forked from a process with a runtime.
//!
//! The child of a `fork` has one OS thread, a copy of the caller. It has none of the runtime's OS
//! threads, so a thread that waited for them would wait for ever. This file records whether the
//! process is such a child, and has the error for it. In a child, every operation that is about to
//! wait panics, and starting a green thread or a runtime fails. The flag is read only where a
//! thread is about to wait anyway. The fast paths of green threads pay nothing, because the green
//! thread that has forked may not suspend (`runtime/worker/fork_child.rs`).
//!
//! If all runtimes of the process have ended, a child lacks nothing.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::{fmt, io, mem, ptr};

static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// The number of runtimes that may have OS threads.
static RUNTIMES: AtomicUsize = AtomicUsize::new(0);

/// The cause and the remedy, for messages.
pub(crate) const WHY: &str = "this process was forked from one that had a gthread runtime, of whose OS threads it has \
    none. Call exec in the child of a fork, or fork before the first use of gthread";

/// Returns `true` if this process is the child of one that had a runtime.
#[inline]
pub(crate) fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}

/// Functions to call in a child, as function pointers; null where there is room.
static HOOKS: [AtomicPtr<()>; 4] = [const { AtomicPtr::new(ptr::null_mut()) }; 4];

/// Makes children of this process find out that they are children. If memory is too short for that,
/// children hang.
fn watch() {
    static ONCE: Once = Once::new();
    // SAFETY: the function is of the right type, and does only what is allowed in a child.
    ONCE.call_once(|| unsafe { _ = libc::pthread_atfork(None, None, Some(in_child)) });
}

/// Has `hook` called in a child before `fork` returns, when the child knows whether it lacks a
/// runtime. The hook may do what a signal handler may. Each hook is called once, however often it
/// is passed here.
pub(crate) fn on_child(hook: fn()) {
    watch();
    let new = hook as *mut ();
    let is_there = HOOKS.iter().any(|place| {
        let (success, failure) = (Ordering::Release, Ordering::Relaxed);
        match place.compare_exchange(ptr::null_mut(), new, success, failure) {
            Ok(_) => true,
            Err(other) => other == new,
        }
    });
    assert!(is_there, "there is room for every hook of this crate");
}

extern "C" fn in_child() {
    if RUNTIMES.load(Ordering::Relaxed) > 0 {
        IS_CHILD.store(true, Ordering::Relaxed);
    }
    for hook in &HOOKS {
        let hook = hook.load(Ordering::Acquire);
        if !hook.is_null() {
            // SAFETY: `on_child` stores functions of this type, and nothing else.
            unsafe { mem::transmute::<*mut (), fn()>(hook)() };
        }
    }
}

/// Counts a runtime that is about to start OS threads.
pub(crate) fn count_runtime() {
    watch();
    RUNTIMES.fetch_add(1, Ordering::Relaxed);
}

/// Uncounts a runtime whose OS threads have all ended.
pub(crate) fn forget_runtime() {
    RUNTIMES.fetch_sub(1, Ordering::Relaxed);
}

/// Returns an error if this process is the child of one that had a runtime.
pub(crate) fn check() -> io::Result<()> {
    if is_child() { Err(error()) } else { Ok(()) }
}

/// Creates the error for starting something in such a child.
#[cold]
pub(crate) fn error() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, WHY)
}

/// Ends the process, because a thread of the runtime, or one in the middle of its code, cannot go
/// on.
#[cold]
pub(crate) fn end(what: fmt::Arguments<'_>) -> ! {
    // Not with the macro: a vanished thread may hold its lock. If the write fails, nothing can be
    // done.
    let text = format!("fatal: {what}: {WHY}\n");
    // SAFETY: the bytes are alive during the call. `_exit` runs no code of the parent.
    unsafe {
        libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        libc::_exit(1)
    }
}
