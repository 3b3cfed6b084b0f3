//! What an OS thread owns until its very end: dropped after all its thread-locals.
//!
//! A thread-local with a destructor cannot be the owner. Destructors of thread-locals run one after the other, in an
//! order that depends on which variable was touched first, and those that run later may still ask for what it owned.
//! The destructors of POSIX thread-specific data run after all of them, and in rounds: one that finds its value set
//! again is called in the next round. Every system has four at least ([`ROUNDS`]), so that the last of them comes
//! after the first three rounds of everybody else's. std lets go of `std::thread::current()` in the same way.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::OnceLock;

use super::OsThread;

/// `_POSIX_THREAD_DESTRUCTOR_ITERATIONS`: what every system grants.
const ROUNDS: u8 = 4;

thread_local! {
    /// How often the calling thread's destructor has been called. Has none itself.
    static CALLED: Cell<u8> = const { Cell::new(0) };
}

/// Has the calling OS thread own this count of `thread`, until it ends.
///
/// The count is leaked, so that the pointer stays valid, where the system has no key left or no memory for its
/// value, on a main thread that returns from `main`, and if this is the first call of the thread and comes from
/// another key's destructor: once for an OS thread.
pub(super) fn own(thread: *const OsThread) {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    let key = *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the key's place is ours, and the destructor may be called on any thread with a value that
        // `pthread_setspecific` was given below.
        let made = unsafe { libc::pthread_key_create(&raw mut key, Some(end)) };
        (made == 0).then_some(key)
    });
    if let Some(key) = key {
        set(key, thread);
    }

    unsafe extern "C" fn end(thread: *mut c_void) {
        let thread = thread.cast_const().cast::<OsThread>();
        let called = CALLED.get() + 1;
        CALLED.set(called);
        match KEY.get() {
            Some(&Some(key)) if called < ROUNDS => set(key, thread),
            // SAFETY: the value is that of `own`, which owns a count, and is not set again.
            _ => drop(unsafe { OsThread::disown(thread) }),
        }
    }

    fn set(key: libc::pthread_key_t, thread: *const OsThread) {
        // SAFETY: the key was made above and is never deleted. That there is no memory has been considered.
        let _ = unsafe { libc::pthread_setspecific(key, thread.cast()) };
    }
}
