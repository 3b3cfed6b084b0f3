//! An asymmetric Dekker barrier: [`light`] on the side that runs often, [`heavy`] on the rare side.
//!
//! One thread writes A, calls [`light`] and reads B. Another writes B, calls [`heavy`] and reads A.
//! Then at least one of them sees the other's write, as if both had called `fence(SeqCst)`. If
//! `light` relied on the heavy side, the caller of `heavy` must know about that too. Linux's
//! `membarrier(2)` makes the light side free. If the kernel lacks it, both sides are fences. The
//! idea is that of folly's `AsymmetricThreadFence` and C++'s P1202.

use crate::loom::{Ordering, fence};

/// Passes the frequent side.
#[inline(always)]
pub(crate) fn light() {
    if membarrier::AVAILABLE.load(std::sync::atomic::Ordering::Relaxed) {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// Passes the rare side: interrupts every core that runs a thread of this process. Never unwinds,
/// so it may be called in the middle of anything. If the kernel finally refuses, the process ends.
pub(crate) fn heavy() {
    fence(Ordering::SeqCst);
    membarrier::run();
}

/// Returns `true` if `light` is free, and `heavy` serves for both sides.
pub(crate) fn is_asymmetric() -> bool {
    membarrier::AVAILABLE.load(std::sync::atomic::Ordering::Relaxed)
}

/// Returns `true` if using both sides is cheaper than a fence each time. Always `true` in a loom
/// model, which must check the two sides.
pub(crate) fn pays() -> bool {
    cfg!(loom) || is_asymmetric()
}

/// Finds out, once, whether the kernel has `membarrier`. Before this call, `light` is a fence.
pub(crate) fn init() {
    membarrier::init();
}

#[cfg(all(target_os = "linux", not(loom)))]
mod membarrier {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// Set once the process is registered. From then on `heavy` always issues the system call, so
    /// it matches a `light` that already sees the flag and one that does not see it yet.
    pub(super) static AVAILABLE: AtomicBool = AtomicBool::new(false);

    const CMD_GLOBAL: libc::c_int = 1 << 0;
    const CMD_PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const CMD_REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    fn call(command: libc::c_int) -> bool {
        // SAFETY: membarrier takes three integers and touches no memory of this program.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    pub(super) fn init() {
        if !AVAILABLE.load(Relaxed) && call(CMD_REGISTER_PRIVATE_EXPEDITED) {
            AVAILABLE.store(true, Relaxed);
        }
    }

    pub(super) fn run() {
        if AVAILABLE.load(Relaxed) && !call(CMD_PRIVATE_EXPEDITED) {
            run_otherwise(&io::Error::last_os_error());
        }
    }

    /// Runs another barrier, because the kernel lacks memory for the usual one, or forbids it from
    /// now on. The other barrier is as strong and needs no memory. It waits until every processor
    /// has switched, which takes milliseconds. If that fails too, the process ends: threads that
    /// relied on the barrier in `light` may have seen anything, and a fence of this thread does not
    /// make up for their missing ones.
    #[cold]
    fn run_otherwise(refusal: &io::Error) {
        if !call(CMD_GLOBAL) {
            end(refusal);
        }
    }

    fn end(refusal: &io::Error) -> ! {
        // Not with the macro: this thread, or one that waits for it, may hold its lock.
        let text = format!(
            "fatal: the kernel refuses gthread the system call membarrier ({refusal}), which it has allowed \
             before, and on which running threads rely; that is what a filter of system calls does (seccomp) which \
             was installed after gthread had started. Allow membarrier in the filter, or install it before the first \
             use of gthread, which then does without membarrier\n"
        );
        // SAFETY: the bytes are alive during the call. If the write fails, nothing can be done.
        unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
        std::process::abort();
    }
}

#[cfg(not(all(target_os = "linux", not(loom))))]
mod membarrier {
    use std::sync::atomic::AtomicBool;

    pub(super) static AVAILABLE: AtomicBool = AtomicBool::new(false);
    pub(super) fn init() {}
    pub(super) fn run() {}
}
