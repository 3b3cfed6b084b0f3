//! The slots of a ring, each with a stamp that says which thread may use it next, and the positions
//! that number them.
//!
//! Positions are counted in fours: the slot's index is in the low part, the lap in the high part,
//! and the two lowest bits are free for flags. A slot's stamp is a position, with a flag if there
//! is a value:
//!
//! ```text
//!   position p          free: the sender that moves the tail from p may fill it
//!   p + FILLED          the receiver that moves the head from p may take the value
//!   p + one lap         free again, for the sender of the next lap
//! ```

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use crate::channel::flavors::buffer::move_out;
use crate::loom::{AtomicUsize, Ordering};
use crate::util::backoff::Backoff;

/// Flag of a stamp: the slot holds a value.
pub(crate) const FILLED: usize = 1;
/// Flag of the tail: the ring is closed for sending.
pub(crate) const CLOSED: usize = 1;
/// Flag of the tail: permits are held, so the tail moves only under the lock of the permits.
pub(crate) const RESERVED: usize = 2;
/// The bits of a position that are flags.
pub(crate) const FLAGS: usize = 3;
const ONE: usize = 4;

pub(crate) struct Slots<T> {
    slots: Box<[Slot<T>]>,
    /// A power of two, so that laps and indices do not mix.
    lap: usize,
    /// The last slot's position in the first lap.
    last: usize,
}

struct Slot<T> {
    stamp: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// A position, and its slot.
pub(crate) struct Place<'a, T> {
    pub(crate) position: usize,
    slot: &'a Slot<T>,
    is_last: bool,
    // A copy, because the compiler would read the field again after each atomic operation.
    lap: usize,
}

impl<T> Slots<T> {
    /// Creates the slots; `cap` is not zero. The first position is 0.
    pub(crate) fn new(cap: usize) -> Self {
        let lap = cap.checked_next_power_of_two().and_then(|n| n.checked_mul(ONE));
        // As for a `Vec`: such a buffer would not fit in the address space.
        let lap = lap.filter(|lap| lap.leading_zeros() > 1).expect("capacity overflow");
        // Initialized in place: a slot may be too large for the stack.
        let mut slots = Box::<[Slot<T>]>::new_uninit_slice(cap);
        for (n, slot) in slots.iter_mut().enumerate() {
            // SAFETY: the memory is a slot's, and the stamp is written through a raw pointer. The
            // slot's value may stay uninitialized.
            unsafe { (&raw mut (*slot.as_mut_ptr()).stamp).write(AtomicUsize::new(n * ONE)) };
        }
        // SAFETY: all stamps are written, and the values may stay uninitialized.
        Self { slots: unsafe { slots.assume_init() }, lap, last: (cap - 1) * ONE }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns the place of a position without flags.
    #[inline(always)]
    pub(crate) fn place(&self, position: usize) -> Place<'_, T> {
        let lap = self.lap;
        let in_lap = in_lap(position, lap);
        debug_assert!(in_lap <= self.last);
        const { assert!(size_of::<Slot<T>>().is_multiple_of(ONE)) }
        // SAFETY: positions come from `next`, which wraps around after the last slot, so `in_lap`
        // is at most `last`. It counts in units of `ONE`, so the byte offset is the index times the
        // slot's size.
        let slot = unsafe { &*self.slots.as_ptr().byte_add(in_lap * (size_of::<Slot<T>>() / ONE)) };
        Place { position, slot, is_last: in_lap == self.last, lap }
    }

    /// Returns the next position of the same slot.
    pub(crate) fn a_lap_after(&self, position: usize) -> usize {
        position.wrapping_add(self.lap)
    }

    /// Returns the number of slots from head to tail, which are at most a lap apart.
    pub(crate) fn between(&self, head: usize, tail: usize) -> usize {
        let index = |position| in_lap(position, self.lap) / ONE;
        match (index(head), index(tail)) {
            (head, tail) if head < tail => tail - head,
            (head, tail) if head > tail => self.len() - head + tail,
            _ if tail == head => 0,
            _ => self.len(),
        }
    }
}

/// Strips the lap and the flags from a position.
#[inline(always)]
fn in_lap(position: usize, lap: usize) -> usize {
    position & (lap - ONE)
}

impl<T> Place<'_, T> {
    #[inline(always)]
    pub(crate) fn stamp(&self) -> usize {
        self.slot.stamp.load(Ordering::Acquire)
    }

    /// Waits until the slot is free: the receiver of the previous lap is a few instructions away
    /// from that.
    #[inline(always)]
    pub(crate) fn wait_until_free(&self) {
        #[cold]
        fn wait<T>(place: &Place<'_, T>) {
            let mut patience = Backoff::new();
            while place.stamp() != place.position {
                patience.wait();
            }
        }
        if self.stamp() != self.position {
            wait(self);
        }
    }

    #[inline(always)]
    pub(crate) fn next(&self) -> usize {
        // With all bits of the index set, adding one goes to the next lap.
        (if self.is_last { self.position | (self.lap - ONE) } else { self.position })
            .wrapping_add(ONE)
    }

    /// Moves the value into the slot.
    ///
    /// # Safety
    ///
    /// The caller has moved the tail past this place, and calls this once.
    #[inline(always)]
    pub(crate) unsafe fn fill(&self, value: &mut Option<T>) {
        // SAFETY: the caller moved the tail past this place, so the slot is the caller's alone: the
        // memory is valid for writes and holds no value.
        unsafe { move_out(value, (*self.slot.value.get()).as_mut_ptr()) };
        self.slot.stamp.store(self.position | FILLED, Ordering::Release);
    }

    /// Moves the value to `place`, and frees the slot for the next lap.
    ///
    /// # Safety
    ///
    /// The caller has moved the head past this place, where the stamp said that it is filled, and
    /// calls this once.
    #[inline(always)]
    pub(crate) unsafe fn empty(&self, place: &mut MaybeUninit<T>) {
        // SAFETY: the caller moved the head past this place, so the slot is the caller's alone, and
        // by its stamp the value is there. `place` is a distinct `&mut`.
        unsafe { (*self.slot.value.get()).as_ptr().copy_to_nonoverlapping(place.as_mut_ptr(), 1) };
        self.slot.stamp.store(self.position.wrapping_add(self.lap), Ordering::Release);
    }

    /// Drops the value.
    ///
    /// # Safety
    ///
    /// The stamp says that the slot is filled, and no other thread uses it any more.
    pub(crate) unsafe fn drop_value(&self) {
        // SAFETY: the caller guarantees that the value is there, and that it is not used again.
        // Dropped in place: it may be too large for the stack.
        unsafe { (*self.slot.value.get()).assume_init_drop() };
    }

    /// Prefetches for writing the memory two cache lines after this slot. Sender and receiver take
    /// every line over from each other, because both write to it; with the prefetch the thread that
    /// uses the line need not wait.
    #[inline(always)]
    pub(crate) fn fetch_ahead(&self) {
        const TWO_LINES: usize = 128;
        let ahead = const {
            if size_of::<Slot<T>>() < TWO_LINES { TWO_LINES / size_of::<Slot<T>>() } else { 1 }
        };
        // A small ring has no such line. At the end of the ring, the line after it belongs to
        // another object: the hint is useless there, twice a lap.
        if self.lap > ahead * ONE {
            let ahead = std::ptr::from_ref(self.slot).wrapping_add(ahead);
            gthread_arch::prefetch_to_write(ahead.cast());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn positions_go_round_the_slots_and_past_the_last_number() {
        for cap in [1, 2, 3, 4, 7] {
            let slots = Slots::<u8>::new(cap);
            let two_laps_before_zero = slots.lap.wrapping_mul(2).wrapping_neg();
            for first in [0, two_laps_before_zero] {
                let mut position = first;
                for n in 0..3 * cap {
                    let place = slots.place(position);
                    assert!(std::ptr::eq(place.slot, &raw const slots.slots[n % cap]), "{cap} {n}");
                    if n <= cap {
                        assert_eq!(slots.between(first, position), n, "{cap}");
                    }
                    position = place.next();
                }
                assert_eq!(position, first.wrapping_add(3 * slots.lap), "{cap}");
            }
        }
    }
}
