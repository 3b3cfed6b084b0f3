//! Every system call that gthread makes for memory, threads and signal handlers is refused in turn: the
//! error names cause and remedy, or nobody need know; what runs is unharmed, nothing is lost, and when the
//! refusals end, threads start again.
//!
//! Each test is a process of its own, because refusals concern the whole process.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod files;
mod filter;
mod inject;
mod io;
mod memory;
mod signals;
mod threads;

use gthread_tests::{LIMIT, assert_passed, is_child, rerun, watchdog};

/// Runs a test's body in a subprocess with these environment variables, which must pass.
fn alone(name: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    if is_child() {
        return body();
    }
    watchdog(LIMIT, || assert_passed(&rerun(name, variables)));
}
