//! An asymmetric Dekker barrier: [`light`] on the side that runs often, [`heavy`] on the rare side.
//!
//! If one thread writes A, calls [`light`] and reads B, and another writes B, calls [`heavy`] and reads A,
//! at least one of them sees the other's write, as if both had called `fence(SeqCst)`. Where `light`
//! relied on the heavy side, the caller of `heavy` must know of it too. Linux's `membarrier(2)` makes the light
//! side free; where the kernel lacks it both sides are fences. (The idea is folly's `AsymmetricThreadFence` and C++'s
//! P1202.)

use crate::loom::{Ordering, fence};

/// The frequent side.
#[inline(always)]
pub(crate) fn light() {
    if membarrier::AVAILABLE.load(std::sync::atomic::Ordering::Relaxed) {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// The rare side: interrupts every core that runs a thread of this process. Never unwinds, so it may be passed in the
/// middle of anything: where the kernel refuses it at last, the process ends.
pub(crate) fn heavy() {
    fence(Ordering::SeqCst);
    membarrier::run();
}

/// Whether `light` is free, and `heavy` serves for both sides.
pub(crate) fn is_asymmetric() -> bool {
    membarrier::AVAILABLE.load(std::sync::atomic::Ordering::Relaxed)
}

/// Whether it gains anything to use both sides and not a fence each time. In a model always, which is to see it.
pub(crate) fn pays() -> bool {
    cfg!(loom) || is_asymmetric()
}

/// Finds out, once, whether the kernel has `membarrier`. Until called, `light` is a fence.
pub(crate) fn init() {
    membarrier::init();
}

#[cfg(all(target_os = "linux", not(loom)))]
mod membarrier {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// Set once the process is registered. `heavy` then always issues the system call, so a
    /// `light` that already sees it and one that does not yet are both matched.
    pub(super) static AVAILABLE: AtomicBool = AtomicBool::new(false);

    const CMD_GLOBAL: libc::c_int = 1 << 0;
    const CMD_PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const CMD_REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    fn call(command: libc::c_int) -> bool {
        // SAFETY: membarrier takes three integers and touches no memory of ours.
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

    /// The kernel lacks memory for the barrier, or forbids it from now on. Another barrier, which is as good and needs
    /// no memory, waits until every processor has switched: some milliseconds. Without either, threads that have
    /// relied on it in `light` may have seen anything, and a fence of this thread does not make up for theirs.
    #[cold]
    fn run_otherwise(refusal: &io::Error) {
        if !call(CMD_GLOBAL) {
            end(refusal);
        }
    }

    fn end(refusal: &io::Error) -> ! {
        // Not with the macro: this thread, or one that waits for it, may have its lock.
        let text = format!(
            "fatal: the kernel refuses gthread the system call membarrier ({refusal}), which it has allowed \
             before, and on which running threads rely; that is what a filter of system calls does (seccomp) which \
             was installed after gthread had started. Allow membarrier in the filter, or install it before the first \
             use of gthread, which then does without membarrier\n"
        );
        // SAFETY: the bytes are there during the call. Nothing can be done if nobody reads them.
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
