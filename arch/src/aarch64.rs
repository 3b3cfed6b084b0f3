//! aarch64: what the switch needs of the processor.

/// The stack pointer of the caller, to find out which stack it runs on.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads one register and touches neither memory nor flags.
    unsafe {
        std::arch::asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    sp
}

/// Says that the cache line at `address` will be needed soon. Any address will do.
#[inline(always)]
pub fn prefetch(address: *const u8) {
    // SAFETY: a hint without effects that a program can see.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(readonly, nostack, preserves_flags));
    }
}

/// [`prefetch`], of a line that will be written: others' copies of it are given up already.
#[inline(always)]
pub fn prefetch_to_write(address: *const u8) {
    // SAFETY: a hint without effects that a program can see.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) address, options(readonly, nostack, preserves_flags));
    }
}

/// A number that no other running OS thread of this process has, and that takes no call to get: the address
/// that its thread-locals are found by. Divisible by eight. Of the OS thread that runs, whatever has been switched
/// before: the compiler keeps no copy.
#[cfg(target_os = "linux")]
#[inline(always)]
pub fn os_thread() -> usize {
    let thread: usize;
    // SAFETY: reads a register that every program may read. Not `pure`, so it is read where it stands.
    unsafe {
        std::arch::asm!("mrs {}, tpidr_el0", out(reg) thread, options(nomem, nostack, preserves_flags));
    }
    thread
}
