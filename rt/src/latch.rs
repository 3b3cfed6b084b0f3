//! What scopes and wait groups count with.

use std::panic::Location;
use std::ptr::{self, NonNull};

use crate::park::{self, Wait};
use crate::prim::{AtomicUsize, Ordering};
use crate::sched;
use crate::spin::SpinLock;
use crate::task::Reason;
use crate::task::state::TIMED_OUT;
use crate::wait::{Node, Queue, WOKEN};

/// A counter that threads wait for to reach zero.
///
/// Invariant: the count goes to zero under the queue's lock, and whoever waits then is claimed before
/// the lock is let go. So a wait ends only when the count was zero while it was under way, however
/// soon the count rises again.
#[derive(Debug)]
pub(crate) struct Latch {
    count: AtomicUsize,
    waiters: SpinLock<Queue>,
}

impl Latch {
    pub(crate) fn new(count: usize) -> Self {
        Self { count: AtomicUsize::new(count), waiters: SpinLock::new(Queue::new()) }
    }

    /// Adds to the count: `None` if it overflows.
    pub(crate) fn add(&self, n: usize) -> Option<()> {
        let add = |count: usize| count.checked_add(n);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok().map(|_| ())
    }

    /// Takes one from the count, and wakes everyone if that was the last: `None` if it was zero.
    pub(crate) fn done(&self) -> Option<()> {
        let not_last = |count: usize| (count > 1).then(|| count - 1);
        if self.count.fetch_update(Ordering::Release, Ordering::Relaxed, not_last).is_ok() {
            return Some(());
        }
        let mut waiters = self.waiters.lock();
        let any = |count: usize| count.checked_sub(1);
        // Acquire: what the others did before they counted down passes on to those who are woken.
        let before = self.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, any).ok()?;
        let wakes = if before == 1 { waiters.claim_all(WOKEN) } else { Vec::new() };
        drop(waiters);
        wakes.into_iter().for_each(sched::wake);
        Some(())
    }

    /// Whether nothing is to be waited for.
    pub(crate) fn is_zero(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Blocks until the count is zero, or was for a moment. A scope's wait is not interrupted: its threads borrow.
    pub(crate) fn wait(&self, reason: Reason, site: &'static Location<'static>) {
        if self.is_zero() {
            return;
        }
        let waiters = self.waiters.lock();
        if self.is_zero() {
            return;
        }
        let (mut waiters, wait) = Wait::in_queue(waiters, None, site);
        let wait = if reason == Reason::Scope { wait } else { wait.interruptible() };
        let mut node = Node::new(wait.waiter(), ptr::null_mut());
        let node = NonNull::from(&mut node);
        // SAFETY: the node stays in this frame until it is claimed or removed below.
        unsafe { waiters.push(node) };
        if wait.park_unlocking(waiters, reason, None, site) == TIMED_OUT {
            // SAFETY: pushed above, and alive.
            unsafe { self.waiters.lock().remove(node) };
            park::interrupted(site);
        }
    }
}
