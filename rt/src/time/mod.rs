//! Sleeping. The timers themselves are the driver's (`sched::driver`).

use std::panic::Location;
use std::time::{Duration, Instant};

use crate::no_switch;
use crate::park::{self, Wait};
use crate::task::Reason;

/// Puts the current thread to sleep for at least `duration`, as [`std::thread::sleep`].
///
/// Parks the green thread, a suspension point; other green threads run meanwhile. On an OS thread this
/// is [`std::thread::sleep`].
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// gthread::run(|| gthread::sleep(Duration::from_millis(5)));
/// assert!(start.elapsed() >= Duration::from_millis(5));
/// ```
#[track_caller]
pub fn sleep(duration: Duration) {
    sleep_at(duration, Location::caller());
}

#[inline(never)]
fn sleep_at(duration: Duration, site: &'static Location<'static>) {
    if duration.is_zero() {
        return park::yield_at(site);
    }
    if !park::is_green() {
        no_switch::check(site);
        return park::blocking(|| std::thread::sleep(duration));
    }
    // A deadline that is not representable is not reached either.
    let deadline = Instant::now().checked_add(duration);
    Wait::arm(site).park(Reason::Sleep, deadline, site);
}
