//! Tests that measure their process, or take most of the memory: each in a process of its own, one after the other.

mod context_leaves_nothing;
mod idle_cpu;
mod many_parked;
mod os_threads_left;
mod relay;
mod stack_trim;
mod time_many;
mod time_withdrawn;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gthread_tests::{assert_passed, is_child, stderr, test_command, watchdog};

/// Runs the body of `test` in a subprocess in which nothing else runs, with this process's environment, and
/// none of these tests beside it.
fn alone(test: &str, limit: Duration, body: impl FnOnce()) {
    static TURN: Mutex<()> = Mutex::new(());
    if is_child() {
        return watchdog(limit, body);
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let output = test_command(test).output().unwrap();
    assert_passed(&output);
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", stderr(&output));
}
