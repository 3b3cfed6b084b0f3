//! Instructions that gthread needs on x86_64, apart from the switch.

/// Returns the stack pointer of the caller, which tells on which stack the caller runs.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: the instruction reads one register, and touches neither memory nor flags.
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    sp
}

/// Tells the processor that the cache line at `address` will be needed soon. Any address is
/// allowed.
#[inline(always)]
pub fn prefetch(address: *const u8) {
    // SAFETY: the instruction is in the x86_64 baseline (SSE). It is a hint, without effects that a
    // program can see, at any address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast())
    };
}

/// Tells the processor that the cache line at `address` will soon be written.
///
/// Like [`prefetch`], but the other processors give up their copies of the line already.
#[inline(always)]
pub fn prefetch_to_write(address: *const u8) {
    // SAFETY: the instruction is a hint, without effects that a program can see, at any address.
    // Processors that do not support it ignore it.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address, options(readonly, nostack, preserves_flags));
    }
}

/// Returns a number that identifies the calling OS thread among the running ones of this process.
///
/// It is the address by which the OS thread finds its thread-locals, so no call is needed to get
/// it. It is divisible by eight. It belongs to the OS thread that runs at that moment, whatever
/// fibers have been switched before: the compiler keeps no copy.
#[cfg(target_os = "linux")]
#[inline(always)]
pub fn os_thread() -> usize {
    let thread: usize;
    // SAFETY: by Linux's ABI for thread-locals the thread pointer points to itself, so the word
    // that is read is mapped. The block is not `pure`, so the word is read at this place.
    unsafe {
        std::arch::asm!("mov {}, fs:[0]", out(reg) thread, options(readonly, nostack, preserves_flags));
    }
    thread
}
