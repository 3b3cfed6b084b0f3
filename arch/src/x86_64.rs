//! x86_64: what the switch needs of the processor.

/// The stack pointer of the caller, to find out which stack it runs on.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads one register and touches neither memory nor flags.
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    sp
}

/// Says that the cache line at `address` will be needed soon. Any address will do.
#[inline(always)]
pub fn prefetch(address: *const u8) {
    // SAFETY: part of the x86_64 baseline (SSE), a hint without effects that a program can see.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast())
    };
}

/// [`prefetch`], of a line that will be written: others' copies of it are given up already.
#[inline(always)]
pub fn prefetch_to_write(address: *const u8) {
    // SAFETY: a hint without effects that a program can see; processors that do not know it, do nothing.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address, options(readonly, nostack, preserves_flags));
    }
}

/// A number that no other running OS thread of this process has, and that takes no call to get: the address
/// that its thread-locals are found by. Divisible by eight. Of the OS thread that runs, whatever has been switched
/// before: the compiler keeps no copy.
#[cfg(target_os = "linux")]
#[inline(always)]
pub fn os_thread() -> usize {
    let thread: usize;
    // SAFETY: by Linux's ABI for thread-locals the thread pointer points to itself. Not `pure`, so it is read
    // where it stands.
    unsafe {
        std::arch::asm!("mov {}, fs:[0]", out(reg) thread, options(readonly, nostack, preserves_flags));
    }
    thread
}
