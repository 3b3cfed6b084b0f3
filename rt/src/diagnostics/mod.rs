//! Diagnostics, which look at a runtime from above: dumps, reports on deadlocks, leaks and stack
//! overflows, and thread names in panic messages.

pub(crate) mod deadlock;
pub(crate) mod dump;
pub(crate) mod leaks;
pub(crate) mod panic_hook;
pub(crate) mod racy_read;
pub(crate) mod sigquit;
pub(crate) mod snapshot;
pub(crate) mod stack_overflow;
pub(crate) mod stop_world;
