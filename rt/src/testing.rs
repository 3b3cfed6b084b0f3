//! Helpers for tests of programs that use gthread.

use std::time::{Duration, Instant};

use crate::runtime::config::Leaks;
use crate::thread::runtime::Runtime;

/// The time that threads have to end after the test has ended.
const GRACE: Duration = Duration::from_secs(1);

/// Runs `f` as a green thread of its own runtime, and fails if it leaves green threads behind.
///
/// Threads that `f` starts have a second to end after `f` has ended, for example when they notice
/// that a channel is disconnected. A thread that has not ended by then waits for an event that will
/// not happen: it is printed, with what it waits for and its calls. (Like Go's `goleak`.)
///
/// If all threads wait for ever, the waits panic, as with `GTHREAD_DEADLOCK=panic`: see
/// [`RuntimeBuilder::deadlock_detection`](crate::RuntimeBuilder::deadlock_detection). (If that
/// variable is set to another value, the variable has precedence.) A closure that waits that long
/// for an outside event, delivered by an OS thread that is not gthread's, needs `on` or `off`.
///
/// # Panics
///
/// If green threads are left. If `f` panics, with its payload. If all threads wait for ever,
/// whether or not `f` looks at how its threads have ended. If the runtime cannot be started.
///
/// # Examples
///
/// ```
/// use gthread::{channel, go, testing};
///
/// let sum = testing::check_leaks(|| {
///     let (tx, rx) = channel::bounded(0);
///     let adds = go!(move || rx.iter().sum::<u32>());
///     (1..=3).for_each(|n| tx.send(n).unwrap());
///     drop(tx);
///     adds.join().unwrap()
/// });
/// assert_eq!(sum, 6);
/// ```
///
/// ```should_panic
/// use gthread::{channel, go, testing};
///
/// let (tx, rx) = channel::bounded::<u32>(0);
/// testing::check_leaks(move || {
///     go!(move || rx.recv());
/// });
/// // The sender is still here, so the receiver still waits.
/// drop(tx);
/// ```
#[track_caller]
pub fn check_leaks<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let builder = Runtime::builder().name("check_leaks").report_leaks(Leaks::Ignore).for_test();
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("failed to start a runtime: {error}"),
    };
    let result = runtime.run(f);
    let end = Instant::now() + GRACE;
    let mut pause = Duration::from_micros(50);
    while runtime.has_threads() && Instant::now() < end {
        crate::time::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(20));
    }
    let (left, interrupted) = (runtime.dump(), runtime.was_interrupted());
    drop(runtime);
    // The panics may have stayed in threads that are not joined.
    assert!(!interrupted, "everybody waited for ever (stderr says for what)");
    if !left.threads.is_empty() {
        eprintln!("\n{left}");
        panic!("{} green threads had not ended (stderr says which)", left.threads.len());
    }
    result
}
