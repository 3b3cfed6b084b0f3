//! The slots of one size class: the chunks, and the sets of those that have free slots.
//!
//! Slots are taken from the first chunk that has any. Memory is given back to the kernel from the
//! last one, so that the last chunks become free, and can be unmapped.
//!
//! The surplus, which is the number of slots to give back, follows from `fewest_ready`: the
//! smallest number of ready slots since the last decision, some trims ago. So many slots were not
//! needed in all that time.

use std::collections::BTreeSet;
use std::ptr::NonNull;

use crate::chunk::{Chunk, Place};
use crate::{SizeClass, Slot, StackError, advise, page_size};

/// The number of ready slots that a trim leaves for the next takers.
const MIN_KEPT_READY: usize = 64;
/// The number of trims during which slots must not have been needed before they are a surplus.
///
/// With a trim every 100 ms that is a second. With a shorter time, a program that starts a million
/// threads again and again would pay for the memory of their stacks each time.
const TRIMS_UNTIL_SURPLUS: usize = 10;

/// The limit of [`SizeClassPool::batch`], which is reached when a burst of threads is started.
///
/// By then about 200 slots were prepared since the last trim.
const MAX_BATCH: usize = 32 * advise::BATCH;
/// The maximum size in bytes of the slots that are prepared ahead of a burst.
const MAX_AHEAD_SLOT_SIZE: usize = 256 << 10;
/// The number of slots that are prepared at once ahead of a burst.
///
/// There are few of them, because the preparing thread may be needed elsewhere.
const AHEAD_BATCH: usize = 16;
/// The number of ready slots at which no more are prepared ahead of a burst.
const MAX_READY_AHEAD: usize = 64;
/// The number of ready slots from which on the lines that small threads touch in them exceed a
/// second-level cache.
const CACHE_COLD: usize = 4096;

/// The slots of one size class that a pool has.
#[derive(Debug)]
pub(crate) struct SizeClassPool {
    class: SizeClass,
    /// The size of each guard in bytes.
    guard: usize,
    /// The chunks by number; `None` where a chunk was unmapped.
    chunks: Vec<Option<Chunk>>,
    /// The numbers of the chunks that have ready slots.
    with_ready: BTreeSet<u32>,
    /// The numbers of the chunks that have unready slots.
    with_unready: BTreeSet<u32>,
    /// The number of ready slots of all chunks.
    ready: usize,
    /// The smallest number of ready slots since a surplus was last decided on.
    fewest_ready: usize,
    /// The number of the pool's trims when a surplus was last decided on.
    decided: usize,
    /// The rest of the surplus that was decided on last.
    surplus: usize,
    /// The number of slots that are prepared at once, unless slots are large.
    ///
    /// It doubles with each preparation. So a burst of threads is served in batches, while a few
    /// threads do not take the memory of many.
    batch: usize,
}

/// A part of the surplus that a trim removes.
pub(crate) enum Surplus {
    /// A chunk of which all slots are free, and the number of its ready slots.
    Chunk(Chunk, usize),
    /// Some slots of one chunk.
    Slots(Vec<Slot>),
}

impl SizeClassPool {
    /// Creates a pool of slots of one class, without any chunk.
    pub(crate) fn new(class: SizeClass, guard: usize) -> Self {
        let (chunks, with_ready, with_unready) = Default::default();
        Self {
            class,
            guard,
            chunks,
            with_ready,
            with_unready,
            ready: 0,
            fewest_ready: 0,
            decided: 0,
            surplus: 0,
            batch: 1,
        }
    }

    /// Returns the chunk with this number, which must be mapped.
    fn chunk(&mut self, id: u32) -> &mut Chunk {
        self.chunks[id as usize].as_mut().expect("a chunk with slots in use is not unmapped")
    }

    /// Calls `change` with a chunk, and updates the counts and sets of free slots afterwards.
    fn change<R>(&mut self, id: u32, change: impl FnOnce(&mut Chunk) -> R) -> R {
        let chunk = self.chunk(id);
        let before = chunk.ready();
        let result = change(chunk);
        let (after, unready) = (chunk.ready(), chunk.has_unready());
        self.ready = self.ready - before + after;
        self.fewest_ready = self.fewest_ready.min(self.ready);
        note(&mut self.with_ready, id, after > 0);
        note(&mut self.with_unready, id, unready);
        result
    }

    /// Takes a ready slot, if there is one.
    pub(crate) fn take_one(&mut self) -> Option<Slot> {
        let &id = self.with_ready.first()?;
        let guard = self.guard;
        self.change(id, |chunk| chunk.take_ready(guard))
    }

    /// Moves up to `wanted` ready slots to `out`.
    pub(crate) fn take_ready(&mut self, wanted: usize, out: &mut Vec<Slot>) {
        let guard = self.guard;
        let all = out.len() + wanted.min(self.ready);
        while out.len() < all {
            let Some(&id) = self.with_ready.first() else { return };
            let left = all - out.len();
            self.change(id, |chunk| {
                out.extend(std::iter::from_fn(|| chunk.take_ready(guard)).take(left));
            });
        }
    }

    /// Returns the top, less the colour, of the slot that is likely to be taken after `others`
    /// more.
    pub(crate) fn coming(&self, others: usize) -> Option<NonNull<u8>> {
        let &id = self.with_ready.first()?;
        self.chunks[id as usize].as_ref()?.coming(others)
    }

    /// Takes as many places for slots as are to be prepared at once, and at least one.
    pub(crate) fn take_unready(&mut self) -> Result<Vec<Place>, StackError> {
        // Every slot of this class was created from a place that this function gave.
        if self.guard + page_size() > self.class.size() {
            return Err(StackError::NoRoom { slot: self.class.size(), guard: self.guard });
        }
        // A program with large stacks has few of them.
        let most = ((8 << 20) / self.class.size()).clamp(1, advise::BATCH);
        let wanted = self.batch.min(most);
        self.batch = (self.batch * 2).min(MAX_BATCH);
        if self.with_unready.is_empty() {
            self.grow()?;
        }
        Ok(self.take_places(wanted))
    }

    /// Takes places for slots that a burst of threads is about to need.
    ///
    /// It reserves no more address space.
    pub(crate) fn take_ahead(&mut self) -> Vec<Place> {
        if self.is_in_burst() && self.ready < MAX_READY_AHEAD {
            self.take_places(AHEAD_BATCH)
        } else {
            Vec::new()
        }
    }

    /// Returns `true` if many slots were prepared since the last trim, and they are not large.
    pub(crate) fn is_in_burst(&self) -> bool {
        self.batch == MAX_BATCH && self.class.size() <= MAX_AHEAD_SLOT_SIZE
    }

    /// Takes up to `wanted` places, the guarded ones first.
    fn take_places(&mut self, wanted: usize) -> Vec<Place> {
        let mut places = Vec::with_capacity(wanted);
        while places.len() < wanted {
            let Some(&id) = self.with_unready.first() else { break };
            self.change(id, |chunk| {
                let left = wanted - places.len();
                places.extend(std::iter::from_fn(|| chunk.take_unready()).take(left));
            });
        }
        // The places may be of several chunks.
        places.sort_by_key(|place| !place.guarded);
        places
    }

    /// Reserves one more chunk.
    fn grow(&mut self) -> Result<(), StackError> {
        let free = self.chunks.iter().position(Option::is_none).unwrap_or(self.chunks.len());
        let id = u32::try_from(free).expect("address space ends before 2^32 chunks");
        let chunk = Some(Chunk::reserve(self.class, id)?);
        if free == self.chunks.len() {
            self.chunks.push(chunk)
        } else {
            self.chunks[free] = chunk
        }
        self.with_unready.insert(id);
        Ok(())
    }

    /// Takes back slots from their users, or none of them if one belongs to another pool.
    ///
    /// Returns `true` if the slots were taken back.
    #[must_use]
    pub(crate) fn put(&mut self, slots: &[Slot]) -> bool {
        let own = slots.iter().all(|slot| self.has_cut(slot));
        if own {
            self.put_to(slots, Chunk::put);
        }
        own
    }

    /// Returns `true` if a slot of this class belongs to this pool.
    fn has_cut(&self, slot: &Slot) -> bool {
        let chunk = self.chunks.get(slot.chunk() as usize).and_then(Option::as_ref);
        chunk.is_some_and(|chunk| chunk.has_cut(slot))
    }

    /// Takes back slots of which at most [`SHALLOW`](crate::chunk::SHALLOW) bytes have memory.
    pub(crate) fn put_shallow(&mut self, slots: &[Slot]) {
        self.put_to(slots, Chunk::put_shallow);
    }

    /// Takes back slots by calling `put` with each.
    ///
    /// Most slots that come together are of one chunk.
    fn put_to(&mut self, slots: &[Slot], put: fn(&mut Chunk, &Slot)) {
        for slots in slots.chunk_by(|one, next| one.chunk() == next.chunk()) {
            self.change(slots[0].chunk(), |chunk| slots.iter().for_each(|slot| put(chunk, slot)));
        }
    }

    /// Takes back slots of one chunk that have no memory.
    ///
    /// Returns the chunk if it is to be unmapped now.
    pub(crate) fn put_decommitted(&mut self, slots: &[Slot]) -> Option<Chunk> {
        let id = slots.first()?.chunk();
        self.put_to(slots, Chunk::put_decommitted);
        if self.chunk(id).ready() == 0 { self.remove_if_free(id) } else { None }
    }

    /// Takes back places that were not made slots.
    pub(crate) fn put_places(&mut self, places: &[Place]) {
        for place in places {
            self.change(place.chunk, |chunk| chunk.put_place(place));
        }
    }

    /// Records that the guards of these places take memory maps.
    pub(crate) fn note_mapped_guards(&mut self, places: &[Place]) {
        for place in places {
            self.chunk(place.chunk).mapped_guards += 1;
        }
    }

    /// Returns the number of slots that are not in a list of their chunk.
    pub(crate) fn outstanding(&self) -> usize {
        self.chunks.iter().flatten().map(Chunk::outstanding).sum()
    }

    /// Returns the tops, less the colours, of all slots that are not in a list of their chunk.
    pub(crate) fn tops_in_use(&self) -> impl Iterator<Item = NonNull<u8>> {
        self.chunks.iter().flatten().flat_map(Chunk::tops_in_use)
    }

    /// Returns `true` if the next ready slot is probably in no cache of the processor.
    pub(crate) fn is_cache_cold(&self) -> bool {
        self.ready >= CACHE_COLD
    }

    /// Returns `true` if no more slots are ready than a trim leaves.
    pub(crate) fn is_trimmed(&self) -> bool {
        self.ready <= MIN_KEPT_READY
    }

    /// Returns the number of ready slots that were not needed for some trims.
    ///
    /// `trims` is the number of the pool's trims so far. The result is the rest of the surplus that
    /// was decided on last, or zero until it is time for the next decision.
    pub(crate) fn surplus(&mut self, trims: usize) -> usize {
        let spare = self.fewest_ready.saturating_sub(MIN_KEPT_READY);
        self.surplus = self.surplus.min(spare);
        if self.surplus == 0 {
            self.batch = 1;
            // If all slots were needed, the time begins again.
            if spare == 0 || trims.saturating_sub(self.decided) >= TRIMS_UNTIL_SURPLUS {
                self.decided = trims;
                self.surplus = spare;
                self.fewest_ready = self.ready;
            }
        }
        self.surplus
    }

    /// Removes up to `surplus` ready slots of the last chunk that has any, or the chunk itself.
    pub(crate) fn take_surplus(&mut self, surplus: usize) -> Option<Surplus> {
        let &id = self.with_ready.last()?;
        let guard = self.guard;
        let ready = self.chunk(id).ready();
        if ready <= surplus {
            if let Some(chunk) = self.remove_if_free(id) {
                self.surplus = self.surplus.saturating_sub(ready);
                return Some(Surplus::Chunk(chunk, ready));
            }
        }
        let take = |chunk: &mut Chunk| {
            std::iter::from_fn(|| chunk.take_ready(guard)).take(surplus).collect()
        };
        let slots: Vec<_> = self.change(id, take);
        self.surplus = self.surplus.saturating_sub(slots.len());
        Some(Surplus::Slots(slots))
    }

    /// Removes up to `most` slots that came back since the last trim.
    ///
    /// They are of the first chunk with ready slots whose number is at least `from`. Returns its
    /// number, too. There may be more warm slots in the chunk.
    pub(crate) fn take_warm(&mut self, from: u32, most: usize) -> Option<(u32, Vec<Slot>)> {
        let &id = self.with_ready.range(from..).next()?;
        let guard = self.guard;
        let take =
            |chunk: &mut Chunk| std::iter::from_fn(|| chunk.take_warm(guard)).take(most).collect();
        // The slots come back soon, and were not needed by a user.
        let fewest_ready = self.fewest_ready;
        let slots = self.change(id, take);
        self.fewest_ready = fewest_ready;
        Some((id, slots))
    }

    /// Removes a chunk if all of its slots are free.
    fn remove_if_free(&mut self, id: u32) -> Option<Chunk> {
        let place = &mut self.chunks[id as usize];
        let chunk = place.take_if(|chunk| chunk.outstanding() == 0)?;
        self.ready -= chunk.ready();
        self.fewest_ready = self.fewest_ready.min(self.ready);
        self.with_ready.remove(&id);
        self.with_unready.remove(&id);
        Some(chunk)
    }

    /// Unmaps the chunks whose slots are all free, and leaks the others.
    pub(crate) fn end(&mut self) {
        for chunk in self.chunks.drain(..).flatten() {
            if chunk.outstanding() > 0 {
                chunk.leak();
            }
        }
    }
}

/// Adds a chunk to a set, or removes it.
fn note(set: &mut BTreeSet<u32>, id: u32, has: bool) {
    if !has {
        set.remove(&id);
    } else if !set.contains(&id) {
        set.insert(id);
    }
}
