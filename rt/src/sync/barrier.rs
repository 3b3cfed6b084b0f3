//! `Barrier`, like std's.

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr::{self, NonNull};

use crate::loom::const_unless_loom;
use crate::runtime::handle;
use crate::task::wait_info::Reason;
use crate::task::wait_state::TIMED_OUT;
use crate::util::spin_lock::SpinLock;
use crate::wait::park::{self, Wait, may_suspend};
use crate::wait::queue::{Node, Queue, WOKEN};

/// Lets several threads reach a point before any of them continues, like [`std::sync::Barrier`].
///
/// Green threads that wait are parked, OS threads are blocked. When the last thread has come, all
/// continue, one of them as the *leader*, and the barrier may be used again.
///
/// # Examples
///
/// ```
/// use gthread::sync::Barrier;
///
/// let barrier = Barrier::new(3);
/// let leaders = std::sync::atomic::AtomicU32::new(0);
/// gthread::scope(|s| {
///     for _ in 0..3 {
///         s.spawn(|| {
///             if barrier.wait().is_leader() {
///                 leaders.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///             }
///         });
///     }
/// });
/// assert_eq!(leaders.into_inner(), 1);
/// ```
pub struct Barrier {
    /// The threads that wait. The decision to wait is made under the same lock, so all threads that
    /// are woken together are of one round.
    waiting: SpinLock<Queue>,
    threads: usize,
}

// A panic elsewhere leaves no partial change here.
impl UnwindSafe for Barrier {}
impl RefUnwindSafe for Barrier {}

impl Barrier {
    const_unless_loom! {
        /// Creates a barrier for `n` threads. Zero is treated like one: no thread waits.
        #[must_use]
        #[inline]
        pub const fn new(n: usize) -> Self {
            Self { waiting: SpinLock::new(Queue::new()), threads: n }
        }
    }

    /// Waits until as many threads have come as the barrier is for.
    ///
    /// Parks the green thread, a suspension point, or blocks the OS thread. The last thread to
    /// come, which is the leader, does neither.
    #[track_caller]
    pub fn wait(&self) -> BarrierWaitResult {
        self.wait_at(Location::caller())
    }

    #[inline(never)]
    fn wait_at(&self, site: &'static Location<'static>) -> BarrierWaitResult {
        may_suspend(site);
        let mut waiting = self.waiting.lock();
        if waiting.len() + 1 >= self.threads {
            let wakes = waiting.claim_all(WOKEN);
            drop(waiting);
            wakes.into_iter().for_each(handle::wake);
            return BarrierWaitResult(true);
        }
        let (mut waiting, wait) = Wait::in_queue(waiting, None, site);
        let wait = wait.interruptible();
        let mut node = Node::new(wait.waiter(), ptr::null_mut());
        let node = NonNull::from(&mut node);
        // SAFETY: the node stays in this frame until it is claimed, or removed below.
        unsafe { waiting.push(node) };
        if wait.park_unlocking(waiting, Reason::Barrier, None, site) == TIMED_OUT {
            // SAFETY: the node was pushed to this queue above, and is alive.
            unsafe { self.waiting.lock().remove(node) };
            park::interrupted(site);
        }
        BarrierWaitResult(false)
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").finish_non_exhaustive()
    }
}

/// The result of a wait at a [`Barrier`], like [`std::sync::BarrierWaitResult`].
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Returns `true` if the thread was the leader. Each round has one leader.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult").field("is_leader", &self.is_leader()).finish()
    }
}
