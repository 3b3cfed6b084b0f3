//! Queues of waiting threads, for all operations that block: channels, locks, latches.
//!
//! A queue is a list through nodes that live in the frames of the waiting threads. So waiting
//! allocates nothing, and leaving costs the same wherever the node is. (For a condition that
//! changes without a lock there is [`WaitList`].)
//!
//! Invariants:
//! - A queue is only touched under its owner's lock.
//! - A node is in a queue from `push` until it is popped or removed, both under that lock. Its
//!   owner does not leave its frame before: either it was claimed after a pop, or it removes the
//!   node itself.
//! - A thread whose runtime was dropped never leaves its frame. If threads behind it could wait
//!   because of it, it takes its node out first. Otherwise the node stays until it is popped; it
//!   cannot be claimed then.
//! - Between pop and claim the lock is held. So an owner that timed out meanwhile, and needs the
//!   lock to withdraw, cannot be gone. After a successful claim the node must not be touched.
//! - Data that a claim passes on beside the outcome is written before the claim, through the node:
//!   into the place that `packet` points to, or into `promise`.

use std::ptr::{self, NonNull};

use crate::task::header::{TaskRef, Waiter, Wake};
use crate::task::wait_state::{MAX_OP, WakeReason};
use crate::wait::ahead::Ahead;

/// The outcome of a plain wake: the condition may have become true.
pub(crate) const WOKEN: WakeReason = 0;
/// The outcome of a wake because the other side is gone.
pub(crate) const DISCONNECTED: WakeReason = 1;
/// The outcome of a claim by a partner that has left [`Node::promise`]: the value comes, or is
/// taken, later.
pub(crate) const PROMISED: WakeReason = 2;

/// The mask of the outcome in an operation. Above it is the number of the node among the nodes of
/// one wait.
const OUTCOME: WakeReason = 3;
const ARM_SHIFT: u32 = 2;
/// The number of nodes of one wait is less than this.
pub(crate) const MAX_ARMS: usize = (MAX_OP >> ARM_SHIFT) as usize;

/// Splits the operation of a claim into the number of the node and the outcome.
pub(crate) fn arm_and_outcome(op: WakeReason) -> (usize, WakeReason) {
    ((op >> ARM_SHIFT) as usize, op & OUTCOME)
}

/// The place of one waiting thread in a queue.
#[derive(Debug)]
pub(crate) struct Node {
    waiter: Waiter,
    /// The place where the waiting thread takes or offers a value, if the queue's owner passes
    /// values.
    packet: *mut (),
    /// One side of a promise, after a claim with `PROMISED`.
    promise: *const (),
    next: *mut Node,
    prev: *mut Node,
    queued: bool,
    /// The number of this node, shifted to its position in an operation.
    arm: WakeReason,
}

impl Node {
    /// Creates the only node of a wait.
    pub(crate) fn new(waiter: Waiter, packet: *mut ()) -> Self {
        Self::of_arm(waiter, 0, packet)
    }

    /// Creates one of several nodes of a wait.
    #[inline(always)]
    pub(crate) fn of_arm(waiter: Waiter, arm: usize, packet: *mut ()) -> Self {
        debug_assert!(arm < MAX_ARMS);
        Self {
            waiter,
            packet,
            promise: ptr::null(),
            next: ptr::null_mut(),
            prev: ptr::null_mut(),
            queued: false,
            arm: (arm as WakeReason) << ARM_SHIFT,
        }
    }

    pub(crate) fn packet(&self) -> *mut () {
        self.packet
    }

    pub(crate) fn set_packet(&mut self, packet: *mut ()) {
        self.packet = packet;
    }

    pub(crate) fn promise(&self) -> *const () {
        self.promise
    }

    pub(crate) fn set_promise(&mut self, promise: *const ()) {
        self.promise = promise;
    }

    /// Returns the waiting green thread, if it is one.
    pub(crate) fn task(&self) -> Option<TaskRef> {
        self.waiter.task()
    }

    /// Ends the wait of this node's thread. Returns `None` if it was over already.
    ///
    /// # Safety
    ///
    /// The caller holds the lock under which it popped this node. After success the node is gone.
    #[inline]
    pub(crate) unsafe fn claim(&self, outcome: WakeReason) -> Option<Wake> {
        let (waiter, op) = (self.waiter, self.arm | outcome);
        // SAFETY: the waiter is valid: its owner cannot leave its wait without the lock that the
        // caller holds.
        unsafe { waiter.claim(op) }
    }
}

/// The number of threads that are woken in one turn, if there are many.
const TURN: usize = 64;

/// Waiting threads, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Queue {
    head: *mut Node,
    tail: *mut Node,
    len: usize,
}

// SAFETY: another thread can link and unlink nodes, and claim waits with them, which `Waiter`
// allows. It does so only under the owner's lock (invariants above). The places for values that a
// node names are only addresses here. The owner of the queue is responsible for reading and writing
// them, on whichever thread.
unsafe impl Send for Queue {}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self { head: ptr::null_mut(), tail: ptr::null_mut(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Moves the queue out, for another place, and leaves an empty one.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new())
    }

    /// Returns the node that is next to be popped.
    pub(crate) fn first(&self) -> Option<NonNull<Node>> {
        NonNull::new(self.head)
    }

    /// Returns `true` if a thread other than `waiter` has a node here.
    pub(crate) fn has_other_than(&self, waiter: Waiter) -> bool {
        let mut place = self.head;
        while let Some(node) = NonNull::new(place) {
            // SAFETY: nodes in the queue are alive and linked, and are touched only under the
            // owner's lock.
            let node = unsafe { node.as_ref() };
            if node.waiter != waiter {
                return true;
            }
            place = node.next;
        }
        false
    }

    /// Pushes a node to the back.
    ///
    /// # Safety
    ///
    /// The node is in no queue, and stays where it is until it is popped or removed.
    pub(crate) unsafe fn push(&mut self, node: NonNull<Node>) {
        let place = node.as_ptr();
        // SAFETY: the caller guarantees that the node is alive and in no queue; a tail in the queue
        // is alive by the invariant.
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

    /// Pushes a node to the front, for a thread that waited before and comes back.
    ///
    /// # Safety
    ///
    /// As for [`Queue::push`].
    pub(crate) unsafe fn push_front(&mut self, node: NonNull<Node>) {
        let place = node.as_ptr();
        // SAFETY: the caller guarantees that the node is alive and in no queue; a head in the queue
        // is alive by the invariant.
        unsafe {
            (*place).next = self.head;
            (*place).prev = ptr::null_mut();
            (*place).queued = true;
            match NonNull::new(self.head) {
                Some(head) => (*head.as_ptr()).prev = place,
                None => self.tail = place,
            }
        }
        self.head = place;
        self.len += 1;
    }

    /// Takes the first node out.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<NonNull<Node>> {
        let node = NonNull::new(self.head)?;
        // SAFETY: the head is in this queue.
        unsafe { self.unlink(node) };
        Some(node)
    }

    /// Takes a node out, if it is still in.
    ///
    /// # Safety
    ///
    /// The node was pushed to this queue, and is alive.
    pub(crate) unsafe fn remove(&mut self, node: NonNull<Node>) {
        // SAFETY: the caller guarantees that the node is alive. If it is queued it is in this
        // queue, to which it was pushed.
        unsafe {
            if (*node.as_ptr()).queued {
                self.unlink(node);
            }
        }
    }

    /// Unlinks a node.
    ///
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

    /// Takes the first node out and ends its thread's wait. Returns `None` if that was over
    /// already, or the queue is empty.
    pub(crate) fn claim_first(&mut self, outcome: WakeReason) -> Option<Wake> {
        let node = self.pop()?;
        // SAFETY: the node was popped just now, under the owner's lock.
        unsafe { node.as_ref().claim(outcome) }
    }

    /// Ends the wait of the first thread that still waits.
    pub(crate) fn claim_one(&mut self, outcome: WakeReason) -> Option<Wake> {
        while self.first().is_some() {
            if let wake @ Some(_) = self.claim_first(outcome) {
                return wake;
            }
        }
        None
    }

    /// Ends the wait of every thread. The caller wakes them once it has released the lock.
    pub(crate) fn claim_all(&mut self, outcome: WakeReason) -> Vec<Wake> {
        std::iter::from_fn(|| self.claim_one(outcome)).collect()
    }

    /// Ends the waits of some of the first threads, at most `left`, which is counted down. The
    /// result is empty only if no thread is left. A caller that wakes all threads does so in turns,
    /// and releases the lock in between. With very many threads, each is still in the processor's
    /// cache when it is woken, and the lock is not held for long.
    pub(crate) fn claim_some(&mut self, outcome: WakeReason, left: &mut usize) -> Vec<Wake> {
        let mut wakes = Vec::with_capacity(TURN.min(*left).min(self.len));
        let mut ahead = Ahead::new();
        while wakes.len() < TURN && *left > 0 {
            let Some(first) = self.first() else { break };
            // SAFETY: nodes in the queue are alive, so the node can be read.
            let task = unsafe { first.as_ref() }.task();
            ahead.look(first.cast(), task.map(TaskRef::as_ptr));
            *left -= 1;
            wakes.extend(self.claim_first(outcome));
        }
        wakes
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::{AtomicUsize, Ordering};
    use crate::task::wait_state::{Claim, Commit, WaitState};
    use crate::util::spin_lock::SpinLock;
    use loom::sync::Arc;
    use loom::thread;

    /// A select that receives from two rendezvous channels, against a sender at each. It models
    /// `select::run` and `zero`, with a lock and a place for each channel.
    struct World {
        cell: WaitState,
        channels: [(SpinLock<bool>, AtomicUsize); 2],
        scheduled: AtomicUsize,
    }

    impl World {
        fn new() -> Arc<Self> {
            let channel = || (SpinLock::new(false), AtomicUsize::new(0));
            Arc::new(Self {
                cell: WaitState::new(),
                channels: [channel(), channel()],
                scheduled: AtomicUsize::new(0),
            })
        }

        /// Gives the value to the select if it waits. Returns `true` if it was taken.
        fn give(&self, channel: usize, value: usize) -> bool {
            let (queue, place) = &self.channels[channel];
            let mut queue = queue.lock();
            if !std::mem::replace(&mut *queue, false) {
                return false;
            }
            place.store(value, Ordering::Relaxed);
            let claim = self.cell.claim(channel as WakeReason);
            drop(queue);
            if claim == Claim::Asleep {
                self.scheduled.fetch_add(1, Ordering::Relaxed);
            }
            claim != Claim::Lost
        }
    }

    #[test]
    fn a_select_takes_one_value_and_leaves_the_other() {
        loom::model(|| {
            let world = World::new();
            let senders = [0, 1].map(|channel| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.give(channel, channel + 10))
            });
            world.cell.arm();
            for (queue, _) in &world.channels {
                *queue.lock() = true;
            }
            let committed = world.cell.commit();
            let given = senders.map(|sender| sender.join().unwrap());
            let parked = committed == Commit::Parked;
            match world.cell.selected() {
                Some(op) => {
                    assert!(given[op as usize] && !given[1 - op as usize]);
                    let place = &world.channels[op as usize].1;
                    assert_eq!(place.load(Ordering::Relaxed), op as usize + 10);
                    assert_eq!(world.scheduled.load(Ordering::Relaxed), usize::from(parked));
                }
                // Both senders came before it was in their queues.
                None => assert!(parked && given == [false, false]),
            }
        });
    }

    /// The select finds the second arm ready while it registers, and withdraws, unless the first
    /// arm was claimed meanwhile.
    #[test]
    fn a_select_that_withdraws_leaves_the_value_or_has_it() {
        loom::model(|| {
            let world = World::new();
            let sender = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.give(0, 10))
            };
            world.cell.arm();
            *world.channels[0].0.lock() = true;
            let claimed = world.cell.cancel();
            // Out of the queue, before the frame ends.
            *world.channels[0].0.lock() = false;
            assert_eq!(claimed, sender.join().unwrap().then_some(0));
        });
    }
}
