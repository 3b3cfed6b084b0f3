//! One reservation of address space, cut into slots, and which of them are free.
//!
//! A slot of a chunk is with a user, or in one of four lists, by what is behind it:
//!
//! | list | guarded | memory |
//! |---|---|---|
//! | `warm` | yes | perhaps all of it: it came back since the last trim |
//! | `rested` | yes | at most [`SHALLOW`] bytes at the top |
//! | `cold` | yes | none |
//! | `bare`, and what was never cut | no | none |

use std::ptr::NonNull;

use memmap2::{MmapMut, MmapOptions};

use crate::slot::colour_of;
use crate::{SizeClass, Slot, StackError, map};

/// Bytes reserved at once, as long as that is at least [`MIN_SLOTS`] slots.
const CHUNK_BYTES: usize = 64 << 20;
/// The fewest slots of a chunk, while that is at most [`MAX_CHUNK_BYTES`].
const MIN_SLOTS: usize = 8;
/// No chunk is larger than this, unless a single slot is.
const MAX_CHUNK_BYTES: usize = 1 << 30;
/// Address space that must be left for the rest of the process.
const HEADROOM: usize = 16 << 20;

/// Bytes at the top of a stack that stay when it is trimmed but likely to be used again soon: what a
/// thread touches that does nothing special.
pub(crate) const SHALLOW: usize = 16 << 10;

/// A place for a slot that is not ready to be used: it has no memory, and perhaps no guard.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) bottom: NonNull<u8>,
    pub(crate) chunk: u32,
    pub(crate) guarded: bool,
}

// SAFETY: a place is an address in a reservation, and numbers. Another thread can guard and back the memory there, and make
// a slot of it. The owner of the place has those bytes to itself, and there is no value in them.
unsafe impl Send for Place {}

#[derive(Debug)]
pub(crate) struct Chunk {
    map: MmapMut,
    class: SizeClass,
    /// Its place among the chunks of its class.
    id: u32,
    /// Slots that were cut off so far, from the start.
    cut: u32,
    warm: Vec<u32>,
    rested: Vec<u32>,
    cold: Vec<u32>,
    bare: Vec<u32>,
    /// Guards in it that take memory maps.
    pub(crate) mapped_guards: usize,
}

impl Chunk {
    /// Reserves the usual number of bytes, else as many as there are, but at least one slot.
    pub(crate) fn reserve(class: SizeClass, id: u32) -> Result<Self, StackError> {
        let stride = class.stride();
        let mut bytes = CHUNK_BYTES.max((stride * MIN_SLOTS).min(MAX_CHUNK_BYTES)).max(stride);
        let map = loop {
            // Whoever shares the limit that is met here (an allocator, say) would not survive it.
            match reserve(bytes + HEADROOM).map(drop).and_then(|()| reserve(bytes)) {
                Ok(map) => break map,
                Err(_) if bytes > stride => bytes = (bytes / 2).max(stride),
                Err(source) => return Err(StackError::Reserve { bytes, source }),
            }
        };
        map::enter(map.as_ptr(), map.len(), class.size(), stride);
        let (warm, rested, cold, bare) = Default::default();
        Ok(Self { map, class, id, cut: 0, warm, rested, cold, bare, mapped_guards: 0 })
    }

    fn room(&self) -> u32 {
        (self.map.len() / self.class.stride()) as u32
    }

    /// Slots that can be handed out as they are.
    pub(crate) fn ready(&self) -> usize {
        self.warm.len() + self.rested.len()
    }

    /// Whether it has slots that must be prepared.
    pub(crate) fn has_unready(&self) -> bool {
        !self.cold.is_empty() || !self.bare.is_empty() || self.cut < self.room()
    }

    /// Slots that somebody has.
    pub(crate) fn outstanding(&self) -> usize {
        self.cut as usize - self.ready() - self.cold.len() - self.bare.len()
    }

    /// The top of every slot that somebody has, less its colour.
    pub(crate) fn tops_in_use(&self) -> impl Iterator<Item = NonNull<u8>> {
        let mut free = vec![false; self.cut as usize];
        for list in [&self.warm, &self.rested, &self.cold, &self.bare] {
            list.iter().for_each(|&number| free[number as usize] = true);
        }
        (0..self.cut).filter(move |&number| !free[number as usize]).map(|number| self.top(number))
    }

    /// The top of a slot, less its colour.
    fn top(&self, number: u32) -> NonNull<u8> {
        let bottom = self.bottom(number);
        // SAFETY: the slot's last byte is in the reservation.
        unsafe { bottom.add(self.class.size() - colour_of(bottom, self.class)) }
    }

    fn bottom(&self, number: u32) -> NonNull<u8> {
        let start = NonNull::new(self.map.as_ptr().cast_mut()).expect("mmap gives no null");
        // SAFETY: slots that were cut lie within the reservation.
        unsafe { start.add(number as usize * self.class.stride()) }
    }

    /// Bytes from the start of the reservation.
    fn offset(&self, bottom: NonNull<u8>) -> usize {
        bottom.addr().get().wrapping_sub(self.map.as_ptr().addr())
    }

    /// Whether a slot of this class was cut from this reservation, which any slot with the same number claims. Its
    /// reservation is mapped as long as somebody has the slot, so no other has its addresses.
    pub(crate) fn has_cut(&self, slot: &Slot) -> bool {
        self.offset(slot.bottom()) < self.map.len()
    }

    fn number(&self, bottom: NonNull<u8>) -> u32 {
        let offset = self.offset(bottom);
        debug_assert!(offset < self.map.len());
        (offset / self.class.stride()) as u32
    }

    fn slot(&self, number: u32, guard: usize) -> Slot {
        // SAFETY: the number was in a list of guarded slots and is in none now, so nobody else has it;
        // the reservation stays until all of its slots are in lists.
        unsafe { Slot::from_raw(self.bottom(number), self.id, guard, self.class) }
    }

    /// The slot that came back last.
    pub(crate) fn take_ready(&mut self, guard: usize) -> Option<Slot> {
        let number = self.warm.pop().or_else(|| self.rested.pop())?;
        Some(self.slot(number, guard))
    }

    /// The slot that [`Chunk::take_ready`] gives after so many others, if it has come back since the last trim: its top,
    /// less its colour.
    pub(crate) fn coming(&self, others: usize) -> Option<NonNull<u8>> {
        let at = self.warm.len().checked_sub(others + 1)?;
        Some(self.top(self.warm[at]))
    }

    /// A slot that came back since the last trim.
    pub(crate) fn take_warm(&mut self, guard: usize) -> Option<Slot> {
        let number = self.warm.pop()?;
        Some(self.slot(number, guard))
    }

    /// A place for a slot.
    pub(crate) fn take_unready(&mut self) -> Option<Place> {
        let (number, guarded) = match self.cold.pop() {
            Some(number) => (number, true),
            None => {
                let number = self.bare.pop().or_else(|| {
                    let next = (self.cut < self.room()).then_some(self.cut)?;
                    self.cut += 1;
                    Some(next)
                })?;
                (number, false)
            }
        };
        Some(Place { bottom: self.bottom(number), chunk: self.id, guarded })
    }

    pub(crate) fn put(&mut self, slot: &Slot) {
        self.warm.push(self.number(slot.bottom()));
    }

    /// Takes back a slot that holds no more than [`SHALLOW`] bytes.
    pub(crate) fn put_rested(&mut self, slot: &Slot) {
        self.rested.push(self.number(slot.bottom()));
    }

    /// Takes back a slot without memory.
    pub(crate) fn put_cold(&mut self, slot: &Slot) {
        self.cold.push(self.number(slot.bottom()));
    }

    /// Takes back a place that was not prepared.
    pub(crate) fn put_place(&mut self, place: &Place) {
        let number = self.number(place.bottom);
        if place.guarded { self.cold.push(number) } else { self.bare.push(number) }
    }

    /// Keeps the address space for ever.
    pub(crate) fn leak(mut self) {
        for list in [&mut self.warm, &mut self.rested, &mut self.cold, &mut self.bare] {
            *list = Vec::new();
        }
        std::mem::forget(self);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        map::leave(self.map.as_ptr());
    }
}

fn reserve(bytes: usize) -> std::io::Result<MmapMut> {
    let map = MmapOptions::new().len(bytes).stack().no_reserve_swap().map_anon()?;
    // Best effort: a huge page under a stack would back 2 MiB for the sake of one page. Kernels
    // without transparent huge pages refuse the advice and need none.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::NoHugePage);
    Ok(map)
}
