//! The very end of an OS thread: after all its thread-locals.
//!
//! A thread-local with a destructor cannot own what is to be there until then. Destructors of thread-locals run one after
//! the other, in an order that depends on which variable was touched first, and those that run later may still ask for
//! it. The destructors of POSIX thread-specific data run after all of them, and in rounds: one that finds its value set
//! again is called in the next round. Every system has four at least, so the last of them comes after the first
//! three rounds of everybody else's. std lets go of `std::thread::current()` in the same way.

use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

/// `_POSIX_THREAD_DESTRUCTOR_ITERATIONS`: what every system grants. One fewer for `tools/tsan`: ThreadSanitizer
/// forgets the thread in the last round.
const ROUNDS: usize = if cfg!(tsan) { 3 } else { 4 };

/// Arranges for [`super::os::end_thread`] to be called when the calling OS thread ends.
///
/// It is not called, and what it would free stays, once for an OS thread: where the system has no key left or no memory
/// for its value, on a main thread that returns from `main`, and if the first call comes from another key's
/// destructor, when some rounds are over.
pub(super) fn arrange() {
    if let Some(key) = key() {
        // SAFETY: the key was made, and is never deleted.
        if unsafe { libc::pthread_getspecific(key) }.is_null() {
            set(key, 1);
        }
    }
}

fn key() -> Option<libc::pthread_key_t> {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the key's place is ours, and the destructor may be called on any thread.
        let made = unsafe { libc::pthread_key_create(&raw mut key, Some(end)) };
        (made == 0).then_some(key)
    })
}

/// Has the destructor called, and told the round: whether that is possible.
fn set(key: libc::pthread_key_t, round: usize) -> bool {
    // SAFETY: the key was made, and is never deleted. Its values are numbers, not pointers.
    unsafe { libc::pthread_setspecific(key, ptr::without_provenance(round)) == 0 }
}

unsafe extern "C" fn end(round: *mut c_void) {
    let next = round.addr() + 1;
    if next > ROUNDS || !key().is_some_and(|key| set(key, next)) {
        super::os::end_thread();
    }
}
