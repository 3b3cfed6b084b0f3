//! Address space in large reservations, cut into slots of one size.
//!
//! A chunk is one `mmap`: reserved, not backed, so that untouched stacks cost address space only.
//! Slots are cut off its end on demand and guarded at that moment; they come back to the pool's free
//! list, never to the chunk.

use std::ptr::NonNull;

use memmap2::{MmapMut, MmapOptions};

use crate::guard::Guards;
use crate::{SizeClass, Slot, StackError};

/// Bytes reserved at once, as long as that is at least [`MIN_SLOTS`] slots.
const CHUNK_BYTES: usize = 64 << 20;
/// The fewest slots of a chunk, while that is at most [`MAX_CHUNK_BYTES`].
const MIN_SLOTS: usize = 8;
/// No chunk is larger than this, unless a single slot is.
const MAX_CHUNK_BYTES: usize = 1 << 30;

/// All chunks of one size class.
#[derive(Debug)]
pub(crate) struct Arena {
    class: SizeClass,
    chunks: Vec<MmapMut>,
    /// Bytes already cut from the last chunk.
    cut: usize,
    /// Slots cut so far.
    slots: usize,
}

impl Arena {
    pub(crate) fn new(class: SizeClass) -> Self {
        Self { class, chunks: Vec::new(), cut: 0, slots: 0 }
    }

    /// Slots cut so far, wherever they are now.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Cuts one more slot and guards it.
    pub(crate) fn cut(&mut self, guards: &Guards) -> Result<Slot, StackError> {
        let size = self.class.size();
        if self.chunks.last().is_none_or(|chunk| self.cut + size > chunk.len()) {
            self.chunks.push(reserve(chunk_bytes(size))?);
            self.cut = 0;
        }
        let chunk = self.chunks.last_mut().expect("a chunk was just reserved");
        let bottom = NonNull::new(chunk.as_mut_ptr()).expect("mmap gives no null");
        // SAFETY: `cut + size` is within the chunk.
        let bottom = unsafe { bottom.add(self.cut) };
        // SAFETY: chunks are page-aligned and sizes are powers of two of at least two pages, so the
        // range is page-aligned; it was never handed out, so nothing in it is in use.
        unsafe { guards.install(bottom) }
            .map_err(|source| StackError::Guard { guarded: self.slots, source })?;
        self.cut += size;
        self.slots += 1;
        // SAFETY: the bytes are writable above the guard, were cut for this slot alone, and stay
        // mapped: a pool leaks the chunks of which not every slot came back.
        Ok(unsafe { Slot::from_raw(bottom, self.class) })
    }

    /// Gives up ownership of the reservations without unmapping them.
    pub(crate) fn leak(self) {
        self.chunks.into_iter().for_each(std::mem::forget);
    }
}

fn chunk_bytes(size: usize) -> usize {
    CHUNK_BYTES.max((size * MIN_SLOTS).min(MAX_CHUNK_BYTES)).max(size)
}

fn reserve(bytes: usize) -> Result<MmapMut, StackError> {
    let map = MmapOptions::new()
        .len(bytes)
        .stack()
        .no_reserve_swap()
        .map_anon()
        .map_err(|source| StackError::Reserve { bytes, source })?;
    // Best effort: a huge page under a stack would back 2 MiB for the sake of one page. Kernels
    // without transparent huge pages refuse the advice and need none.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::NoHugePage);
    Ok(map)
}
