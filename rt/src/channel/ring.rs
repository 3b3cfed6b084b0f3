//! The buffer of a bounded channel: a ring of slots, each with a stamp that says whose turn it is.
//! (Dmitry Vyukov's bounded queue; disconnection by a bit of the tail is crossbeam-channel's idea.)
//!
//! Head and tail are *positions*, counted in fours: the slot's index in the low part, the lap in the
//! high part, and the two lowest bits free. A slot's stamp is a position with a state in those bits:
//!
//! ```text
//!   position p          free: the sender that moves the tail from p may fill it
//!   p + FILLED          the receiver that moves the head from p may take the value
//!   p + PENDING         a select has reserved it, and its value comes later
//!   p + HOLE            a select had reserved it and gave up: receivers pass over it
//!   p + one lap         free again, for the sender of the next lap
//! ```
//!
//! Invariants:
//! - Whoever moves the tail from p owns slot p until it stores a stamp of p with a state; whoever moves
//!   the head from p owns it from there until it stores p plus a lap. So a slot is touched by one
//!   thread at a time, and `head <= tail <= head + lap`.
//! - Between moving the head or tail and storing the stamp there are a few instructions and nothing that
//!   could suspend a green thread, so others may wait for it by spinning. What may take long, a select
//!   between its choice and its value, is PENDING instead, and nobody spins on that.
//! - Whoever changes head or tail, or is about to sleep for what they are, comes first, and leaves after
//!   ([`Sole`]). If it is not alone, head and tail move, and are read by those who are about to sleep, with
//!   sequentially consistent operations: see `WaitList`. (Who fills a reserved slot does not come: `buffered`
//!   fences for those who wait for that.)

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use crossbeam_utils::CachePadded;

use super::buffer::{Buffer, Peek, Pop, PushError};
use crate::prim::{AtomicUsize, Ordering};
use crate::sole::{Entry, Sole};
use crate::spin::Patience;

const FILLED: usize = 1;
const PENDING: usize = 2;
const HOLE: usize = 3;
const ONE: usize = 4;
/// In the tail's state bits: nothing more is sent.
const CLOSED: usize = 1;

pub(super) struct Ring<T> {
    head: CachePadded<AtomicUsize>,
    tail: CachePadded<AtomicUsize>,
    slots: Box<[Slot<T>]>,
    sole: Sole,
    /// A power of two, so that laps and indices do not mix.
    lap: usize,
}

struct Slot<T> {
    stamp: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// A slot that a select has reserved.
pub(super) struct Reserved(usize);

impl Reserved {
    pub(super) fn position(&self) -> usize {
        self.0
    }

    /// The one of [`Reserved::position`], which must not be used twice.
    pub(super) fn at(position: usize) -> Self {
        Self(position)
    }
}

impl<T> Ring<T> {
    /// `cap` is not zero.
    pub(super) fn new(cap: usize) -> Self {
        let lap = cap.checked_next_power_of_two().and_then(|n| n.checked_mul(ONE));
        // As for a `Vec`: such a buffer would not fit in the address space.
        let lap = lap.filter(|lap| lap.leading_zeros() > 1).expect("capacity overflow");
        // In place: a slot may be too large for the stack.
        let mut slots = Box::<[Slot<T>]>::new_uninit_slice(cap);
        for (n, slot) in slots.iter_mut().enumerate() {
            // SAFETY: the place is a slot's, to be initialized. Of its two fields the value needs not.
            unsafe { (&raw mut (*slot.as_mut_ptr()).stamp).write(AtomicUsize::new(n * ONE)) };
        }
        // SAFETY: all stamps are written.
        let slots = unsafe { slots.assume_init() };
        Self {
            head: CachePadded::new(AtomicUsize::new(0)),
            tail: CachePadded::new(AtomicUsize::new(0)),
            slots,
            sole: Sole::new(),
            lap,
        }
    }

    #[inline]
    fn slot(&self, position: usize) -> &Slot<T> {
        let index = (position & (self.lap - 1)) / ONE;
        debug_assert!(index < self.slots.len());
        // SAFETY: positions come from `next`, which wraps their index around at the length.
        unsafe { self.slots.get_unchecked(index) }
    }

    /// Has the processor fetch what is two lines after this slot, which its caller has taken, unless alone, so that it need not wait for
    /// it later: who sends and who receives each take every line over from the other, to write to it.
    #[inline(always)]
    fn fetch_ahead(&self, entry: &Entry<'_>, slot: &Slot<T>) {
        const TWO_LINES: usize = 128;
        let ahead = const {
            if size_of::<Slot<T>>() < TWO_LINES { TWO_LINES / size_of::<Slot<T>>() } else { 1 }
        };
        // A small ring has no such line. Where another ends, it is somebody else's: a hint that is wrong twice a lap.
        if !entry.is_alone() && self.lap > ahead * ONE {
            let ahead = std::ptr::from_ref(slot).wrapping_add(ahead);
            gthread_arch::prefetch_to_write(ahead.cast());
        }
    }

    #[inline]
    fn next(&self, position: usize) -> usize {
        let index = (position & (self.lap - 1)) / ONE;
        if index + 1 < self.slots.len() {
            position + ONE
        } else {
            (position & !(self.lap - 1)).wrapping_add(self.lap)
        }
    }

    /// Takes the slot at the tail, to be stamped soon.
    #[inline]
    fn take_tail(&self, entry: &Entry<'_>) -> Result<usize, PushError> {
        let mut tail = self.tail.load(Ordering::Acquire);
        let mut patience = Patience::new();
        loop {
            if tail & CLOSED != 0 {
                return Err(PushError::Closed);
            }
            let slot = self.slot(tail);
            if slot.stamp.load(Ordering::Acquire) == tail {
                match entry.exchange(&self.tail, tail, self.next(tail)) {
                    Ok(()) => {
                        self.fetch_ahead(entry, slot);
                        return Ok(tail);
                    }
                    Err(now) => {
                        tail = now;
                        patience.lost();
                    }
                }
            } else {
                // The tail was read before the head, so if they are a lap apart now they were so then.
                if self.head.load(Ordering::SeqCst).wrapping_add(self.lap) == tail {
                    return Err(PushError::Full);
                }
                patience.wait();
                tail = self.tail.load(Ordering::Acquire);
            }
        }
    }

    /// Reserves a slot for a value that comes later, or never.
    pub(super) fn reserve(&self) -> Result<Reserved, PushError> {
        let entry = self.sole.enter();
        let position = self.take_tail(&entry)?;
        self.slot(position).stamp.store(position | PENDING, Ordering::Release);
        Ok(Reserved(position))
    }

    /// Fills a reserved slot.
    pub(super) fn fill(&self, reserved: Reserved, value: T) {
        // SAFETY: reserved for the caller, who gives the reservation up.
        unsafe { self.publish(reserved.0, value) };
    }

    /// Gives a reserved slot up.
    pub(super) fn abandon(&self, reserved: Reserved) {
        self.slot(reserved.0).stamp.store(reserved.0 | HOLE, Ordering::Release);
    }

    /// # Safety
    ///
    /// The caller took the tail at `position`, and does this once.
    #[inline]
    unsafe fn publish(&self, position: usize, value: T) {
        let slot = self.slot(position);
        // SAFETY: the slot is the caller's.
        unsafe { (*slot.value.get()).write(value) };
        slot.stamp.store(position | FILLED, Ordering::Release);
    }

    /// Frees the slot at the head if it is one that was given up.
    pub(super) fn pass_hole(&self) -> bool {
        let entry = self.sole.enter();
        let head = self.head.load(Ordering::Acquire);
        let slot = self.slot(head);
        if slot.stamp.load(Ordering::Acquire) != head | HOLE {
            return false;
        }
        if entry.exchange(&self.head, head, self.next(head)).is_err() {
            return false;
        }
        slot.stamp.store(head.wrapping_add(self.lap), Ordering::Release);
        true
    }
}

impl<T> Buffer<T> for Ring<T> {
    #[inline]
    fn try_push(&self, value: T) -> Result<(), (PushError, T)> {
        let entry = self.sole.enter();
        match self.take_tail(&entry) {
            Ok(position) => {
                // SAFETY: just taken.
                unsafe { self.publish(position, value) };
                Ok(())
            }
            Err(error) => Err((error, value)),
        }
    }

    #[inline]
    fn try_pop(&self) -> Pop<T> {
        let entry = self.sole.enter();
        let mut head = self.head.load(Ordering::Acquire);
        let mut patience = Patience::new();
        loop {
            let slot = self.slot(head);
            let state = slot.stamp.load(Ordering::Acquire).wrapping_sub(head);
            match state {
                FILLED | HOLE => {
                    match entry.exchange(&self.head, head, self.next(head)) {
                        Ok(()) => {
                            self.fetch_ahead(&entry, slot);
                            // SAFETY: the slot is ours. The value is there if the state says so.
                            let value = (state == FILLED)
                                .then(|| unsafe { (*slot.value.get()).assume_init_read() });
                            slot.stamp.store(head.wrapping_add(self.lap), Ordering::Release);
                            return value.map_or(Pop::Hole, Pop::Value);
                        }
                        Err(now) => {
                            head = now;
                            patience.lost();
                        }
                    }
                }
                PENDING => return Pop::Empty,
                _ => {
                    let tail = self.tail.load(Ordering::SeqCst);
                    if tail & !CLOSED == head {
                        return if tail & CLOSED == 0 { Pop::Empty } else { Pop::Closed };
                    }
                    patience.wait();
                    head = self.head.load(Ordering::Acquire);
                }
            }
        }
    }

    fn can_push(&self) -> bool {
        let _entry = self.sole.enter();
        let head = self.head.load(Ordering::SeqCst);
        let tail = self.tail.load(Ordering::SeqCst);
        // The head may have moved on since, and the tail after it: then there was room.
        tail & CLOSED != 0 || head.wrapping_add(self.lap) != tail
    }

    fn peek(&self) -> Peek {
        let _entry = self.sole.enter();
        let mut patience = Patience::new();
        loop {
            let head = self.head.load(Ordering::SeqCst);
            let tail = self.tail.load(Ordering::SeqCst);
            if tail & !CLOSED == head {
                return if tail & CLOSED == 0 { Peek::Empty } else { Peek::Ready };
            }
            match self.slot(head).stamp.load(Ordering::SeqCst).wrapping_sub(head) {
                FILLED | HOLE => return Peek::Ready,
                PENDING => return Peek::Reserved,
                _ => patience.wait(),
            }
        }
    }

    fn close(&self) -> bool {
        let _entry = self.sole.enter();
        self.tail.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0
    }

    fn is_closed(&self) -> bool {
        self.tail.load(Ordering::SeqCst) & CLOSED != 0
    }

    fn len(&self) -> usize {
        loop {
            let tail = self.tail.load(Ordering::SeqCst) & !CLOSED;
            let head = self.head.load(Ordering::SeqCst);
            // Both of one moment, if the tail has not moved meanwhile.
            if self.tail.load(Ordering::SeqCst) & !CLOSED == tail {
                let index = |position| (position & (self.lap - 1)) / ONE;
                return match (index(head), index(tail)) {
                    (head, tail) if head < tail => tail - head,
                    (head, tail) if head > tail => self.slots.len() - head + tail,
                    _ if tail == head => 0,
                    _ => self.slots.len(),
                };
            }
        }
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.slots.len())
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        let tail = self.tail.load(Ordering::Relaxed) & !CLOSED;
        let mut head = self.head.load(Ordering::Relaxed);
        while head != tail {
            let slot = self.slot(head);
            // A reservation whose operation was leaked never comes.
            if slot.stamp.load(Ordering::Relaxed) == head | FILLED {
                // SAFETY: nobody else is left, and the stamp says that the value is there.
                unsafe { (*slot.value.get()).assume_init_drop() };
            }
            head = self.next(head);
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::prim::fence;
    use crate::wait::sequentially_consistent;
    use loom::sync::Arc;
    use loom::thread;

    fn pop(ring: &Ring<usize>) -> Option<usize> {
        match ring.try_pop() {
            Pop::Value(value) => Some(value),
            _ => None,
        }
    }

    /// Two send into one place, one receives: what was sent comes out or is still in.
    #[test]
    fn values_are_neither_lost_nor_doubled() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(1));
            let senders = [1, 2].map(|value| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || ring.try_push(value).is_ok().then_some(value))
            });
            let mut out: Vec<usize> = pop(&ring).into_iter().collect();
            let mut sent: Vec<usize> =
                senders.into_iter().filter_map(|sender| sender.join().unwrap()).collect();
            out.extend(std::iter::from_fn(|| pop(&ring)));
            (out.sort(), sent.sort());
            assert_eq!(out, sent);
            assert!(!sent.is_empty(), "a place, and nobody got it");
        });
    }

    #[test]
    fn two_receivers_share_a_value_and_a_hole() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(2));
            let reserved = ring.reserve().ok().unwrap();
            assert!(ring.try_push(5).is_ok());
            let receivers = [0, 1].map(|_| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || match ring.try_pop() {
                    Pop::Hole => pop(&ring),
                    Pop::Value(value) => Some(value),
                    _ => None,
                })
            });
            ring.abandon(reserved);
            let out = receivers.map(|receiver| receiver.join().unwrap());
            let out: Vec<_> =
                out.into_iter().flatten().chain(pop(&ring)).chain(pop(&ring)).collect();
            assert_eq!(out, [5]);
            assert_eq!(ring.len(), 0);
        });
    }

    /// Who is alone sends without a fence; another is about to sleep. (Compare `a_receiver_that_sleeps_…`.)
    #[test]
    fn who_comes_to_sleep_sees_what_was_sent_alone() {
        loom::model(|| {
            let world = Arc::new((Ring::new(1), AtomicUsize::new(0)));
            let (ring, waiting) = &*world;
            assert!(ring.try_push(1).is_ok());
            assert_eq!(pop(ring), Some(1));
            let receiver = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    let (ring, waiting) = &*world;
                    waiting.store(1, Ordering::Relaxed);
                    fence(Ordering::SeqCst);
                    ring.peek() == Peek::Empty
                })
            };
            let entry = ring.sole.enter();
            let alone = entry.is_alone();
            let position = ring.take_tail(&entry).unwrap_or_else(|_| unreachable!("room"));
            // SAFETY: just taken.
            unsafe { ring.publish(position, 2) };
            drop(entry);
            if !alone {
                sequentially_consistent();
            }
            let seen = waiting.load(Ordering::SeqCst) > 0;
            assert!(seen || !receiver.join().unwrap(), "asleep, and nobody knows");
            assert_eq!(pop(ring), Some(2));
        });
    }

    /// Closing against sending: a value that went in comes out before the news.
    #[test]
    fn nothing_is_sent_after_the_end() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(2));
            let sender = {
                let ring = Arc::clone(&ring);
                thread::spawn(move || ring.try_push(1).is_ok())
            };
            ring.close();
            let mut out = 0;
            loop {
                match ring.try_pop() {
                    Pop::Value(_) => out += 1,
                    Pop::Closed => break,
                    Pop::Empty | Pop::Hole => unreachable!("closed"),
                }
            }
            assert_eq!(out, usize::from(sender.join().unwrap()));
        });
    }
}
