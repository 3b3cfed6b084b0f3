//! The counter of scopes and wait groups.

use std::panic::Location;
use std::ptr::{self, NonNull};
use std::time::Instant;

use crate::loom::{AtomicUsize, Ordering};
use crate::runtime::handle;
use crate::task::wait_info::Reason;
use crate::task::wait_state::TIMED_OUT;
use crate::util::spin_lock::SpinLock;
use crate::wait::park::{self, Wait};
use crate::wait::queue::{Node, Queue, WOKEN};

/// A counter that threads wait for to reach zero.
///
/// Invariant: the count goes to zero under the queue's lock, and the threads that wait at that time
/// are claimed before the lock is released. So a wait ends only if the count was zero during the
/// wait, however soon it rises again.
#[derive(Debug)]
pub(crate) struct Latch {
    count: AtomicUsize,
    waiters: SpinLock<Queue>,
}

impl Latch {
    pub(crate) fn new(count: usize) -> Self {
        Self { count: AtomicUsize::new(count), waiters: SpinLock::new(Queue::new()) }
    }

    /// Adds to the count. Returns `None` if it overflows.
    pub(crate) fn add(&self, n: usize) -> Option<()> {
        let add = |count: usize| count.checked_add(n);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok().map(|_| ())
    }

    /// Decrements the count, and wakes all waiting threads if it reaches zero. Returns `None` if it
    /// was zero.
    pub(crate) fn done(&self) -> Option<()> {
        let not_last = |count: usize| (count > 1).then(|| count - 1);
        if self.count.fetch_update(Ordering::Release, Ordering::Relaxed, not_last).is_ok() {
            return Some(());
        }
        let mut waiters = self.waiters.lock();
        let any = |count: usize| count.checked_sub(1);
        // Acquire: passes on to the woken threads what the others did before they counted down.
        let before = self.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, any).ok()?;
        let wakes = if before == 1 { waiters.claim_all(WOKEN) } else { Vec::new() };
        drop(waiters);
        wakes.into_iter().for_each(handle::wake);
        Some(())
    }

    /// Returns `true` if the count is zero.
    pub(crate) fn is_zero(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Blocks until the count is zero or was zero for a moment, or until `deadline`. Returns `true`
    /// if the count was zero. A scope's wait is not interrupted, because its threads borrow.
    pub(crate) fn wait(
        &self,
        reason: Reason,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> bool {
        if self.is_zero() {
            return true;
        }
        let waiters = self.waiters.lock();
        if self.is_zero() {
            return true;
        }
        let (mut waiters, wait) = Wait::in_queue(waiters, deadline, site);
        let wait = if reason == Reason::Scope { wait } else { wait.interruptible() };
        let mut node = Node::new(wait.waiter(), ptr::null_mut());
        let node = NonNull::from(&mut node);
        // SAFETY: the node stays in this frame until it is claimed, or removed below.
        unsafe { waiters.push(node) };
        if wait.park_unlocking(waiters, reason, deadline, site) != TIMED_OUT {
            return true;
        }
        // SAFETY: the node was pushed to this queue above, and is alive.
        unsafe { self.waiters.lock().remove(node) };
        if deadline.is_none() {
            park::interrupted(site);
        }
        self.is_zero()
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;

    struct Counted {
        latch: Latch,
        sum: Checked<usize>,
    }

    impl Counted {
        fn new(count: usize) -> Arc<Self> {
            Arc::new(Self { latch: Latch::new(count), sum: Checked::new(0) })
        }

        /// Does the work that the other thread waits for.
        fn work(&self) {
            // SAFETY: no other thread touches the sum before this is counted down; loom checks it.
            self.sum.with_mut(|sum| unsafe { *sum += 1 });
            self.latch.done().expect("counted");
        }

        fn wait(&self, deadline: Option<Instant>) -> bool {
            self.latch.wait(Reason::WaitGroup, deadline, Location::caller())
        }

        fn assert_ended(&self) {
            // SAFETY: the work is over; loom checks it.
            assert_eq!(self.sum.with(|sum| unsafe { *sum }), 1);
            assert!(self.latch.is_zero() && self.latch.waiters.lock().len() == 0);
        }
    }

    #[test]
    fn one_that_waits_is_woken_once_the_work_is_done() {
        loom::model(|| {
            let counted = Counted::new(1);
            let worker = {
                let counted = Arc::clone(&counted);
                thread::spawn(move || counted.work())
            };
            assert!(counted.wait(None));
            worker.join().unwrap();
            counted.assert_ended();
        });
    }

    /// A thread that times out is taken out of the queue, and may wait again.
    #[test]
    fn one_whose_time_is_over_is_out_of_the_queue() {
        loom::model(|| {
            let counted = Counted::new(1);
            let worker = {
                let counted = Arc::clone(&counted);
                thread::spawn(move || counted.work())
            };
            let over = Some(Instant::now());
            let in_time = counted.wait(over);
            assert!(in_time || counted.wait(None));
            worker.join().unwrap();
            counted.assert_ended();
        });
    }
}
