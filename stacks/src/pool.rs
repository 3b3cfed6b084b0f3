//! Who has which slot: a shared pool, with a [`Cache`](crate::Cache) for each thread in front of it.
//!
//! Invariants:
//! - A slot is in exactly one place: with its user, in one `Cache`, in one list of its chunk, or with
//!   the trimmer. `Slot` is neither `Clone` nor `Copy`, so the type system keeps this.
//! - A slot is only put in the list of the chunk that it was cut from. Which one that is it says itself, but by a
//!   number, which another pool has too: a pool to which a slot comes from outside looks whether the chunk with that
//!   number has the slot's address.
//! - A chunk is unmapped only when all of its slots are in its lists.
//! - No system call is made under a shelf's lock but the reservation of a chunk.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::chunk::{Chunk, Place, SHALLOW};
use crate::guard::Guards;
use crate::shelf::{Shelf, Surplus};
use crate::{GuardConfig, SizeClass, Slot, StackError, advise, page_size};

/// Slots that one trim gives back, of each class, so that whoever trims has time for other things.
const MOST_GIVEN_BACK: usize = 8192;
/// Warm slots that one trim makes rested, of each class.
const MOST_RESTED: usize = 512;
/// How many turns [`Pool::take_and_look_ahead`] looks ahead.
const TURNS_AHEAD: usize = 5;

/// Stacks of every size class, shared by all threads.
///
/// Dropping a pool unmaps the reservations of which every slot has come back; the others are leaked,
/// because somebody may still be running on them.
#[derive(Debug)]
pub struct Pool {
    guards: Guards,
    shelves: [Mutex<Shelf>; SizeClass::COUNT],
    /// Counts trims that were completed: caches that see it change trim themselves.
    trims: AtomicUsize,
    /// The number of the class that grows, plus one; zero if none does. A hint.
    growing: AtomicUsize,
}

impl Pool {
    /// An empty pool. Reserves nothing until the first slot is taken.
    pub fn new(guard: GuardConfig) -> Self {
        let shelf = |index| Mutex::new(Shelf::new(SizeClass::from_index(index), guard.size()));
        Self {
            guards: Guards::new(guard),
            shelves: std::array::from_fn(shelf),
            trims: AtomicUsize::new(0),
            growing: AtomicUsize::new(0),
        }
    }

    /// A stack of the given class: one that came back, else a new one.
    ///
    /// # Errors
    ///
    /// When the kernel gives no more address space or guards, or slots of this class have no room for the pool's
    /// guards.
    pub fn take(&self, class: SizeClass) -> Result<Slot, StackError> {
        self.take_and_look_ahead(class).map(|(slot, _)| slot)
    }

    /// [`Pool::take`], and which slot is likely to be taken some turns later: its top, less its colour. The memory
    /// below may be another's, or not even mapped any more; but a processor can be told to fetch it.
    ///
    /// # Errors
    ///
    /// As [`Pool::take`].
    pub fn take_and_look_ahead(
        &self,
        class: SizeClass,
    ) -> Result<(Slot, Option<NonNull<u8>>), StackError> {
        let ready = {
            let mut shelf = self.shelf(class);
            shelf.take_one().map(|slot| (slot, shelf.coming(TURNS_AHEAD)))
        };
        if let Some(ready) = ready {
            return Ok(ready);
        }
        let mut slots = Vec::new();
        self.take_some(class, 1, &mut slots)?;
        let slot = slots.pop().expect("it gives one or an error");
        if !slots.is_empty() {
            self.put_all(class, &mut slots);
        }
        Ok((slot, None))
    }

    /// Puts at least one slot in `out`: as many as `wanted` if so many are ready, else new ones, in a
    /// batch. Says whether what is in them is probably in no cache of the processor's.
    pub(crate) fn take_some(
        &self,
        class: SizeClass,
        wanted: usize,
        out: &mut Vec<Slot>,
    ) -> Result<bool, StackError> {
        let places = {
            let mut shelf = self.shelf(class);
            shelf.take_ready(wanted, out);
            if !out.is_empty() {
                return Ok(shelf.is_cold());
            }
            let places = shelf.take_unready()?;
            if shelf.is_crowded() && self.guards.are_cheap() {
                self.growing.store(class.index() + 1, Relaxed);
            }
            places
        };
        self.prepare(class, &places, out).map(|()| false)
    }

    /// Whether many stacks are taken that must be prepared first, so that [`Pool::prepare_ahead`] helps.
    #[inline]
    pub fn is_growing(&self) -> bool {
        self.growing.load(Relaxed) > 0
    }

    /// Prepares a few stacks if somebody is about to need them: true if it did. For threads that have nothing
    /// better to do: it takes some ten microseconds.
    pub fn prepare_ahead(&self) -> bool {
        let Some(index) = self.growing.load(Relaxed).checked_sub(1) else { return false };
        let class = SizeClass::from_index(index);
        let places = self.shelf(class).take_ahead();
        let mut slots = Vec::new();
        // An error is the next taker's.
        let prepared = !places.is_empty() && self.prepare(class, &places, &mut slots).is_ok();
        if prepared {
            self.shelf(class).put_rested(&slots);
        } else {
            self.growing.store(0, Relaxed);
        }
        prepared
    }

    /// Makes slots of places, the guarded ones first: guards the others, and backs the page that every
    /// user touches.
    fn prepare(
        &self,
        class: SizeClass,
        places: &[Place],
        out: &mut Vec<Slot>,
    ) -> Result<(), StackError> {
        let bare = places.iter().position(|place| !place.guarded).unwrap_or(places.len());
        let bottoms: Vec<_> = places[bare..].iter().map(|place| place.bottom.as_ptr()).collect();
        // SAFETY: places are page-aligned and in our hands.
        let installed = unsafe { self.guards.install(&bottoms) };
        let (done, failed) = places.split_at(bare + installed.guarded);
        if !failed.is_empty() || installed.mapped > 0 {
            let mut shelf = self.shelf(class);
            shelf.put_places(failed);
            shelf.note_mapped_guards(&done[done.len() - installed.mapped..]);
        }
        if done.is_empty() {
            return installed.result;
        }
        let size = class.size();
        let top_page = |place: &Place| {
            advise::range(place.bottom.as_ptr().wrapping_add(size - page_size()), page_size())
        };
        let pages: Vec<_> = done.iter().map(top_page).collect();
        // SAFETY: the top page of a place in our hands, writable, because guards are smaller.
        unsafe { advise::populate(&pages) };
        out.extend(done.iter().map(|place| {
            // SAFETY: the place was in our hands alone, and its guard is installed.
            unsafe { Slot::from_raw(place.bottom, place.chunk, self.guards.size(), class) }
        }));
        // What the kernel refused of the rest is the next taker's error.
        Ok(())
    }

    /// Gives a slot back.
    ///
    /// # Panics
    ///
    /// If the slot is of another pool. It is lost then, as one that is dropped.
    pub fn put(&self, slot: Slot) {
        self.put_slots(slot.class(), &[slot]);
    }

    /// Gives slots of one class back.
    ///
    /// # Panics
    ///
    /// If one of them is of another pool. All of them are the caller's still.
    pub(crate) fn put_all(&self, class: SizeClass, slots: &mut Vec<Slot>) {
        self.put_slots(class, slots);
        slots.clear();
    }

    fn put_slots(&self, class: SizeClass, slots: &[Slot]) {
        let own = self.shelf(class).put(slots);
        assert!(own, "a stack slot was given back to a pool that it was not taken from");
    }

    /// Bytes of guard under every stack.
    pub fn guard_size(&self) -> usize {
        self.guards.size()
    }

    /// Slots that are in use, or in a cache.
    pub fn outstanding(&self) -> usize {
        self.shelves.iter().map(|shelf| lock(shelf).outstanding()).sum()
    }

    /// Calls `visit` with the top of every slot that is in use, in a cache, or on its way from one owner to
    /// another, less its colour: where its owner has what it keeps there. The memory below is mapped during
    /// the call, but whose it is the pool does not know.
    ///
    /// Other threads that take or give back slots of the same class wait meanwhile, so `visit` is quick and
    /// does neither.
    pub fn for_each_in_use(&self, mut visit: impl FnMut(NonNull<u8>)) {
        for shelf in &self.shelves {
            lock(shelf).tops_in_use().for_each(&mut visit);
        }
    }

    /// Gives memory back to the kernel: all that is behind slots which nobody needed for the last ten
    /// trims, and what of the other free slots is more than a shallow thread touches. Says when to call
    /// it next. For one thread at a time.
    ///
    /// Makes system calls for a few milliseconds at most, and not while holding a lock that takers wait
    /// for.
    pub fn trim(&self) -> Trim {
        let next =
            self.shelves.iter().map(|shelf| self.trim_shelf(shelf)).max().unwrap_or(Trim::Done);
        if next != Trim::Soon {
            self.trims.fetch_add(1, Relaxed);
        }
        next
    }

    /// How many trims were completed.
    #[inline]
    pub(crate) fn trims(&self) -> usize {
        self.trims.load(Relaxed)
    }

    fn trim_shelf(&self, shelf: &Mutex<Shelf>) -> Trim {
        let all = lock(shelf).surplus(self.trims());
        let mut surplus = all.min(MOST_GIVEN_BACK);
        let acted = surplus > 0;
        while surplus > 0 {
            // Not in the scrutinee: a match keeps its temporaries, and so the lock.
            let taken = lock(shelf).take_surplus(surplus);
            match taken {
                None => break,
                Some(Surplus::Chunk(chunk, ready)) => {
                    surplus -= ready;
                    self.unmap(chunk);
                }
                Some(Surplus::Slots(slots)) => {
                    surplus -= slots.len();
                    give_back_all(&slots);
                    let unused = lock(shelf).put_cold(&slots);
                    if let Some(chunk) = unused {
                        self.unmap(chunk);
                    }
                }
            }
        }
        let (mut rested, mut from) = (0, 0);
        while rested < MOST_RESTED {
            let taken = lock(shelf).take_warm(from, advise::BATCH);
            let Some((id, slots)) = taken else { break };
            if slots.len() < advise::BATCH {
                from = id + 1;
            }
            rested += slots.len();
            give_back_deep(&slots);
            lock(shelf).put_rested(&slots);
        }
        if all > MOST_GIVEN_BACK {
            Trim::Soon
        } else if acted || rested > 0 || !lock(shelf).is_trim() {
            Trim::Later
        } else {
            Trim::Done
        }
    }

    fn unmap(&self, chunk: Chunk) {
        self.guards.forget(chunk.mapped_guards);
        drop(chunk);
    }

    fn shelf(&self, class: SizeClass) -> MutexGuard<'_, Shelf> {
        lock(&self.shelves[class.index()])
    }
}

/// When the next [`Pool::trim`] has something to do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trim {
    /// When slots have come back.
    Done,
    /// After a while: what is not needed until then.
    Later,
    /// As soon as there is time.
    Soon,
}

impl Drop for Pool {
    fn drop(&mut self) {
        for shelf in &mut self.shelves {
            shelf.get_mut().unwrap_or_else(PoisonError::into_inner).end();
        }
    }
}

/// No code that can panic runs under these locks but allocation failure, which aborts.
fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives back what is behind free slots, in as few ranges as there are runs of neighbours.
fn give_back_all(slots: &[Slot]) {
    let mut starts: Vec<_> = slots.iter().map(|slot| slot.bottom().as_ptr()).collect();
    starts.sort_unstable();
    let size = slots.first().map_or(0, |slot| slot.class().size());
    let mut runs: Vec<advise::Range> = Vec::new();
    for start in starts {
        match runs.last_mut() {
            Some(run) if run.iov_base.cast::<u8>().wrapping_add(run.iov_len) == start => {
                run.iov_len += size;
            }
            _ => runs.push(advise::range(start, size)),
        }
    }
    // SAFETY: the slots are in our hands, and nobody uses what is in them; guards stay.
    unsafe { advise::give_back(&runs) };
}

/// Gives back what lies below the part of free slots that is used again and again.
#[cold]
pub(crate) fn give_back_deep(slots: &[Slot]) {
    let deep = |slot: &Slot| {
        let len = slot.usable().checked_sub(SHALLOW).filter(|&len| len > 0)?;
        Some(advise::range(slot.bottom().as_ptr().wrapping_add(slot.guard()), len))
    };
    let ranges: Vec<_> = slots.iter().filter_map(deep).collect();
    // SAFETY: as above.
    unsafe { advise::give_back(&ranges) };
}
