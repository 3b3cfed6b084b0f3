//! Go's `sync.WaitGroup`.

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::task::wait_info::Reason;
use crate::thread::spawn::{JoinHandle, spawn};
use crate::wait::latch::Latch;
use crate::wait::park::may_suspend;

/// Waits for a collection of threads to finish, like Go's `sync.WaitGroup`.
///
/// Clones share one counter. A thread that starts work calls [`add`](WaitGroup::add), the thread
/// that ends it calls [`done`](WaitGroup::done), and a thread that needs the result calls
/// [`wait`](WaitGroup::wait). [`go`](WaitGroup::go) does the first two around a green thread. A
/// group may be used again once it has reached zero.
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

// A panic elsewhere leaves no partial change here.
impl UnwindSafe for WaitGroup {}
impl RefUnwindSafe for WaitGroup {}

impl WaitGroup {
    /// Creates a group with a counter of zero.
    pub fn new() -> Self {
        Self { latch: Arc::new(Latch::new(0)) }
    }

    /// Adds `n` to the counter. Never blocks.
    ///
    /// Call it before the work is started, so that a `wait` cannot come in between.
    ///
    /// # Panics
    ///
    /// If the counter overflows.
    #[track_caller]
    pub fn add(&self, n: usize) {
        self.latch.add(n).expect("WaitGroup counter overflows");
    }

    /// Decrements the counter, and wakes all waiting threads if it reaches zero. Never blocks.
    ///
    /// # Panics
    ///
    /// If the counter is zero ("negative WaitGroup counter", as in Go).
    #[track_caller]
    pub fn done(&self) {
        self.latch.done().expect("negative WaitGroup counter");
    }

    /// Waits until the counter is zero. Parks the green thread, a suspension point, or blocks the
    /// OS thread. Any number of threads may wait.
    #[track_caller]
    pub fn wait(&self) {
        let site = Location::caller();
        may_suspend(site);
        self.latch.wait(Reason::WaitGroup, None, site);
    }

    /// Like [`wait`](WaitGroup::wait), but gives up after `timeout`. Returns `true` if the counter
    /// was zero.
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
        // A deadline that the clock cannot represent means no deadline.
        self.latch.wait(Reason::WaitGroup, Instant::now().checked_add(timeout), site)
    }

    /// Spawns a green thread that is counted, from now until `f` has returned or panicked.
    ///
    /// # Panics
    ///
    /// See [`spawn`](crate::spawn).
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

/// Decrements the counter when it is dropped: when the closure has ended, or was dropped without
/// having run.
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
