//! A queue of waiting threads, and three flags, in one word.
//!
//! ```text
//!   63                                     4 3       1   0
//!  | address of the first waiter's place    |  flags  | TAKEN |
//! ```
//!
//! The nodes are in the frames of those who wait (`wait.rs`), and the ends of the queue are in the place
//! of the first, which has them for as long as it is the first. So a queue that is empty takes no more
//! than the word, and a word of zero is one where nobody waits and nothing is out of the ordinary.
//!
//! Invariants:
//! - `TAKEN` is a spin lock, as in `spin.rs`: who has set it has the queue and the flags, and nobody else
//!   writes the word. Others may look at it, and see flags as of a moment ago.
//! - While it is taken, the address in the word means nothing; the flags do, once [`Taken::publish`]ed.
//! - A green thread may suspend while it has the word; its worker releases it after the switch.

use std::ptr::{self, NonNull};

use crate::loom::{AtomicUsize, Ordering, const_unless_loom};
use crate::runtime::handle;
use crate::task::header::{Waiter, Wake};
use crate::task::wait_state::WakeReason;
use crate::util::backoff::Backoff;
use crate::util::spin_lock::{Guard, Held, TAKEN};
use crate::wait::queue::{Node, Queue};

/// A queue that is in order and empty, without flags.
const IDLE: usize = 0;

/// What the owner of a queue notes in its word.
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
    /// First, so that its address is the place's.
    node: Node,
    /// The queue, while this place is its first.
    queue: Queue,
    /// What the owner of the queue wants to know of the waiter.
    note: usize,
}

impl Place {
    pub(super) fn new(waiter: Waiter, note: usize) -> Self {
        Self { node: Node::new(waiter, ptr::null_mut()), queue: Queue::new(), note }
    }
}

/// The word.
#[derive(Debug)]
pub(super) struct QueueWord(AtomicUsize);

/// What the word was when somebody looked who does not have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glance(usize);

impl Glance {
    /// Nobody waits, and no flag is set.
    #[inline(always)]
    pub(super) fn is_idle(self) -> bool {
        self.0 == IDLE
    }

    /// Somebody has the word.
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

    /// Whether nobody waits and no flag is set. Orders nothing.
    #[inline(always)]
    pub(super) fn is_idle(&self) -> bool {
        self.glance(Ordering::Relaxed).is_idle()
    }

    /// Whether it is as somebody saw it, and nobody has it. If so, whoever takes it later sees all that the caller did
    /// before.
    pub(super) fn still_is(&self, seen: Glance) -> bool {
        let free = seen.0 & !TAKEN;
        self.0.compare_exchange(free, free, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    #[inline]
    pub(super) fn glance(&self, ordering: Ordering) -> Glance {
        Glance(self.0.load(ordering))
    }

    /// Takes the word, waiting for who has it. Sequentially consistent.
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

/// The queue that the word had.
fn queue_at(address: usize) -> Queue {
    let place: *mut Place = ptr::with_exposed_provenance_mut(address);
    match NonNull::new(place) {
        // SAFETY: the word had the address of the first waiter's place, which is in the queue, so its owner
        // is in the frame; and the caller has taken the word.
        Some(place) => unsafe { (*place.as_ptr()).queue.take() },
        None => Queue::new(),
    }
}

/// The right to use queue and flags. Dropped, it releases the word.
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

    /// Lets others see the flags, while the word stays taken. Sequentially consistent.
    pub(super) fn publish(&self) {
        self.word.0.store(self.flags | TAKEN, Ordering::SeqCst);
    }

    /// Nobody waits, and no flag is set.
    pub(super) fn is_idle(&self) -> bool {
        self.flags == 0 && self.queue.first().is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// What the first waiter noted.
    pub(super) fn first_note(&self) -> Option<usize> {
        // SAFETY: it is in the queue, so its place is alive; nobody writes a note after it was made.
        self.first().map(|place| unsafe { (*place.as_ptr()).note })
    }

    pub(super) fn first(&self) -> Option<NonNull<Place>> {
        self.queue.first().map(NonNull::cast)
    }

    /// Enters at the end.
    ///
    /// # Safety
    ///
    /// The place is in no queue, and stays where it is until it was claimed or [removed](Taken::remove).
    pub(super) unsafe fn push(&mut self, place: NonNull<Place>) {
        // SAFETY: the caller's, of the place's first field.
        unsafe { self.queue.push(place.cast()) };
    }

    /// Enters at the front.
    ///
    /// # Safety
    ///
    /// As for [`push`](Taken::push).
    pub(super) unsafe fn push_front(&mut self, place: NonNull<Place>) {
        // SAFETY: as above.
        unsafe { self.queue.push_front(place.cast()) };
    }

    /// Leaves, unless it was claimed.
    ///
    /// # Safety
    ///
    /// The place was pushed to this queue, and is alive.
    pub(super) unsafe fn remove(&mut self, place: NonNull<Place>) {
        // SAFETY: the caller's.
        unsafe { self.queue.remove(place.cast()) };
    }

    /// Takes the first out and ends its wait: `None` if that was over, or there is no first. The caller wakes
    /// it once it has released the word.
    pub(super) fn claim_first(&mut self, outcome: WakeReason) -> Option<Wake> {
        self.queue.claim_first(outcome)
    }

    /// Takes out the first whose wait is not over and ends that: `None` if there is none. The caller wakes it once it
    /// has released the word.
    pub(super) fn claim_one(&mut self, outcome: WakeReason) -> Option<Wake> {
        self.queue.claim_one(outcome)
    }

    /// Releases the word and wakes so many of those who wait now.
    pub(super) fn wake_many(mut self, most: usize, outcome: WakeReason) {
        let word = self.word;
        // Those who come later are not meant.
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

    /// The word as it is to be when it is no longer taken.
    fn settle(&mut self) -> usize {
        let Some(place) = self.first() else { return self.flags };
        // SAFETY: the place is in the queue, so alive, and the word is ours. (Not through the queue's nodes,
        // which are others' fields of it.)
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

/// Threads that were claimed, to be woken once the word is released. Allocates nothing, so it has an end:
/// who has claimed so many releases the word, wakes them, and goes on with the next.
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

    /// There is room for it: not [full](Wakes::is_full).
    pub(super) fn push(&mut self, wake: Wake) {
        self.claimed[self.len] = Some(wake);
        self.len += 1;
    }

    /// With [`handle::wake`], or one of its kind.
    pub(super) fn wake(self, wake: fn(Wake)) {
        self.claimed.into_iter().flatten().for_each(wake);
    }
}
