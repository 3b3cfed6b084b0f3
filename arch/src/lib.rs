//! The context switch under gthread.
//!
//! A [`Fiber`] is a suspended computation on a stack [`Slot`](stacks::Slot): create it with an entry
//! function, resume it, and it runs on its own stack until it suspends itself with a command or ends.
//! The switch itself is corosensei's, and this is the only crate that names it; but on x86_64 there is one of our own,
//! which the processor predicts better (`switch_x86_64.rs`). There, the feature `switch-by-corosensei` has corosensei's.
//!
//! What a switch saves is what the ABI says a function call preserves. What is *not* switched: signal
//! masks, thread-locals, errno, and the floating-point control words (x86 MXCSR and x87 CW, AArch64
//! FPCR). A program that changes a rounding mode must restore it before its green thread suspends.

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("gthread supports x86_64 and aarch64");

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod cpu;
mod fiber;
mod stack;
#[cfg_attr(
    all(target_arch = "x86_64", not(feature = "switch-by-corosensei")),
    path = "switch_x86_64.rs"
)]
#[cfg_attr(
    any(not(target_arch = "x86_64"), feature = "switch-by-corosensei"),
    path = "switch_corosensei.rs"
)]
mod switch;

#[cfg(target_os = "linux")]
pub use cpu::os_thread;
pub use cpu::{prefetch, prefetch_to_write, stack_pointer};
pub use fiber::{Entry, Fiber, Suspender, Switch};
pub use gthread_stacks as stacks;
pub use stack::{FiberStack, STACK_ALIGN, on_stack};

/// The directory of this crate's sources, as debug information has it: to tell its functions in backtraces.
pub fn sources() -> &'static str {
    file!().strip_suffix("lib.rs").unwrap_or_default()
}
