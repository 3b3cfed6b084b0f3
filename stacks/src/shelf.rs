//! The stacks of one size class: its chunks, and which of them have something to give.
//!
//! Slots are taken from the first chunk that has any, and given back to the kernel from the last one,
//! so that the last chunks empty, and can be unmapped.
//!
//! How much to give back: `low` is the smallest number of ready slots since that was last decided, some trims
//! ago. So many were not needed in all that time.

use std::collections::BTreeSet;
use std::ptr::NonNull;

use crate::chunk::{Chunk, Place};
use crate::{SizeClass, Slot, StackError, advise, page_size};

/// Ready slots that a trim leaves, for the next who come.
pub(crate) const KEEP: usize = 64;
/// How many trims long slots must not have been needed: with one every 100 ms, a second. Less, and who starts a
/// million again and again, which takes them most of a second each, pays for their memory each time.
const TRIMS: usize = 10;

/// What [`Shelf::batch`] is when a crowd is started: some 200 slots were prepared since the last trim.
const CROWD: usize = 32 * advise::BATCH;
/// Stacks that are not too large for that.
const MANY_OF: usize = 256 << 10;
/// Slots that are prepared at once ahead of a crowd: few, because whoever does it may be needed elsewhere.
const AHEAD: usize = 16;
/// Ready slots that are enough for a crowd.
const ENOUGH: usize = 64;
/// With so many ready slots, what a small thread touches of each is more than a second-level cache has.
const COLD: usize = 4096;

#[derive(Debug)]
pub(crate) struct Shelf {
    class: SizeClass,
    guard: usize,
    /// By number; `None` where one was unmapped.
    chunks: Vec<Option<Chunk>>,
    /// The chunks that have ready slots, and those that have unready ones.
    with_ready: BTreeSet<u32>,
    with_unready: BTreeSet<u32>,
    /// Ready slots of all chunks, and the fewest since a surplus was last decided on.
    ready: usize,
    low: usize,
    /// After how many of the pool's trims that was.
    decided: usize,
    /// What is left of the surplus that was found last.
    surplus: usize,
    /// How many slots are prepared at once, if they are not too many: doubles with each time, so that a crowd
    /// is served in batches and a few are not given memory for many.
    batch: usize,
}

/// What a trim takes out of a shelf.
pub(crate) enum Surplus {
    /// A chunk of which all slots are free, so many of them ready.
    Chunk(Chunk, usize),
    Slots(Vec<Slot>),
}

impl Shelf {
    pub(crate) fn new(class: SizeClass, guard: usize) -> Self {
        let (chunks, with_ready, with_unready) = Default::default();
        Self {
            class,
            guard,
            chunks,
            with_ready,
            with_unready,
            ready: 0,
            low: 0,
            decided: 0,
            surplus: 0,
            batch: 1,
        }
    }

    fn chunk(&mut self, id: u32) -> &mut Chunk {
        self.chunks[id as usize].as_mut().expect("a chunk with slots in use is not unmapped")
    }

    /// Calls `change` with a chunk, and notes what it has to give afterwards.
    fn change<R>(&mut self, id: u32, change: impl FnOnce(&mut Chunk) -> R) -> R {
        let chunk = self.chunk(id);
        let before = chunk.ready();
        let result = change(chunk);
        let (after, unready) = (chunk.ready(), chunk.has_unready());
        self.ready = self.ready - before + after;
        self.low = self.low.min(self.ready);
        note(&mut self.with_ready, id, after > 0);
        note(&mut self.with_unready, id, unready);
        result
    }

    /// A ready slot, if there is one.
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

    /// The slot that is taken after so many others, if nothing happens meanwhile: its top, less its colour.
    pub(crate) fn coming(&self, others: usize) -> Option<NonNull<u8>> {
        let &id = self.with_ready.first()?;
        self.chunks[id as usize].as_ref()?.coming(others)
    }

    /// As many places for slots as are to be prepared at once: at least one.
    pub(crate) fn take_unready(&mut self) -> Result<Vec<Place>, StackError> {
        // No slot of this class comes to be but through here.
        if self.guard + page_size() > self.class.size() {
            return Err(StackError::NoRoom { slot: self.class.size(), guard: self.guard });
        }
        // Large stacks are few.
        let most = ((8 << 20) / self.class.size()).clamp(1, advise::BATCH);
        let wanted = self.batch.min(most);
        self.batch = (self.batch * 2).min(CROWD);
        if self.with_unready.is_empty() {
            self.grow()?;
        }
        Ok(self.take_places(wanted))
    }

    /// Places for slots that a crowd is about to need, in what is reserved already.
    pub(crate) fn take_ahead(&mut self) -> Vec<Place> {
        if self.is_crowded() && self.ready < ENOUGH { self.take_places(AHEAD) } else { Vec::new() }
    }

    /// Whether many slots were prepared since the last trim, and of a size of which there may be many.
    pub(crate) fn is_crowded(&self) -> bool {
        self.batch == CROWD && self.class.size() <= MANY_OF
    }

    /// Up to `wanted` places, the guarded ones first.
    fn take_places(&mut self, wanted: usize) -> Vec<Place> {
        let mut places = Vec::with_capacity(wanted);
        while places.len() < wanted {
            let Some(&id) = self.with_unready.first() else { break };
            self.change(id, |chunk| {
                let left = wanted - places.len();
                places.extend(std::iter::from_fn(|| chunk.take_unready()).take(left));
            });
        }
        // There may be some of several chunks.
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

    /// Takes back slots from their users: all of them, or none, and false, if one is of another pool.
    #[must_use]
    pub(crate) fn put(&mut self, slots: &[Slot]) -> bool {
        let own = slots.iter().all(|slot| self.has_cut(slot));
        if own {
            self.put_to(slots, Chunk::put);
        }
        own
    }

    /// Whether a slot of this class is of this pool.
    fn has_cut(&self, slot: &Slot) -> bool {
        let chunk = self.chunks.get(slot.chunk() as usize).and_then(Option::as_ref);
        chunk.is_some_and(|chunk| chunk.has_cut(slot))
    }

    pub(crate) fn put_rested(&mut self, slots: &[Slot]) {
        self.put_to(slots, Chunk::put_rested);
    }

    /// Takes back slots to one of their chunks' lists. Most that come together are of one chunk.
    fn put_to(&mut self, slots: &[Slot], put: fn(&mut Chunk, &Slot)) {
        for slots in slots.chunk_by(|one, next| one.chunk() == next.chunk()) {
            self.change(slots[0].chunk(), |chunk| slots.iter().for_each(|slot| put(chunk, slot)));
        }
    }

    /// Takes back slots of one chunk without memory: the chunk, if it is to be unmapped now.
    pub(crate) fn put_cold(&mut self, slots: &[Slot]) -> Option<Chunk> {
        let id = slots.first()?.chunk();
        self.put_to(slots, Chunk::put_cold);
        if self.chunk(id).ready() == 0 { self.remove_if_free(id) } else { None }
    }

    /// Takes back places that were not prepared.
    pub(crate) fn put_places(&mut self, places: &[Place]) {
        for place in places {
            self.change(place.chunk, |chunk| chunk.put_place(place));
        }
    }

    /// Notes that guards in a chunk take memory maps.
    pub(crate) fn note_mapped_guards(&mut self, places: &[Place]) {
        for place in places {
            self.chunk(place.chunk).mapped_guards += 1;
        }
    }

    /// Slots that somebody has.
    pub(crate) fn outstanding(&self) -> usize {
        self.chunks.iter().flatten().map(Chunk::outstanding).sum()
    }

    /// The top of every slot that somebody has, less its colour.
    pub(crate) fn tops_in_use(&self) -> impl Iterator<Item = NonNull<u8>> {
        self.chunks.iter().flatten().flat_map(Chunk::tops_in_use)
    }

    /// Whether a ready slot has probably not been used for long.
    pub(crate) fn is_cold(&self) -> bool {
        self.ready >= COLD
    }

    /// Whether no more slots are ready than a trim leaves.
    pub(crate) fn is_trim(&self) -> bool {
        self.ready <= KEEP
    }

    /// How many ready slots nobody has needed for some trims, after so many of the pool: those that are left of
    /// what was decided last, or none, until it is time to decide anew.
    pub(crate) fn surplus(&mut self, trims: usize) -> usize {
        let spare = self.low.saturating_sub(KEEP);
        self.surplus = self.surplus.min(spare);
        if self.surplus == 0 {
            self.batch = 1;
            // If all were needed, the time begins anew.
            if spare == 0 || trims.saturating_sub(self.decided) >= TRIMS {
                self.decided = trims;
                self.surplus = spare;
                self.low = self.ready;
            }
        }
        self.surplus
    }

    /// Takes out up to `surplus` ready slots of the last chunk that has some, or the chunk.
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

    /// Takes out up to `most` slots that came back since the last trim, of the first chunk from number
    /// `from` on that has ready ones. Gives its number, too; there may be more warm ones in it.
    pub(crate) fn take_warm(&mut self, from: u32, most: usize) -> Option<(u32, Vec<Slot>)> {
        let &id = self.with_ready.range(from..).next()?;
        let guard = self.guard;
        let take =
            |chunk: &mut Chunk| std::iter::from_fn(|| chunk.take_warm(guard)).take(most).collect();
        // They come back at once, and nobody has needed them.
        let low = self.low;
        let slots = self.change(id, take);
        self.low = low;
        Some((id, slots))
    }

    /// Takes a chunk out of which all slots are free.
    fn remove_if_free(&mut self, id: u32) -> Option<Chunk> {
        let place = &mut self.chunks[id as usize];
        let chunk = place.take_if(|chunk| chunk.outstanding() == 0)?;
        self.ready -= chunk.ready();
        self.low = self.low.min(self.ready);
        self.with_ready.remove(&id);
        self.with_unready.remove(&id);
        Some(chunk)
    }

    /// Unmaps the chunks that nobody uses, and keeps the others for ever.
    pub(crate) fn end(&mut self) {
        for chunk in self.chunks.drain(..).flatten() {
            if chunk.outstanding() > 0 {
                chunk.leak();
            }
        }
    }
}

fn note(set: &mut BTreeSet<u32>, id: u32, has: bool) {
    if !has {
        set.remove(&id);
    } else if !set.contains(&id) {
        set.insert(id);
    }
}
