//! What looks at a runtime from above: dumps, deadlocks, leaks, stack overflows, names in panics.

pub(crate) mod deadlock;
pub(crate) mod dump;
pub(crate) mod leaks;
pub(crate) mod panic_hook;
pub(crate) mod racy_read;
pub(crate) mod sigquit;
pub(crate) mod snapshot;
pub(crate) mod stack_overflow;
pub(crate) mod stop_world;
