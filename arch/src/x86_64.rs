//! x86_64: what the switch needs of the processor.

/// Bytes that a suspending fiber stores below its stack pointer: return address, `rbx`, `rbp`.
pub const SWITCH_FRAME: usize = 3 * 8;

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
