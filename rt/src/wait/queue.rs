//! Waiter queues for whatever blocks: channels, locks, latches.
//!
//! A queue is a list through nodes that live in the frames of the waiting threads, so that waiting
//! allocates nothing and leaving costs the same wherever the node is. (A condition that changes without a
//! lock is waited for in a [`WaitList`].)
//!
//! Invariants:
//! - A queue is only touched under its owner's lock.
//! - A node is in a queue from `push` until it is popped or removed, both under that lock, and its
//!   owner does not leave its frame before: it was claimed after a pop, or removes the node itself.
//! - A thread whose runtime was dropped never leaves its frame. Where those behind it could wait because of it, it takes its
//!   node out first; else the node stays until it is popped. It cannot be claimed then.
//! - Between pop and claim the lock is held, so an owner that timed out meanwhile, and needs the lock
//!   to withdraw, cannot be gone. After a successful claim the node must not be touched.
//! - What a claim passes on beside the outcome is written before it, through the node: into the place
//!   that `packet` points to, or into `promise`.

use std::ptr::{self, NonNull};

use crate::task::header::{TaskRef, Waiter, Wake};
use crate::task::wait_state::{MAX_OP, WakeReason};
use crate::wait::ahead::Ahead;

/// The outcome of a plain wake: what was waited for may have happened.
pub(crate) const WOKEN: WakeReason = 0;
/// The outcome of a wake because the other side is gone.
pub(crate) const DISCONNECTED: WakeReason = 1;
/// The outcome of a claim by a partner that has left [`Node::promise`]: the value comes, or goes, later.
pub(crate) const PROMISED: WakeReason = 2;

/// Operations are an outcome in the low bits, and above it the number of the node among those of one
/// wait.
const OUTCOME: WakeReason = 3;
const ARM_SHIFT: u32 = 2;
/// A wait has fewer nodes than this.
pub(crate) const MAX_ARMS: usize = (MAX_OP >> ARM_SHIFT) as usize;

/// Splits the operation of a claim: which node, and with what outcome.
pub(crate) fn arm_and_outcome(op: WakeReason) -> (usize, WakeReason) {
    ((op >> ARM_SHIFT) as usize, op & OUTCOME)
}

/// One waiting thread's place in a queue.
#[derive(Debug)]
pub(crate) struct Node {
    waiter: Waiter,
    /// Where the waiting thread takes or offers a value, if the queue's owner deals in values.
    packet: *mut (),
    /// One side of a promise, after a claim with `PROMISED`.
    promise: *const (),
    next: *mut Node,
    prev: *mut Node,
    queued: bool,
    /// The number of this node, where an operation has it.
    arm: WakeReason,
}

impl Node {
    /// The only node of a wait.
    pub(crate) fn new(waiter: Waiter, packet: *mut ()) -> Self {
        Self::of_arm(waiter, 0, packet)
    }

    /// One of several nodes of a wait.
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

    /// The green thread that waits, if it is one.
    pub(crate) fn task(&self) -> Option<TaskRef> {
        self.waiter.task()
    }

    /// Ends the wait of this node's thread: `None` if it was over.
    ///
    /// # Safety
    ///
    /// The caller holds the lock under which it popped this node. After success the node is gone.
    #[inline]
    pub(crate) unsafe fn claim(&self, outcome: WakeReason) -> Option<Wake> {
        let (waiter, op) = (self.waiter, self.arm | outcome);
        // SAFETY: the owner cannot leave its wait without the lock that we hold.
        unsafe { waiter.claim(op) }
    }
}

/// How many threads are woken in one turn, if there are many.
const TURN: usize = 64;

/// Waiting threads, first come first served.
#[derive(Debug)]
pub(crate) struct Queue {
    head: *mut Node,
    tail: *mut Node,
    len: usize,
}

// SAFETY: another thread can link and unlink nodes, and claim waits by them, which `Waiter` allows: under the owner's
// lock only (invariants above). The places of values that a node names are addresses here; the owner of the queue answers
// for reading and writing there, on whichever thread.
unsafe impl Send for Queue {}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self { head: ptr::null_mut(), tail: ptr::null_mut(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The queue as it is, for another place; an empty one stays.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new())
    }

    /// The node that is next to be popped.
    pub(crate) fn first(&self) -> Option<NonNull<Node>> {
        NonNull::new(self.head)
    }

    /// Whether anyone but `waiter` has a node here.
    pub(crate) fn has_other_than(&self, waiter: Waiter) -> bool {
        let mut place = self.head;
        while let Some(node) = NonNull::new(place) {
            // SAFETY: nodes in the queue are alive and linked.
            let node = unsafe { node.as_ref() };
            if node.waiter != waiter {
                return true;
            }
            place = node.next;
        }
        false
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

    /// Pushes a node to the front: of one that waited before, and comes back.
    ///
    /// # Safety
    ///
    /// As for [`Queue::push`].
    pub(crate) unsafe fn push_front(&mut self, node: NonNull<Node>) {
        let place = node.as_ptr();
        // SAFETY: the node is the caller's; a head in the queue is alive by the invariant.
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

    /// Takes the first node out and ends its thread's wait: `None` if that was over.
    pub(crate) fn claim_first(&mut self, outcome: WakeReason) -> Option<Wake> {
        let node = self.pop()?;
        // SAFETY: just popped under the owner's lock.
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

    /// Ends the wait of every thread. The caller wakes them once it has let go of the lock.
    pub(crate) fn claim_all(&mut self, outcome: WakeReason) -> Vec<Wake> {
        std::iter::from_fn(|| self.claim_one(outcome)).collect()
    }

    /// Ends the waits of the first threads, of some of `left` at most, which counts down: of none only if none is
    /// left. Who wakes them all does so in turns, and lets go of the lock in between: of a million, each is in the
    /// processor's cache while its turn lasts, and the lock is not held for a tenth of a second.
    pub(crate) fn claim_some(&mut self, outcome: WakeReason, left: &mut usize) -> Vec<Wake> {
        let mut wakes = Vec::with_capacity(TURN.min(*left).min(self.len));
        let mut ahead = Ahead::new();
        while wakes.len() < TURN && *left > 0 {
            let Some(first) = self.first() else { break };
            // SAFETY: nodes in the queue are alive.
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

    /// A select that receives from two rendezvous channels, against a sender at each. What `select::run`
    /// and `zero` do, with a lock and a place for each channel.
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

        /// Gives the value to the select, if it waits: true.
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
                // Both came before it was in their queues.
                None => assert!(parked && given == [false, false]),
            }
        });
    }

    /// The select finds the second arm ready while it registers, and withdraws, unless the first was
    /// claimed meanwhile.
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
