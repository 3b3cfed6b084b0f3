//! The buffer of a bounded channel: a ring of [slots](super::slots), of which a tail and a head give one after the other
//! to those who send and those who receive.
//! (Dmitry Vyukov's bounded queue; disconnection by a bit of the tail is crossbeam-channel's idea.)
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
//!
//! What is usual, a push where there is room and a pop where there is a value, is compiled by itself, for who is alone and
//! for others: a few instructions without a frame. All else is another function's.

use crossbeam_utils::CachePadded;

use super::buffer::{Buffer, Difficulty, Peek, Pop, PushError};
use super::slots::{CLOSED, FILLED, HOLE, PENDING, Place, Slots};
use crate::prim::{AtomicUsize, Ordering};
use crate::sole::{Sole, Turn};
use crate::spin::Patience;

pub(super) struct Ring<T> {
    head: CachePadded<AtomicUsize>,
    tail: CachePadded<AtomicUsize>,
    slots: Slots<T>,
    sole: Sole,
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

/// Moves `end`, the tail or the head, from a place. Then its slot is the caller's.
#[inline(always)]
fn take<T>(turn: &impl Turn, end: &AtomicUsize, place: &Place<'_, T>) -> Result<(), usize> {
    turn.exchange(end, place.position, place.next())?;
    if !turn.is_alone() {
        place.fetch_ahead();
    }
    Ok(())
}

impl<T> Ring<T> {
    /// `cap` is not zero.
    pub(super) fn new(cap: usize) -> Self {
        Self {
            head: CachePadded::new(AtomicUsize::new(0)),
            tail: CachePadded::new(AtomicUsize::new(0)),
            slots: Slots::new(cap),
            sole: Sole::new(),
        }
    }

    /// Takes the slot at the tail, to be stamped soon.
    fn take_tail(&self, turn: &impl Turn) -> Result<Place<'_, T>, PushError> {
        let mut tail = self.tail.load(Ordering::Acquire);
        let mut patience = Patience::new();
        loop {
            if tail & CLOSED != 0 {
                return Err(PushError::Closed);
            }
            let place = self.slots.place(tail);
            if place.stamp() == tail {
                match take(turn, &self.tail, &place) {
                    Ok(()) => return Ok(place),
                    Err(now) => {
                        tail = now;
                        patience.lost();
                    }
                }
            } else {
                // The tail was read before the head, so if they are a lap apart now they were so then.
                if self.slots.a_lap_after(self.head.load(Ordering::SeqCst)) == tail {
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
        let place = self.take_tail(&entry)?;
        place.mark(PENDING);
        Ok(Reserved(place.position))
    }

    /// Fills a reserved slot.
    pub(super) fn fill(&self, reserved: Reserved, value: T) {
        // SAFETY: reserved for the caller, who gives the reservation up.
        unsafe { self.slots.place(reserved.0).fill(&mut Some(value)) };
    }

    /// Gives a reserved slot up.
    pub(super) fn abandon(&self, reserved: Reserved) {
        self.slots.place(reserved.0).mark(HOLE);
    }

    /// Frees the slot at the head if it is one that was given up.
    pub(super) fn pass_hole(&self) -> bool {
        let entry = self.sole.enter();
        let head = self.head.load(Ordering::Acquire);
        let place = self.slots.place(head);
        let is_hole = place.stamp() == head | HOLE && take(&entry, &self.head, &place).is_ok();
        if is_hole {
            place.free();
        }
        is_hole
    }
}

impl<T> Buffer<T> for Ring<T> {
    fn sole(&self) -> &Sole {
        &self.sole
    }

    #[inline(always)]
    fn push_in_turn(&self, turn: impl Turn, value: &mut Option<T>) -> Result<(), Difficulty> {
        let tail = self.tail.load(Ordering::Acquire);
        let place = self.slots.place(tail);
        // If the tail is closed, no stamp is like it: what is at the tail is not filled.
        if place.stamp() != tail {
            let is_full = self.slots.a_lap_after(self.head.load(Ordering::SeqCst)) == tail;
            return Err(if is_full { Difficulty::Wait } else { Difficulty::Unknown });
        }
        take(&turn, &self.tail, &place).map_err(|_| Difficulty::Unknown)?;
        // SAFETY: just taken.
        unsafe { place.fill(value) };
        Ok(())
    }

    #[inline(always)]
    fn pop_in_turn(&self, turn: impl Turn) -> Result<T, Difficulty> {
        let head = self.head.load(Ordering::Acquire);
        let place = self.slots.place(head);
        if place.stamp() != head | FILLED {
            let is_empty = self.tail.load(Ordering::SeqCst) == head;
            return Err(if is_empty { Difficulty::Wait } else { Difficulty::Unknown });
        }
        take(&turn, &self.head, &place).map_err(|_| Difficulty::Unknown)?;
        // SAFETY: just taken, and filled.
        Ok(unsafe { place.empty() })
    }

    #[inline(never)]
    fn push_slowly(&self, value: &mut Option<T>) -> Result<(), PushError> {
        let entry = self.sole.enter();
        let place = self.take_tail(&entry)?;
        // SAFETY: just taken.
        unsafe { place.fill(value) };
        Ok(())
    }

    #[inline(never)]
    fn pop_slowly(&self) -> Pop<T> {
        let entry = self.sole.enter();
        let mut head = self.head.load(Ordering::Acquire);
        let mut patience = Patience::new();
        loop {
            let place = self.slots.place(head);
            match place.stamp().wrapping_sub(head) {
                state @ (FILLED | HOLE) => match take(&entry, &self.head, &place) {
                    // SAFETY: just taken, and filled.
                    Ok(()) if state == FILLED => return Pop::Value(unsafe { place.empty() }),
                    Ok(()) => {
                        place.free();
                        return Pop::Hole;
                    }
                    Err(now) => {
                        head = now;
                        patience.lost();
                    }
                },
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
        tail & CLOSED != 0 || self.slots.a_lap_after(head) != tail
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
            match self.slots.place(head).stamp_in_order().wrapping_sub(head) {
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
                return self.slots.between(head, tail);
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
            let place = self.slots.place(head);
            // A reservation whose operation was leaked never comes.
            if place.stamp() == head | FILLED {
                // SAFETY: the stamp says so, and nobody else is left.
                unsafe { place.drop_value() };
            }
            head = place.next();
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::prim::fence;
    use crate::sole::Entry;
    use crate::wait::sequentially_consistent;
    use loom::sync::Arc;
    use loom::thread;

    impl<T> Ring<T> {
        /// One that is used by several OS threads, so that what they do at once is seen too.
        pub(in crate::channel) fn shared(cap: usize) -> Self {
            let mut ring = Self::new(cap);
            ring.sole = Sole::shared();
            ring
        }
    }

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
                thread::spawn(move || ring.try_push(&mut Some(value)).is_ok().then_some(value))
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
            let ring = Arc::new(Ring::shared(2));
            let reserved = ring.reserve().ok().unwrap();
            assert!(ring.try_push(&mut Some(5)).is_ok());
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
            assert!(ring.try_push(&mut Some(1)).is_ok());
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
            let value = &mut Some(2);
            let alone = match ring.sole.enter() {
                Entry::Alone(turn) => ring.push_in_turn(turn, value).map(|()| true),
                Entry::Among(turn) => ring.push_in_turn(turn, value).map(|()| false),
            };
            if !alone.expect("there is room, and nobody else sends") {
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
            let ring = Arc::new(Ring::shared(2));
            let sender = {
                let ring = Arc::clone(&ring);
                thread::spawn(move || ring.try_push(&mut Some(1)).is_ok())
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
