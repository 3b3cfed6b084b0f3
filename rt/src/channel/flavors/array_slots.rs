//! The slots of a ring, each with a stamp that says whose turn it is, and the positions that go round them.
//!
//! Positions are counted in fours: the slot's index in the low part, the lap in the high part, and the two lowest bits
//! free for flags. A slot's stamp is a position, with a flag once there is a value:
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
/// Flag of the tail: nothing more is sent.
pub(crate) const CLOSED: usize = 1;
/// Flag of the tail: permits are held, so that the tail moves only under the lock of the permits.
pub(crate) const RESERVED: usize = 2;
/// The bits in which a position has flags.
pub(crate) const FLAGS: usize = 3;
const ONE: usize = 4;

pub(crate) struct Slots<T> {
    slots: Box<[Slot<T>]>,
    /// A power of two, so that laps and indices do not mix.
    lap: usize,
    /// The last slot's position of the first lap.
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
    // What never changes is read once. (The compiler reads it again after each atomic operation.)
    lap: usize,
}

impl<T> Slots<T> {
    /// `cap` is not zero. The first position is 0.
    pub(crate) fn new(cap: usize) -> Self {
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
        Self { slots: unsafe { slots.assume_init() }, lap, last: (cap - 1) * ONE }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The place of a position without flags.
    #[inline(always)]
    pub(crate) fn place(&self, position: usize) -> Place<'_, T> {
        let lap = self.lap;
        let in_lap = in_lap(position, lap);
        debug_assert!(in_lap <= self.last);
        const { assert!(size_of::<Slot<T>>().is_multiple_of(ONE)) }
        // SAFETY: positions come from `next`, which wraps around after the last.
        let slot = unsafe { &*self.slots.as_ptr().byte_add(in_lap * (size_of::<Slot<T>>() / ONE)) };
        Place { position, slot, is_last: in_lap == self.last, lap }
    }

    /// The position whose turn with the same slot is the next.
    pub(crate) fn a_lap_after(&self, position: usize) -> usize {
        position.wrapping_add(self.lap)
    }

    /// How many slots there are from head to tail, which are a lap apart at most.
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

/// Without the lap and the flags.
#[inline(always)]
fn in_lap(position: usize, lap: usize) -> usize {
    position & (lap - ONE)
}

impl<T> Place<'_, T> {
    #[inline(always)]
    pub(crate) fn stamp(&self) -> usize {
        self.slot.stamp.load(Ordering::Acquire)
    }

    /// Waits until the slot is free: the receiver of the lap before is a few instructions away from that.
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
        // With all bits of the lowest part set, one more is the next lap.
        (if self.is_last { self.position | (self.lap - ONE) } else { self.position })
            .wrapping_add(ONE)
    }

    /// Moves the value into the slot.
    ///
    /// # Safety
    ///
    /// The caller moved the tail from here, and does this once.
    #[inline(always)]
    pub(crate) unsafe fn fill(&self, value: &mut Option<T>) {
        // SAFETY: the slot is the caller's, so its memory is nobody else's and without a value.
        unsafe { move_out(value, (*self.slot.value.get()).as_mut_ptr()) };
        self.slot.stamp.store(self.position | FILLED, Ordering::Release);
    }

    /// Moves the value to `place`, and frees the slot for the next lap.
    ///
    /// # Safety
    ///
    /// The caller moved the head from here, where the stamp said that it is filled, and does this once.
    #[inline(always)]
    pub(crate) unsafe fn empty(&self, place: &mut MaybeUninit<T>) {
        // SAFETY: the slot is the caller's, and the value is there.
        unsafe { (*self.slot.value.get()).as_ptr().copy_to_nonoverlapping(place.as_mut_ptr(), 1) };
        self.slot.stamp.store(self.position.wrapping_add(self.lap), Ordering::Release);
    }

    /// # Safety
    ///
    /// The stamp says that it is filled, and nobody else comes any more.
    pub(crate) unsafe fn drop_value(&self) {
        // SAFETY: the value is there. In place: it may be too large for the stack.
        unsafe { (*self.slot.value.get()).assume_init_drop() };
    }

    /// Has the processor fetch what is two lines after this slot, so that whoever takes that need not wait for it: who
    /// sends and who receives each take every line over from the other, to write to it.
    #[inline(always)]
    pub(crate) fn fetch_ahead(&self) {
        const TWO_LINES: usize = 128;
        let ahead = const {
            if size_of::<Slot<T>>() < TWO_LINES { TWO_LINES / size_of::<Slot<T>>() } else { 1 }
        };
        // A small ring has no such line. Where another ends, it is somebody else's: a hint that is wrong twice a lap.
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
