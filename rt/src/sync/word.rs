//! A queue of waiting threads, and three flags, in one word.
//!
//! ```text
//!   63                                     4 3       1   0
//!  | address of the first waiter's place    |  flags  | TAKEN |
//! ```
//!
//! The nodes are in the frames of the waiting threads (`wait.rs`). The ends of the queue are in the
//! place of the first waiter, for as long as it is the first. So an empty queue takes no more than
//! the word. A word of zero means that no thread waits and no flag is set.
//!
//! Invariants:
//! - `TAKEN` is a spin lock, as in `spin.rs`: the thread that has set it has the queue and the
//!   flags, and no other thread writes the word. Others may read it, and see flags as of a moment
//!   ago.
//! - While it is taken, the address in the word means nothing. The flags are valid once they were
//!   [`Taken::publish`]ed.
//! - A green thread may suspend while it has the word; its worker releases the word after the
//!   switch.

use std::ptr::{self, NonNull};

use crate::loom::{AtomicUsize, Ordering, const_unless_loom};
use crate::runtime::handle;
use crate::task::header::{Waiter, Wake};
use crate::task::wait_state::WakeReason;
use crate::util::backoff::Backoff;
use crate::util::spin_lock::{Guard, Held, TAKEN};
use crate::wait::queue::{Node, Queue};

/// An empty queue, with the word not taken and no flags.
const IDLE: usize = 0;

/// A flag that the queue's owner keeps in its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flag(usize);

impl Flag {
    pub(super) const A: Self = Self(1 << 1);
    pub(super) const B: Self = Self(1 << 2);
    pub(super) const C: Self = Self(1 << 3);
}

const FLAGS: usize = Flag::A.0 | Flag::B.0 | Flag::C.0;
const ADDRESS: usize = !(FLAGS | TAKEN);

/// A waiting thread's place in the queue, in its frame.
#[derive(Debug)]
#[repr(C, align(16))]
pub(super) struct Place {
    /// First, so that its address is the address of the place.
    node: Node,
    /// The queue, while this place is its first.
    queue: Queue,
    /// A note of the queue's owner about the waiter.
    note: usize,
}

impl Place {
    pub(super) fn new(waiter: Waiter, note: usize) -> Self {
        Self { node: Node::new(waiter, ptr::null_mut()), queue: Queue::new(), note }
    }
}

/// The word of a queue.
#[derive(Debug)]
pub(super) struct QueueWord(AtomicUsize);

/// The word as it was when a thread that does not have it looked at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance(usize);

impl Glance {
    /// Returns `true` if no thread waits, and no flag is set.
    #[inline(always)]
    pub(super) fn is_idle(self) -> bool {
        self.0 == IDLE
    }

    /// Returns `true` if a thread has the word.
    #[inline(always)]
    pub(super) fn is_taken(self) -> bool {
        self.0 & TAKEN != 0
    }

    #[inline(always)]
    pub(super) fn has(self, flag: Flag) -> bool {
        self.0 & flag.0 != 0
    }
}

impl QueueWord {
    const_unless_loom! {
        pub(super) const fn new() -> Self {
            Self(AtomicUsize::new(IDLE))
        }
    }

    /// Returns `true` if no thread waits and no flag is set. Orders nothing.
    #[inline(always)]
    pub(super) fn is_idle(&self) -> bool {
        self.glance(Ordering::Relaxed).is_idle()
    }

    /// Returns `true` if the word is still as it was seen, and not taken. If so, a thread that
    /// takes it later sees everything that the caller has done before.
    pub(super) fn still_is(&self, seen: Glance) -> bool {
        let free = seen.0 & !TAKEN;
        self.0.compare_exchange(free, free, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    #[inline]
    pub(super) fn glance(&self, ordering: Ordering) -> Glance {
        Glance(self.0.load(ordering))
    }

    /// Takes the word, waiting for the thread that has it. Sequentially consistent.
    pub(super) fn take(&self) -> Taken<'_> {
        let mut patience = Backoff::new();
        loop {
            let word = self.0.load(Ordering::Relaxed);
            if word & TAKEN == 0 {
                let taken = word | TAKEN;
                if self.0.compare_exchange(word, taken, Ordering::SeqCst, Ordering::Relaxed).is_ok()
                {
                    return Taken {
                        word: self,
                        flags: word & FLAGS,
                        queue: queue_at(word & ADDRESS),
                    };
                }
            }
            patience.wait();
        }
    }
}

/// Returns the queue that the word pointed to.
fn queue_at(address: usize) -> Queue {
    let place: *mut Place = ptr::with_exposed_provenance_mut(address);
    match NonNull::new(place) {
        // SAFETY: the word had the address of the first waiter's place. That place is in the queue,
        // so it is alive, in its owner's frame. The caller has taken the word, so no other thread
        // accesses the queue.
        Some(place) => unsafe { (*place.as_ptr()).queue.take() },
        None => Queue::new(),
    }
}

/// The right to use the queue and the flags. Releases the word when it is dropped.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    word: &'a QueueWord,
    flags: usize,
    queue: Queue,
}

impl Taken<'_> {
    pub(super) fn has(&self, flag: Flag) -> bool {
        self.flags & flag.0 != 0
    }

    pub(super) fn set(&mut self, flag: Flag) {
        self.flags |= flag.0;
    }

    pub(super) fn clear(&mut self, flag: Flag) {
        self.flags &= !flag.0;
    }

    /// Makes the flags visible to other threads, while the word stays taken. Sequentially
    /// consistent.
    pub(super) fn publish(&self) {
        self.word.0.store(self.flags | TAKEN, Ordering::SeqCst);
    }

    /// Returns `true` if no thread waits, and no flag is set.
    pub(super) fn is_idle(&self) -> bool {
        self.flags == 0 && self.queue.first().is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Returns the first waiter's note.
    pub(super) fn first_note(&self) -> Option<usize> {
        // SAFETY: the first place is in the queue, so it is alive. No thread writes the note after
        // the place was created.
        self.first().map(|place| unsafe { (*place.as_ptr()).note })
    }

    pub(super) fn first(&self) -> Option<NonNull<Place>> {
        self.queue.first().map(NonNull::cast)
    }

    /// Adds a place at the end.
    ///
    /// # Safety
    ///
    /// The place is in no queue, and stays where it is until it is claimed or
    /// [removed](Taken::remove).
    pub(super) unsafe fn push(&mut self, place: NonNull<Place>) {
        // SAFETY: by this function's contract; the node is the place's first field, so it has the
        // place's address.
        unsafe { self.queue.push(place.cast()) };
    }

    /// Adds a place at the front.
    ///
    /// # Safety
    ///
    /// As for [`push`](Taken::push).
    pub(super) unsafe fn push_front(&mut self, place: NonNull<Place>) {
        // SAFETY: as in `push`.
        unsafe { self.queue.push_front(place.cast()) };
    }

    /// Takes a place out of the queue, unless it was claimed.
    ///
    /// # Safety
    ///
    /// The place was pushed to this queue, and is alive.
    pub(super) unsafe fn remove(&mut self, place: NonNull<Place>) {
        // SAFETY: by this function's contract; the node is the place's first field.
        unsafe { self.queue.remove(place.cast()) };
    }

    /// Takes the first waiter out and ends its wait. Returns `None` if that wait was over already,
    /// or if there is no waiter. The caller wakes the thread once it has released the word.
    pub(super) fn claim_first(&mut self, outcome: WakeReason) -> Option<Wake> {
        self.queue.claim_first(outcome)
    }

    /// Takes out the first waiter whose wait is not over, and ends that wait. Returns `None` if
    /// there is none. The caller wakes the thread once it has released the word.
    pub(super) fn claim_one(&mut self, outcome: WakeReason) -> Option<Wake> {
        self.queue.claim_one(outcome)
    }

    /// Releases the word, and wakes at most `most` of the threads that wait now.
    pub(super) fn wake_many(mut self, most: usize, outcome: WakeReason) {
        let word = self.word;
        // Threads that enter later are not to be woken.
        let mut left = self.len().min(most);
        while left > 0 {
            let mut wakes = Wakes::new();
            while left > 0 && !wakes.is_full() {
                match self.queue.claim_one(outcome) {
                    Some(wake) => wakes.push(wake),
                    None => left = 1,
                }
                left -= 1;
            }
            drop(self);
            wakes.wake(handle::wake);
            self = word.take();
        }
    }

    /// Stores the queue in the first place, and returns the word for when it is no longer taken.
    fn settle(&mut self) -> usize {
        let Some(place) = self.first() else { return self.flags };
        // SAFETY: the place is in the queue, so it is alive, and this thread has the word. The
        // access does not go through the queue's nodes, which are other fields of the place.
        unsafe { (*place.as_ptr()).queue = self.queue.take() };
        place.as_ptr().expose_provenance() | self.flags
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let word = self.settle();
        self.word.0.store(word, Ordering::Release);
    }
}

impl Guard for Taken<'_> {
    fn into_held(mut self) -> Held {
        let word = self.settle();
        self.word.0.store(word | TAKEN, Ordering::Relaxed);
        let held = Held::new(&self.word.0);
        std::mem::forget(self);
        held
    }
}

/// Claimed threads, to be woken once the word is released. It allocates nothing, so its capacity is
/// limited: when it is full, the caller releases the word, wakes the threads, and goes on with the
/// next ones.
pub(super) struct Wakes {
    claimed: [Option<Wake>; Self::MOST],
    len: usize,
}

impl Wakes {
    const MOST: usize = 32;

    pub(super) fn new() -> Self {
        Self { claimed: [const { None }; Self::MOST], len: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == Self::MOST
    }

    /// Adds a thread; there is room, so this is not [full](Wakes::is_full).
    pub(super) fn push(&mut self, wake: Wake) {
        self.claimed[self.len] = Some(wake);
        self.len += 1;
    }

    /// Wakes all threads with `wake`, which is [`handle::wake`] or a variant of it.
    pub(super) fn wake(self, wake: fn(Wake)) {
        self.claimed.into_iter().flatten().for_each(wake);
    }
}
