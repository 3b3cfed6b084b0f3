//! Waiter queues for whatever blocks: channels, locks, latches.
//!
//! A queue is a list through nodes that live in the frames of the waiting threads, so that waiting
//! allocates nothing and leaving costs the same wherever the node is.
//!
//! Invariants:
//! - A queue is only touched under its owner's lock.
//! - A node is in a queue from `push` until it is popped or removed, both under that lock, and its
//!   owner does not leave its frame before: it was claimed after a pop, or removes the node itself.
//! - Between pop and claim the lock is held, so an owner that timed out meanwhile, and needs the lock
//!   to withdraw, cannot be gone. After a successful claim the node must not be touched.

use std::panic::Location;
use std::ptr::{self, NonNull};
use std::time::Instant;

use crate::park::Wait;
use crate::prim::{AtomicUsize, Mutex, Ordering, fence, lock};
use crate::sched;
use crate::task::state::{Op, TIMED_OUT};
use crate::task::{Reason, Waiter, Wake};

/// The operation of a plain wake: what was waited for may have happened.
pub(crate) const WOKEN: Op = 0;
/// The operation of a wake because the other side is gone.
pub(crate) const DISCONNECTED: Op = 1;

/// One waiting thread's place in a queue.
#[derive(Debug)]
pub(crate) struct Node {
    waiter: Waiter,
    /// Where the waiting thread takes or offers a value, if the queue's owner deals in values.
    packet: *mut (),
    next: *mut Node,
    prev: *mut Node,
    queued: bool,
}

impl Node {
    pub(crate) fn new(waiter: Waiter, packet: *mut ()) -> Self {
        Self { waiter, packet, next: ptr::null_mut(), prev: ptr::null_mut(), queued: false }
    }

    pub(crate) fn packet(&self) -> *mut () {
        self.packet
    }

    /// Ends the wait of this node's thread: `None` if it was over.
    ///
    /// # Safety
    ///
    /// The caller holds the lock under which it popped this node. After success the node is gone.
    pub(crate) unsafe fn claim(&self, op: Op) -> Option<Wake> {
        let waiter = self.waiter;
        // SAFETY: the owner cannot leave its wait without the lock that we hold.
        unsafe { waiter.claim(op) }
    }
}

/// Waiting threads, first come first served.
#[derive(Debug)]
pub(crate) struct Queue {
    head: *mut Node,
    tail: *mut Node,
    len: usize,
}

// SAFETY: the nodes are reached under the owner's lock only (invariants above), from any thread.
unsafe impl Send for Queue {}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self { head: ptr::null_mut(), tail: ptr::null_mut(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// # Safety
    ///
    /// The node is in no queue, and stays where it is until it was popped or removed.
    pub(crate) unsafe fn push(&mut self, node: NonNull<Node>) {
        let place = node.as_ptr();
        // SAFETY: the node is the caller's; a tail in the queue is alive by the invariant.
        unsafe {
            (*place).next = ptr::null_mut();
            (*place).prev = self.tail;
            (*place).queued = true;
            match NonNull::new(self.tail) {
                Some(tail) => (*tail.as_ptr()).next = place,
                None => self.head = place,
            }
        }
        self.tail = place;
        self.len += 1;
    }

    /// Takes the first node out.
    pub(crate) fn pop(&mut self) -> Option<NonNull<Node>> {
        let node = NonNull::new(self.head)?;
        // SAFETY: a node in the queue is alive and linked.
        unsafe { self.unlink(node) };
        Some(node)
    }

    /// Takes a node out, if it is still in.
    ///
    /// # Safety
    ///
    /// The node was pushed to this queue, and is alive.
    pub(crate) unsafe fn remove(&mut self, node: NonNull<Node>) {
        // SAFETY: the caller's.
        unsafe {
            if (*node.as_ptr()).queued {
                self.unlink(node);
            }
        }
    }

    /// # Safety
    ///
    /// The node is in this queue.
    unsafe fn unlink(&mut self, node: NonNull<Node>) {
        let node = node.as_ptr();
        // SAFETY: the node and its neighbours are in the queue, so they are alive.
        unsafe {
            let (prev, next) = ((*node).prev, (*node).next);
            match NonNull::new(prev) {
                Some(prev) => (*prev.as_ptr()).next = next,
                None => self.head = next,
            }
            match NonNull::new(next) {
                Some(next) => (*next.as_ptr()).prev = prev,
                None => self.tail = prev,
            }
            (*node).queued = false;
        }
        self.len -= 1;
    }

    /// Ends the wait of the first thread that still waits.
    pub(crate) fn claim_one(&mut self, op: Op) -> Option<Wake> {
        while let Some(node) = self.pop() {
            // SAFETY: just popped under the owner's lock.
            if let Some(wake) = unsafe { node.as_ref().claim(op) } {
                return Some(wake);
            }
        }
        None
    }

    /// Ends the wait of every thread. The caller wakes them once it has let go of the lock.
    pub(crate) fn claim_all(&mut self, op: Op) -> Vec<Wake> {
        std::iter::from_fn(|| self.claim_one(op)).collect()
    }
}

/// A place to wait for a condition that others change without a lock: a channel's buffer, a counter.
///
/// The Dekker pattern: who waits enters the queue, fences, and looks at the condition again; who
/// changes the condition fences and looks whether anyone waits.
#[derive(Debug)]
pub(crate) struct WaitList {
    /// The length of the queue, to be read without the lock.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
}

impl WaitList {
    pub(crate) fn new() -> Self {
        Self { waiting: AtomicUsize::new(0), queue: Mutex::new(Queue::new()) }
    }

    /// Blocks until notified, or until `deadline`, unless `ready` holds already. The caller looks at
    /// its condition again whatever the outcome.
    pub(crate) fn wait(
        &self,
        ready: impl FnOnce() -> bool,
        reason: Reason,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Op {
        let wait = Wait::arm();
        let mut node = Node::new(wait.waiter(), ptr::null_mut());
        let node = NonNull::from(&mut node);
        self.with_queue(|queue| {
            // SAFETY: the node stays in this frame until it was claimed or removed below.
            unsafe { queue.push(node) }
        });
        fence(Ordering::SeqCst);
        let op = if ready() {
            // A claim that came first has popped the node, and was for us: its sender's change is
            // among what the caller is about to see.
            wait.cancel().unwrap_or(TIMED_OUT)
        } else {
            wait.park(reason, deadline, site)
        };
        if op == TIMED_OUT {
            self.with_queue(|queue| {
                // SAFETY: pushed above, and alive.
                unsafe { queue.remove(node) }
            });
        }
        op
    }

    /// The condition has changed for one waiter.
    #[inline]
    pub(crate) fn notify_one(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.notify_slow();
        }
    }

    #[cold]
    fn notify_slow(&self) {
        self.with_queue(|queue| queue.claim_one(WOKEN)).into_iter().for_each(sched::wake);
    }

    /// The condition has changed for all.
    pub(crate) fn notify_all(&self, op: Op) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.with_queue(|queue| queue.claim_all(op)).into_iter().for_each(sched::wake);
        }
    }

    fn with_queue<R>(&self, f: impl FnOnce(&mut Queue) -> R) -> R {
        let mut queue = lock(&self.queue);
        let result = f(&mut queue);
        self.waiting.store(queue.len(), Ordering::Relaxed);
        result
    }
}

/// A counter that threads wait for to reach zero.
///
/// Invariant: the count goes to zero under the queue's lock, and whoever waits then is claimed before
/// the lock is let go. So a wait ends only when the count was zero while it was under way, however
/// soon the count rises again.
#[derive(Debug)]
pub(crate) struct Latch {
    count: AtomicUsize,
    waiters: Mutex<Queue>,
}

impl Latch {
    pub(crate) fn new(count: usize) -> Self {
        Self { count: AtomicUsize::new(count), waiters: Mutex::new(Queue::new()) }
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
        let mut waiters = lock(&self.waiters);
        let any = |count: usize| count.checked_sub(1);
        // Acquire: what the others did before they counted down passes on to those who are woken.
        let before = self.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, any).ok()?;
        let wakes = if before == 1 { waiters.claim_all(WOKEN) } else { Vec::new() };
        drop(waiters);
        wakes.into_iter().for_each(sched::wake);
        Some(())
    }

    /// Blocks until the count is zero, or was for a moment.
    pub(crate) fn wait(&self, reason: Reason, site: &'static Location<'static>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut waiters = lock(&self.waiters);
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let wait = Wait::arm();
        let mut node = Node::new(wait.waiter(), ptr::null_mut());
        // SAFETY: the node stays in this frame until it is claimed: there is no deadline.
        unsafe { waiters.push(NonNull::from(&mut node)) };
        drop(waiters);
        wait.park(reason, None, site);
    }
}
