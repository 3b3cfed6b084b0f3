//! The context switch under gthread.
//!
//! A [`Fiber`] is a computation on a stack [`Slot`](stacks::Slot) of its own. It is created with an
//! entry function. When it is resumed, it runs on its own stack until it suspends itself with a
//! command, or ends.
//!
//! The switch is corosensei's (`switch_corosensei.rs`), and no other crate of gthread names
//! corosensei. On x86_64 the feature `fast-switch` replaces it by a switch that the processor
//! predicts better (`switch_x86_64.rs`). The feature has no effect on other architectures, or
//! together with the feature `sanitizer`, which only corosensei's switch supports.
//!
//! A switch saves the registers that the ABI preserves across a function call. It does *not* switch
//! signal masks, thread-locals, errno, or the floating-point control words (x86 MXCSR and x87 CW,
//! AArch64 FPCR). A program that changes a rounding mode must restore it before its green thread
//! suspends.

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("gthread supports x86_64 and aarch64");

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod cpu;
mod fiber;
mod stack;
#[cfg_attr(
    all(target_arch = "x86_64", feature = "fast-switch", not(feature = "sanitizer")),
    path = "switch_x86_64.rs"
)]
#[cfg_attr(
    not(all(target_arch = "x86_64", feature = "fast-switch", not(feature = "sanitizer"))),
    path = "switch_corosensei.rs"
)]
mod switch;

#[cfg(target_os = "linux")]
pub use cpu::os_thread;
pub use cpu::{prefetch, prefetch_to_write, stack_pointer};
pub use fiber::{Entry, Fiber, Suspender, Switch};
pub use gthread_stacks as stacks;
pub use stack::{FiberStack, STACK_ALIGN, on_stack};

/// Returns the directory of this crate's sources, as debug information names it.
///
/// A backtrace can tell by it which functions are of this crate.
pub fn sources() -> &'static str {
    file!().strip_suffix("lib.rs").unwrap_or_default()
}
