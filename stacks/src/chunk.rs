//! Chunks: reservations of address space that are cut into slots, with lists of the free slots.
//!
//! A slot of a chunk is with a user, or in one of four lists:
//!
//! | list | guarded | memory |
//! |---|---|---|
//! | `warm` | yes | perhaps all of it: the slot came back since the last trim |
//! | `shallow` | yes | at most [`SHALLOW`] bytes at the top |
//! | `decommitted` | yes | none |
//! | `unprepared`, and slots that were never cut | no | none |
//!
//! The slots of the first two lists are *ready*: they can be handed out as they are. The others are
//! *unready*.

use std::ptr::NonNull;

use memmap2::{MmapMut, MmapOptions};

use crate::slot::colour_of;
use crate::{SizeClass, Slot, StackError, map};

/// The number of bytes reserved at once, if that is at least [`MIN_SLOTS`] slots.
const CHUNK_BYTES: usize = 64 << 20;
/// The minimum number of slots in a chunk, if they take at most [`MAX_CHUNK_BYTES`].
const MIN_SLOTS: usize = 8;
/// The maximum size of a chunk in bytes, unless a single slot is larger.
const MAX_CHUNK_BYTES: usize = 1 << 30;
/// The number of bytes of address space that must be left to the rest of the process.
const HEADROOM: usize = 16 << 20;

/// The number of bytes at the top of a stack that a trim leaves, if the stack is likely to be used
/// again.
///
/// An ordinary thread touches no more than that.
pub(crate) const SHALLOW: usize = 16 << 10;

/// A place for a slot that is not ready: it has no memory, and perhaps no guard.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) bottom: NonNull<u8>,
    pub(crate) chunk: u32,
    pub(crate) guarded: bool,
}

// SAFETY: a place is an address in a reservation, and numbers. Another thread that owns it can
// guard and back the memory there, and make a slot of it. The owner of the place has exclusive
// access to those bytes, and there is no value in them.
unsafe impl Send for Place {}

/// One reservation of address space, cut into slots of one class.
#[derive(Debug)]
pub(crate) struct Chunk {
    map: MmapMut,
    class: SizeClass,
    /// The number of the chunk among those of its class.
    id: u32,
    /// The number of slots that were cut so far, from the start.
    cut: u32,
    warm: Vec<u32>,
    shallow: Vec<u32>,
    decommitted: Vec<u32>,
    unprepared: Vec<u32>,
    /// The number of guards in the chunk that take memory maps.
    pub(crate) mapped_guards: usize,
}

impl Chunk {
    /// Reserves the usual number of bytes, or fewer if address space is short, but at least one
    /// slot.
    pub(crate) fn reserve(class: SizeClass, id: u32) -> Result<Self, StackError> {
        let stride = class.stride();
        let mut bytes = CHUNK_BYTES.max((stride * MIN_SLOTS).min(MAX_CHUNK_BYTES)).max(stride);
        let map = loop {
            // Other parts of the process that share the limit which is reached here, such as an
            // allocator, would not survive it. So the headroom is reserved and released first.
            match reserve(bytes + HEADROOM).map(drop).and_then(|()| reserve(bytes)) {
                Ok(map) => break map,
                Err(_) if bytes > stride => bytes = (bytes / 2).max(stride),
                Err(source) => return Err(StackError::Reserve { bytes, source }),
            }
        };
        map::enter(map.as_ptr(), map.len(), class.size(), stride);
        let (warm, shallow, decommitted, unprepared) = Default::default();
        Ok(Self {
            map,
            class,
            id,
            cut: 0,
            warm,
            shallow,
            decommitted,
            unprepared,
            mapped_guards: 0,
        })
    }

    /// Returns the number of slots that the reservation has room for.
    fn room(&self) -> u32 {
        (self.map.len() / self.class.stride()) as u32
    }

    /// Returns the number of slots that can be handed out as they are.
    pub(crate) fn ready(&self) -> usize {
        self.warm.len() + self.shallow.len()
    }

    /// Returns `true` if the chunk has slots that must be prepared before use.
    pub(crate) fn has_unready(&self) -> bool {
        !self.decommitted.is_empty() || !self.unprepared.is_empty() || self.cut < self.room()
    }

    /// Returns the number of slots that are not in a list of the chunk.
    pub(crate) fn outstanding(&self) -> usize {
        self.cut as usize - self.ready() - self.decommitted.len() - self.unprepared.len()
    }

    /// Returns the tops, less the colours, of all slots that are not in a list of the chunk.
    pub(crate) fn tops_in_use(&self) -> impl Iterator<Item = NonNull<u8>> {
        let mut free = vec![false; self.cut as usize];
        for list in [&self.warm, &self.shallow, &self.decommitted, &self.unprepared] {
            list.iter().for_each(|&number| free[number as usize] = true);
        }
        (0..self.cut).filter(move |&number| !free[number as usize]).map(|number| self.top(number))
    }

    /// Returns the top of a slot, less its colour.
    fn top(&self, number: u32) -> NonNull<u8> {
        let bottom = self.bottom(number);
        // SAFETY: the slot is in the reservation, and its colour is less than its size, so the
        // result is too.
        unsafe { bottom.add(self.class.size() - colour_of(bottom, self.class)) }
    }

    fn bottom(&self, number: u32) -> NonNull<u8> {
        let start = NonNull::new(self.map.as_ptr().cast_mut()).expect("mmap gives no null");
        // SAFETY: the slot with this number was cut, so it lies in the reservation.
        unsafe { start.add(number as usize * self.class.stride()) }
    }

    /// Returns the distance from the start of the reservation in bytes.
    fn offset(&self, bottom: NonNull<u8>) -> usize {
        bottom.addr().get().wrapping_sub(self.map.as_ptr().addr())
    }

    /// Returns `true` if a slot of this class was cut from this reservation.
    ///
    /// A slot of another pool may have the same chunk number. The address decides: the reservation
    /// of a slot stays mapped as long as the slot exists, so no other reservation has its
    /// addresses.
    pub(crate) fn has_cut(&self, slot: &Slot) -> bool {
        self.offset(slot.bottom()) < self.map.len()
    }

    /// Returns the number of the slot that begins at `bottom`.
    fn number(&self, bottom: NonNull<u8>) -> u32 {
        let offset = self.offset(bottom);
        debug_assert!(offset < self.map.len());
        (offset / self.class.stride()) as u32
    }

    /// Creates the slot with a number that was just removed from a list of guarded slots.
    fn slot(&self, number: u32, guard: usize) -> Slot {
        // SAFETY: the slot was cut from this reservation with this class, and guarded by the pool's
        // guard size, which the class has room for, and which a `GuardConfig` has made a multiple
        // of the page size and at most `MAX_GUARD`. Its number was in a list and is in none now, so
        // no other `Slot` covers its bytes. The reservation stays mapped until all slots are in
        // lists.
        unsafe { Slot::from_raw(self.bottom(number), self.id, guard, self.class) }
    }

    /// Takes the ready slot that came back last.
    pub(crate) fn take_ready(&mut self, guard: usize) -> Option<Slot> {
        let number = self.warm.pop().or_else(|| self.shallow.pop())?;
        Some(self.slot(number, guard))
    }

    /// Returns the top, less the colour, of the slot that [`Chunk::take_ready`] takes after
    /// `others` more.
    ///
    /// Returns `None` if that slot did not come back since the last trim.
    pub(crate) fn coming(&self, others: usize) -> Option<NonNull<u8>> {
        let at = self.warm.len().checked_sub(others + 1)?;
        Some(self.top(self.warm[at]))
    }

    /// Takes a slot that came back since the last trim.
    pub(crate) fn take_warm(&mut self, guard: usize) -> Option<Slot> {
        let number = self.warm.pop()?;
        Some(self.slot(number, guard))
    }

    /// Takes a place for a slot, a guarded one if there is any.
    pub(crate) fn take_unready(&mut self) -> Option<Place> {
        let (number, guarded) = match self.decommitted.pop() {
            Some(number) => (number, true),
            None => {
                let number = self.unprepared.pop().or_else(|| {
                    let next = (self.cut < self.room()).then_some(self.cut)?;
                    self.cut += 1;
                    Some(next)
                })?;
                (number, false)
            }
        };
        Some(Place { bottom: self.bottom(number), chunk: self.id, guarded })
    }

    /// Takes back a slot from a user.
    pub(crate) fn put(&mut self, slot: &Slot) {
        self.warm.push(self.number(slot.bottom()));
    }

    /// Takes back a slot that has no more than [`SHALLOW`] bytes of memory.
    pub(crate) fn put_shallow(&mut self, slot: &Slot) {
        self.shallow.push(self.number(slot.bottom()));
    }

    /// Takes back a slot without memory.
    pub(crate) fn put_decommitted(&mut self, slot: &Slot) {
        self.decommitted.push(self.number(slot.bottom()));
    }

    /// Takes back a place that was not made a slot.
    pub(crate) fn put_place(&mut self, place: &Place) {
        let number = self.number(place.bottom);
        if place.guarded { self.decommitted.push(number) } else { self.unprepared.push(number) }
    }

    /// Leaks the chunk, so that its address space stays reserved.
    pub(crate) fn leak(mut self) {
        for list in [&mut self.warm, &mut self.shallow, &mut self.decommitted, &mut self.unprepared]
        {
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

/// Reserves address space, without memory.
fn reserve(bytes: usize) -> std::io::Result<MmapMut> {
    let map = MmapOptions::new().len(bytes).stack().no_reserve_swap().map_anon()?;
    // A huge page under a stack would back 2 MiB for the sake of one page. This is best effort: a
    // kernel without transparent huge pages refuses the advice, and does not need it.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::NoHugePage);
    Ok(map)
}
