//! Go's `sync.WaitGroup`.

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::task::wait_info::Reason;
use crate::thread::spawn::{JoinHandle, spawn};
use crate::wait::latch::Latch;
use crate::wait::park::may_suspend;

/// Waits for a collection of threads to finish, as Go's `sync.WaitGroup`.
///
/// Clones share one counter. Who starts work calls [`add`](WaitGroup::add), who ends it
/// [`done`](WaitGroup::done), who needs it [`wait`](WaitGroup::wait); [`go`](WaitGroup::go) does the
/// first two around a green thread. A group may be used again once it has reached zero.
///
/// # Examples
///
/// ```
/// use gthread::sync::WaitGroup;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// let (group, sum) = (WaitGroup::new(), Arc::new(AtomicU32::new(0)));
/// for n in 1..=10 {
///     let sum = Arc::clone(&sum);
///     group.go(move || {
///         sum.fetch_add(n, Ordering::Relaxed);
///     });
/// }
/// group.wait();
/// assert_eq!(sum.load(Ordering::Relaxed), 55);
/// ```
#[derive(Clone)]
pub struct WaitGroup {
    latch: Arc<Latch>,
}

// A panic elsewhere leaves nothing half done here.
impl UnwindSafe for WaitGroup {}
impl RefUnwindSafe for WaitGroup {}

impl WaitGroup {
    /// A group with nothing to wait for.
    pub fn new() -> Self {
        Self { latch: Arc::new(Latch::new(0)) }
    }

    /// Adds `n` to the counter. Never blocks.
    ///
    /// To be called before the work is started, so that a `wait` cannot come between.
    ///
    /// # Panics
    ///
    /// If the counter overflows.
    #[track_caller]
    pub fn add(&self, n: usize) {
        self.latch.add(n).expect("WaitGroup counter overflows");
    }

    /// Takes one from the counter; wakes all who wait if that was the last. Never blocks.
    ///
    /// # Panics
    ///
    /// If the counter is zero ("negative WaitGroup counter", as Go says).
    #[track_caller]
    pub fn done(&self) {
        self.latch.done().expect("negative WaitGroup counter");
    }

    /// Blocks until the counter is zero: parks the green thread, a suspension point, or blocks the OS
    /// thread. Any number of threads may wait.
    #[track_caller]
    pub fn wait(&self) {
        let site = Location::caller();
        may_suspend(site);
        self.latch.wait(Reason::WaitGroup, None, site);
    }

    /// As [`wait`](WaitGroup::wait), but gives up after `timeout`. Returns `true` if the counter was zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use gthread::sync::WaitGroup;
    /// use std::time::Duration;
    ///
    /// let group = WaitGroup::new();
    /// group.add(1);
    /// assert!(!group.wait_timeout(Duration::from_millis(1)));
    /// group.done();
    /// assert!(group.wait_timeout(Duration::from_secs(60)));
    /// ```
    #[must_use = "it says whether the time was over first"]
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let site = Location::caller();
        may_suspend(site);
        // A deadline that is not representable is not reached either.
        self.latch.wait(Reason::WaitGroup, Instant::now().checked_add(timeout), site)
    }

    /// Starts a green thread that counts, from now until `f` has ended or panicked.
    ///
    /// # Panics
    ///
    /// As [`spawn`](crate::thread::spawn).
    #[track_caller]
    pub fn go<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.add(1);
        let counted = Counted(self.clone());
        spawn(move || {
            let _counted = counted;
            f()
        })
    }
}

/// Counts one out when dropped: after the closure has ended, and if it never started.
struct Counted(WaitGroup);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.done();
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").finish_non_exhaustive()
    }
}
