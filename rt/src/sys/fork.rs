//! Processes that were forked from one with a runtime.
//!
//! The child of a `fork` has one OS thread, a copy of the one that called. None of the runtime's is there, so what
//! waits for them would wait for ever. Here is whether this process is such a child, and what it is told:
//! whatever is about to wait panics, whatever starts green threads or a runtime fails. The flag is asked only where a
//! thread is about to wait anyway; what green threads do on their way costs nothing, because the one that has
//! forked is one that may not suspend (`runtime/worker/fork_child.rs`).
//!
//! A process whose runtimes have all ended has nothing that a child would lack.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::{fmt, io, mem, ptr};

static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Runtimes that may have OS threads.
static RUNTIMES: AtomicUsize = AtomicUsize::new(0);

/// Cause and remedy.
pub(crate) const WHY: &str = "this process was forked from one that had a gthread runtime, of whose OS threads it has \
    none. Call exec in the child of a fork, or fork before the first use of gthread";

/// Returns `true` if this process is the child of one that had a runtime.
#[inline]
pub(crate) fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}

/// What to call in a child, as function pointers; null where there is room.
static HOOKS: [AtomicPtr<()>; 4] = [const { AtomicPtr::new(ptr::null_mut()) }; 4];

/// Has children of this process find out that they are. Where memory is too short for it, children are left to hang.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    // SAFETY: the function is of the right type, and does what may be done in a child.
    ONCE.call_once(|| unsafe { _ = libc::pthread_atfork(None, None, Some(in_child)) });
}

/// Has `hook` called in a child, before `fork` returns, when it is known whether this is a child that lacks a runtime. It
/// may do what a signal handler may. Each hook is called once, however often it is given.
pub(crate) fn on_child(hook: fn()) {
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

/// A runtime is about to start OS threads.
pub(crate) fn count_runtime() {
    RUNTIMES.fetch_add(1, Ordering::Relaxed);
}

/// All of its OS threads have ended.
pub(crate) fn forget_runtime() {
    RUNTIMES.fetch_sub(1, Ordering::Relaxed);
}

/// An error if this process is such a child.
pub(crate) fn check() -> io::Result<()> {
    if is_child() { Err(error()) } else { Ok(()) }
}

/// What starts something there gets this.
#[cold]
pub(crate) fn error() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, WHY)
}

/// A thread of the runtime's, or one in the middle of its code, cannot go on: ends the process.
#[cold]
pub(crate) fn end(what: fmt::Arguments<'_>) -> ! {
    // Not with the macro: a vanished thread may have its lock. Nothing can be done if nobody reads it.
    let text = format!("fatal: {what}: {WHY}\n");
    // SAFETY: the bytes are there. To exit so runs nothing of the parent's.
    unsafe {
        libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        libc::_exit(1)
    }
}
