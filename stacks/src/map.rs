//! A table of the chunks, for a debugger: `tools/gdb-gthread.py` reads it.
//!
//! It is a plain table with a symbol name that is in every binary. Nothing in the process reads it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The number of chunks that the table has room for. A debugger does not see more.
const PLACES: usize = 8192;

/// The entry of one chunk.
#[repr(C)]
struct Place {
    /// The address of the chunk, or zero if the entry is free.
    start: AtomicUsize,
    /// The size of the chunk in bytes.
    bytes: AtomicUsize,
    /// The size of each slot in bytes.
    slot: AtomicUsize,
    /// The distance between neighbouring slots in bytes.
    stride: AtomicUsize,
}

/// The table that the debugger reads. The first word is the number of entries.
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

/// Adds a chunk to the table.
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

/// Removes a chunk that is about to be unmapped.
pub(crate) fn leave(start: *const u8) {
    let entered = |place: &&Place| place.start.load(Relaxed) == start.addr();
    if let Some(place) = GTHREAD_STACKS.places.iter().find(entered) {
        place.bytes.store(0, Relaxed);
        place.start.store(0, Relaxed);
    }
}
