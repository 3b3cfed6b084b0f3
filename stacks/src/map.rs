//! Where the stacks are, for a debugger to read: `tools/gdb-gthread.py`.
//!
//! A plain table under a name that is in every binary. Nothing in the process reads it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Chunks that find a place; of more, a debugger does not know.
const PLACES: usize = 8192;

/// One reservation.
#[repr(C)]
struct Place {
    /// Zero if the place is free.
    start: AtomicUsize,
    bytes: AtomicUsize,
    /// Bytes of each slot in it.
    slot: AtomicUsize,
    /// Bytes from one to the next.
    stride: AtomicUsize,
}

/// What the debugger looks for. The first word is how many places there are.
#[repr(C)]
struct Map {
    count: AtomicUsize,
    places: [Place; PLACES],
}

#[used]
#[unsafe(no_mangle)]
static GTHREAD_STACKS: Map = Map {
    count: AtomicUsize::new(PLACES),
    places: [const {
        Place {
            start: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            slot: AtomicUsize::new(0),
            stride: AtomicUsize::new(0),
        }
    }; PLACES],
};

/// Enters a reservation.
pub(crate) fn enter(start: *const u8, bytes: usize, slot: usize, stride: usize) {
    for place in &GTHREAD_STACKS.places {
        let free = place.start.load(Relaxed) == 0;
        if free && place.start.compare_exchange(0, start.addr(), Relaxed, Relaxed).is_ok() {
            place.slot.store(slot, Relaxed);
            place.stride.store(stride, Relaxed);
            place.bytes.store(bytes, Relaxed);
            return;
        }
    }
}

/// Takes one out that is about to be unmapped.
pub(crate) fn leave(start: *const u8) {
    let entered = |place: &&Place| place.start.load(Relaxed) == start.addr();
    if let Some(place) = GTHREAD_STACKS.places.iter().find(entered) {
        place.bytes.store(0, Relaxed);
        place.start.store(0, Relaxed);
    }
}
