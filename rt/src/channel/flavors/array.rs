//! The buffer of a bounded channel: a ring of [slots](crate::channel::slots).
//!
//! The tail assigns slots to senders, and the head to receivers, one after the other. A select that
//! sends holds a permit between its choice and its value. (This is Dmitry Vyukov's bounded queue.
//! Disconnection by a bit of the tail is crossbeam-channel's idea.)
//!
//! Invariants:
//! - A thread that moves the tail from p owns slot p until it stores a stamp of p with `FILLED`. A
//!   thread that moves the head from p owns slot p until it stores p plus a lap. So a slot is
//!   touched by one thread at a time, and `head <= tail <= head + lap`.
//! - Between moving the head or the tail and storing the stamp there are a few instructions, and
//!   nothing that could suspend a green thread. So other threads may wait for the stamp by
//!   spinning.
//! - A permit is the right to send one more value: values and permits together never exceed the
//!   capacity. A permit is not a slot, so receivers never see it. Filling a permit is a push for
//!   which there is room; giving it up makes room.
//! - As long as permits are held, the tail has the flag `RESERVED`. Pushes without the lock do not
//!   match it: they fail, and take the lock of the permits. So under that lock the tail stands
//!   still, except for its flag `CLOSED`.
//! - The head and the tail move, and are read by a thread that is about to sleep, with sequentially
//!   consistent operations, as `WaitList` needs.
//!
//! The usual case is a push where there is room, or a pop where there is a value: a few instructions
//! without a stack frame. All other cases are in separate functions.

use std::mem::MaybeUninit;

use crossbeam_channel::TryRecvError;
use crossbeam_utils::CachePadded;

use crate::channel::flavors::array_slots::{CLOSED, FILLED, FLAGS, Place, RESERVED, Slots};
use crate::channel::flavors::buffer::{Buffer, NotReady, PushError, exchange};
use crate::loom::{AtomicUsize, Ordering, fence};
use crate::util::backoff::Backoff;
use crate::util::spin_lock::{SpinGuard, SpinLock};

pub(crate) struct Ring<T> {
    head: CachePadded<AtomicUsize>,
    tail: CachePadded<AtomicUsize>,
    slots: Slots<T>,
    /// The number of permits held. It is zero exactly if the tail is not `RESERVED`, unless the
    /// ring is closed.
    held: SpinLock<usize>,
    /// The number of permits given up so far.
    given_up: AtomicUsize,
}

/// The right to send one more value. It must be filled or given up.
#[must_use = "a permit that is dropped takes up room for ever"]
pub(crate) struct Permit(());

impl Permit {
    /// Creates the permit that a token stands for.
    pub(crate) fn of_token() -> Self {
        Self(())
    }
}

/// Moves `end`, the tail or the head, past a place. Then its slot is the caller's.
#[inline(always)]
fn take<T>(end: &AtomicUsize, place: &Place<'_, T>) -> Result<(), usize> {
    exchange(end, place.position, place.next())?;
    place.fetch_ahead();
    Ok(())
}

impl<T> Ring<T> {
    /// Creates a ring; `cap` is not zero.
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            head: CachePadded::new(AtomicUsize::new(0)),
            tail: CachePadded::new(AtomicUsize::new(0)),
            slots: Slots::new(cap),
            held: SpinLock::new(0),
            given_up: AtomicUsize::new(0),
        }
    }

    /// Returns `Some(head)` if all slots are taken, by the values up to `tail` and by the permits
    /// held. The caller has read the tail before, and has masked its flags.
    fn full_at(&self, tail: usize, held: usize) -> Option<usize> {
        // The tail was read before and only moves on. So if there is no room between the two, there
        // was none when the head was read.
        let head = self.head.load(Ordering::SeqCst);
        let is_full = if held == 0 {
            self.slots.a_lap_after(head) == tail
        } else {
            // The tail stands still, so the head has not overtaken the tail that was read.
            self.slots.between(head, tail) + held == self.slots.len()
        };
        is_full.then_some(head)
    }

    /// Takes a permit for a value that comes later, or never.
    pub(crate) fn reserve(&self) -> Result<Permit, PushError> {
        let mut held = self.held.lock();
        let mut tail = self.tail.load(Ordering::SeqCst);
        loop {
            if tail & CLOSED != 0 {
                return Err(PushError::Closed);
            }
            if self.full_at(tail & !FLAGS, *held).is_some() {
                return Err(PushError::Full);
            }
            // If no permit is held yet, the tail may have moved meanwhile and used up the room.
            match exchange(&self.tail, tail, tail | RESERVED) {
                Ok(()) => {
                    *held += 1;
                    return Ok(Permit(()));
                }
                Err(now) => tail = now,
            }
        }
    }

    /// Sends a value with a permit. If the ring is closed the permit is given up, and the value
    /// stays where it is.
    pub(crate) fn fill(&self, _permit: Permit, value: &mut Option<T>) -> Result<(), PushError> {
        let mut held = self.held.lock();
        *held -= 1;
        self.push_under_lock(held, value)
    }

    /// Gives a permit up, which makes room for one value.
    pub(crate) fn give_up(&self, _permit: Permit) {
        let mut held = self.held.lock();
        *held -= 1;
        self.given_up.fetch_add(1, Ordering::SeqCst);
        if *held == 0 {
            let mut tail = self.tail.load(Ordering::Relaxed);
            // Fails if the ring is closed meanwhile.
            while let Err(now) = exchange(&self.tail, tail, tail & !RESERVED) {
                tail = now;
            }
        }
        drop(held);
        // For a sender that is about to sleep, and has not seen this change.
        fence(Ordering::SeqCst);
    }

    /// Pushes under the lock of the permits, while the tail is reserved. The caller guarantees that
    /// there is room.
    fn push_under_lock(
        &self,
        held: SpinGuard<'_, usize>,
        value: &mut Option<T>,
    ) -> Result<(), PushError> {
        let mut tail = self.tail.load(Ordering::Acquire);
        loop {
            if tail & CLOSED != 0 {
                return Err(PushError::Closed);
            }
            debug_assert_ne!(tail & RESERVED, 0, "the tail stands still");
            let place = self.slots.place(tail & !FLAGS);
            let flag = if *held > 0 { RESERVED } else { 0 };
            match exchange(&self.tail, tail, place.next() | flag) {
                Ok(()) => {
                    drop(held);
                    place.wait_until_free();
                    // SAFETY: this thread has just moved the tail past this place, and fills it
                    // once.
                    unsafe { place.fill(value) };
                    return Ok(());
                }
                Err(now) => tail = now,
            }
        }
    }

    /// Does the check of [`Ring::full_at`] when permits were held just now. Returns `None` also if
    /// the ring is closed.
    #[cold]
    fn full_beside_permits(&self) -> Option<usize> {
        let held = self.held.lock();
        let tail = self.tail.load(Ordering::SeqCst);
        if tail & CLOSED != 0 {
            return None;
        }
        self.full_at(tail & !FLAGS, *held)
    }

    /// Does the work of [`Buffer::push_slowly`] when permits were held just now. Returns `None` if
    /// none is held any more.
    #[cold]
    fn push_beside_permits(&self, value: &mut Option<T>) -> Option<Result<(), PushError>> {
        let held = self.held.lock();
        let tail = self.tail.load(Ordering::SeqCst);
        if tail & RESERVED == 0 {
            return None;
        }
        if tail & CLOSED == 0 && self.full_at(tail & !FLAGS, *held).is_some() {
            return Some(Err(PushError::Full));
        }
        Some(self.push_under_lock(held, value))
    }
}

impl<T> Buffer<T> for Ring<T> {
    #[inline(always)]
    fn push_at_once(&self, value: &mut Option<T>) -> Result<(), NotReady> {
        let tail = self.tail.load(Ordering::Acquire);
        let place = self.slots.place(tail);
        // If the tail has a flag it equals no stamp, because the slot at the tail is not filled.
        if place.stamp() != tail {
            let is_full = self.slots.a_lap_after(self.head.load(Ordering::SeqCst)) == tail;
            return Err(if is_full { NotReady::Wait } else { NotReady::Unknown });
        }
        take(&self.tail, &place).map_err(|_| NotReady::Unknown)?;
        // SAFETY: `take` has just moved the tail past this place, and it is filled once.
        unsafe { place.fill(value) };
        Ok(())
    }

    #[inline(always)]
    fn pop_at_once(&self, value: &mut MaybeUninit<T>) -> Result<(), NotReady> {
        let head = self.head.load(Ordering::Acquire);
        let place = self.slots.place(head);
        if place.stamp() != head | FILLED {
            let is_empty = self.tail.load(Ordering::SeqCst) & !RESERVED == head;
            return Err(if is_empty { NotReady::Wait } else { NotReady::Unknown });
        }
        take(&self.head, &place).map_err(|_| NotReady::Unknown)?;
        // SAFETY: `take` has just moved the head past this place, and its stamp said that it is
        // filled.
        unsafe { place.empty(value) };
        Ok(())
    }

    #[inline(never)]
    fn push_slowly(&self, value: &mut Option<T>) -> Result<(), PushError> {
        let mut patience = Backoff::new();
        let mut tail = self.tail.load(Ordering::Acquire);
        loop {
            if tail & CLOSED != 0 {
                return Err(PushError::Closed);
            }
            if tail & RESERVED != 0 {
                if let Some(pushed) = self.push_beside_permits(value) {
                    return pushed;
                }
                tail = self.tail.load(Ordering::Acquire);
                continue;
            }
            let place = self.slots.place(tail);
            if place.stamp() == tail {
                match take(&self.tail, &place) {
                    Ok(()) => {
                        // SAFETY: `take` has just moved the tail past this place, and it is filled
                        // once.
                        unsafe { place.fill(value) };
                        return Ok(());
                    }
                    Err(now) => {
                        tail = now;
                        patience.lost();
                    }
                }
            } else {
                if self.full_at(tail, 0).is_some() {
                    return Err(PushError::Full);
                }
                patience.wait();
                tail = self.tail.load(Ordering::Acquire);
            }
        }
    }

    #[inline(never)]
    fn pop_slowly(&self, value: &mut MaybeUninit<T>) -> Result<(), TryRecvError> {
        let mut head = self.head.load(Ordering::Acquire);
        let mut patience = Backoff::new();
        loop {
            let place = self.slots.place(head);
            if place.stamp() == head | FILLED {
                match take(&self.head, &place) {
                    Ok(()) => {
                        // SAFETY: `take` has just moved the head past this place, and its stamp
                        // said that it is filled.
                        unsafe { place.empty(value) };
                        return Ok(());
                    }
                    Err(now) => {
                        head = now;
                        patience.lost();
                    }
                }
            } else {
                let tail = self.tail.load(Ordering::SeqCst);
                if tail & !FLAGS == head {
                    return Err(if tail & CLOSED == 0 {
                        TryRecvError::Empty
                    } else {
                        TryRecvError::Disconnected
                    });
                }
                patience.wait();
                head = self.head.load(Ordering::Acquire);
            }
        }
    }

    fn full(&self) -> Option<usize> {
        // Room is made in only two ways: the head moves, or a permit is given up. Both only count
        // up, so their sum is a version. `given_up` is read first, so that a permit given up after
        // that changes the version of the next look.
        let given_up = self.given_up.load(Ordering::SeqCst);
        let tail = self.tail.load(Ordering::SeqCst);
        let head =
            if tail & FLAGS == 0 { self.full_at(tail, 0)? } else { self.full_beside_permits()? };
        Some(head.wrapping_add(given_up))
    }

    fn empty(&self) -> Option<usize> {
        // The head is read first, so if the two are equal the ring was empty when the tail was
        // read. As long as the tail stays the same, no value has come.
        let head = self.head.load(Ordering::SeqCst);
        let tail = self.tail.load(Ordering::SeqCst);
        (tail & !RESERVED == head).then_some(head)
    }

    fn close(&self) -> bool {
        self.tail.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0
    }

    fn len(&self) -> usize {
        loop {
            let tail = self.tail.load(Ordering::SeqCst) & !FLAGS;
            let head = self.head.load(Ordering::SeqCst);
            // Both values are of one moment if the tail has not moved meanwhile.
            if self.tail.load(Ordering::SeqCst) & !FLAGS == tail {
                return self.slots.between(head, tail);
            }
        }
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.slots.len())
    }
}

impl<T> Drop for Ring<T> {
    /// If a value panics while it is dropped, the rest is leaked: no other destructor runs during
    /// the unwinding.
    fn drop(&mut self) {
        let tail = self.tail.load(Ordering::Relaxed) & !FLAGS;
        let mut head = self.head.load(Ordering::Relaxed);
        while head != tail {
            let place = self.slots.place(head);
            debug_assert_eq!(place.stamp(), head | FILLED, "all that was taken was filled");
            // SAFETY: `&mut self` in `drop`, so no other thread is left, each slot from head to
            // tail was filled, and each is visited once.
            unsafe { place.drop_value() };
            head = place.next();
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    fn push(ring: &Ring<usize>, value: usize) -> bool {
        ring.try_push(&mut Some(value)).is_ok()
    }

    fn pop(ring: &Ring<usize>) -> Option<usize> {
        let mut place = MaybeUninit::uninit();
        let popped = ring.pop_at_once(&mut place).is_ok() || ring.pop_slowly(&mut place).is_ok();
        // SAFETY: the pop succeeded, so it has written the place.
        popped.then(|| unsafe { place.assume_init() })
    }

    /// Two threads send into one slot, and one receives: each value that was sent comes out or is
    /// still in.
    #[test]
    fn values_are_neither_lost_nor_doubled() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(1));
            let senders = [1, 2].map(|value| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || push(&ring, value).then_some(value))
            });
            let mut out: Vec<usize> = pop(&ring).into_iter().collect();
            let mut sent: Vec<usize> =
                senders.into_iter().filter_map(|sender| sender.join().unwrap()).collect();
            out.extend(std::iter::from_fn(|| pop(&ring)));
            (out.sort(), sent.sort());
            assert_eq!(out, sent);
            assert!(!sent.is_empty(), "a slot is free for a sender");
        });
    }

    /// A permit for one of two slots is filled or given up while another thread sends. Values and
    /// permits never exceed the slots, and a thread that finds no room finds it when the other is
    /// done.
    fn a_permit_beside_a_sender(fills: bool) {
        loom::model(move || {
            let ring = Arc::new(Ring::new(2));
            assert!(push(&ring, 1));
            let permit = ring.reserve().ok().unwrap();
            let sender = {
                let ring = Arc::clone(&ring);
                thread::spawn(move || push(&ring, 2))
            };
            if fills {
                assert_eq!(ring.fill(permit, &mut Some(3)), Ok(()));
            } else {
                ring.give_up(permit);
            }
            let sent = sender.join().unwrap();
            assert!(!(fills && sent), "more than there is room for");
            assert_eq!(push(&ring, 4), !fills && !sent);
            assert_eq!(ring.tail.load(Ordering::Relaxed) & FLAGS, 0, "nothing is reserved");
            let rest = if fills {
                3
            } else if sent {
                2
            } else {
                4
            };
            assert_eq!([pop(&ring), pop(&ring), pop(&ring)], [Some(1), Some(rest), None]);
        });
    }

    #[test]
    fn a_permit_that_is_filled_was_room_for_nobody_else() {
        a_permit_beside_a_sender(true);
    }

    #[test]
    fn a_permit_that_is_given_up_is_room() {
        a_permit_beside_a_sender(false);
    }

    /// Two threads want a permit for one slot.
    #[test]
    fn permits_are_no_more_than_the_room() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(2));
            assert!(push(&ring, 1));
            let send = |ring: &Ring<usize>, value| {
                ring.reserve().is_ok_and(|permit| ring.fill(permit, &mut Some(value)).is_ok())
            };
            let other = {
                let ring = Arc::clone(&ring);
                thread::spawn(move || send(&ring, 2))
            };
            let mine = send(&ring, 3);
            let theirs = other.join().unwrap();
            assert!(mine != theirs, "one slot for one permit");
            let sent = if mine { 3 } else { 2 };
            assert_eq!([pop(&ring), pop(&ring), pop(&ring)], [Some(1), Some(sent), None]);
            assert_eq!(ring.full(), None);
        });
    }

    /// A permit against closing: the value is in the ring, or it is still the sender's.
    #[test]
    fn a_permit_is_void_after_the_end() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(1));
            let permit = ring.reserve().ok().unwrap();
            let closer = {
                let ring = Arc::clone(&ring);
                thread::spawn(move || {
                    assert!(ring.close());
                    pop(&ring)
                })
            };
            let mut value = Some(1);
            let filled = ring.fill(permit, &mut value);
            assert_eq!(filled.is_err(), value.is_some());
            let out = closer.join().unwrap().or_else(|| pop(&ring));
            assert_eq!(out.is_some(), filled.is_ok());
            assert_eq!(pop(&ring), None);
        });
    }

    /// Closing against sending: a value that went in comes out before the disconnection is
    /// reported.
    #[test]
    fn nothing_is_sent_after_the_end() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(2));
            let sender = {
                let ring = Arc::clone(&ring);
                thread::spawn(move || push(&ring, 1))
            };
            ring.close();
            let mut place = MaybeUninit::uninit();
            let mut out = 0;
            loop {
                match ring.pop_slowly(&mut place) {
                    Ok(()) => out += 1,
                    Err(TryRecvError::Disconnected) => break,
                    Err(TryRecvError::Empty) => unreachable!("closed"),
                }
            }
            assert_eq!(out, usize::from(sender.join().unwrap()));
        });
    }
}
