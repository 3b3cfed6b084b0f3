//! Sleeping for a duration or until a moment, and [`std::time`]'s types.
//!
//! ```
//! use gthread::time::{Duration, Instant, sleep_until};
//!
//! let mut next = Instant::now();
//! for _ in 0..3 {
//!     next += Duration::from_millis(2);
//!     sleep_until(next); // no drift: the work in between does not add up
//! }
//! ```
//!
//! Moments are [`Instant`]s, so changes of the system's clock have no effect. A sleep never ends
//! early. How late it ends depends on the operating system if the machine is idle, usually a
//! fraction of a millisecond. On a busy machine a thread whose time has come is ready, and waits
//! for its turn.
//!
//! Every wait in this crate that has a timeout waits in the same way; its timer is withdrawn when
//! the wait ends otherwise. The channels [`after`](crate::channel::after),
//! [`at`](crate::channel::at) and [`tick`](crate::channel::tick) have no timer while no thread
//! waits for them.

// The timers themselves are in the driver (`shared::driver`).

use std::panic::Location;

use crate::task::wait_info::Reason;
use crate::wait::no_switch;
use crate::wait::park::{self, Wait};

#[doc(no_inline)]
pub use std::time::{
    Duration, Instant, SystemTime, SystemTimeError, TryFromFloatSecsError, UNIX_EPOCH,
};

/// Returns the present moment, like [`Instant::now`]: by the clock that this crate's time-outs go by.
///
/// # Examples
///
/// ```
/// use gthread::time::{self, Duration};
///
/// let start = time::now();
/// time::sleep(Duration::from_millis(2));
/// assert!(time::now() - start >= Duration::from_millis(2));
/// ```
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Puts the current thread to sleep for at least `duration`, like [`std::thread::sleep`].
///
/// Parks the green thread, a suspension point; other green threads run meanwhile. On an OS thread
/// this is [`std::thread::sleep`]. A duration of zero lets other threads run, like
/// [`yield_now`](crate::yield_now).
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
    sleep_for(duration, Location::caller());
}

/// Puts the current thread to sleep until `deadline`, or a little later.
///
/// Like [`sleep`]; a moment that has passed lets other threads run.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let deadline = Instant::now() + Duration::from_millis(5);
/// gthread::run(|| gthread::sleep_until(deadline));
/// assert!(Instant::now() >= deadline);
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) {
    sleep_at(deadline, Location::caller());
}

#[inline(never)]
pub(crate) fn sleep_for(duration: Duration, site: &'static Location<'static>) {
    if duration.is_zero() {
        return park::yield_at(site);
    }
    if !park::is_green() {
        no_switch::check(site);
        return park::blocking(|| std::thread::sleep(duration));
    }
    // A deadline that the clock cannot represent means no deadline.
    let deadline = Instant::now().checked_add(duration);
    Wait::arm(site).park(Reason::Sleep, deadline, site);
}

#[inline(never)]
fn sleep_at(deadline: Instant, site: &'static Location<'static>) {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() || !park::is_green() {
        return sleep_for(left, site);
    }
    Wait::arm(site).park(Reason::Sleep, Some(deadline), site);
}
