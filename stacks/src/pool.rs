//! A shared pool of slots, with a [`Cache`](crate::Cache) for each thread in front of it.
//!
//! Invariants:
//! - A slot is in exactly one place: with its user, in one `Cache`, in one list of its chunk, or
//!   with the trimmer. `Slot` is neither `Clone` nor `Copy`, so the type system ensures this.
//! - A slot is only put in a list of the chunk that it was cut from. The slot has the number of
//!   that chunk, but another pool may have a chunk with the same number. So a pool that takes a
//!   slot back from outside checks that its chunk with that number has the slot's address.
//! - A chunk is unmapped only when all of its slots are in its lists.
//! - No system call is made under the lock of a size class, except to reserve a chunk.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::chunk::{Chunk, Place, SHALLOW};
use crate::guard::Guards;
use crate::size_class_pool::{SizeClassPool, Surplus};
use crate::{GuardConfig, SizeClass, Slot, StackError, advise, page_size};

/// The maximum number of slots of each class whose memory one trim gives back.
///
/// It bounds the duration of a trim, because the calling thread has other duties.
const MAX_DECOMMITTED_PER_TRIM: usize = 8192;
/// The maximum number of warm slots of each class that one trim makes shallow.
const MAX_MADE_SHALLOW_PER_TRIM: usize = 512;
/// The number of takes by which [`Pool::take_and_look_ahead`] looks ahead.
const TAKES_AHEAD: usize = 5;

/// A pool of slots of every size class, shared by all threads.
///
/// Dropping a pool unmaps the reservations of which every slot has come back. The others are
/// leaked, because their slots may still be in use.
#[derive(Debug)]
pub struct Pool {
    guards: Guards,
    /// The slots of each size class, by the index of the class.
    class_pools: [Mutex<SizeClassPool>; SizeClass::COUNT],
    /// The number of completed trims. A cache that sees it change trims itself.
    trims: AtomicUsize,
    /// The index of the class in which a burst of slots is taken, plus one; zero if there is none.
    /// A hint.
    growing: AtomicUsize,
}

impl Pool {
    /// Creates an empty pool, which reserves nothing until the first slot is taken.
    pub fn new(guard: GuardConfig) -> Self {
        let class_pool =
            |index| Mutex::new(SizeClassPool::new(SizeClass::from_index(index), guard.size()));
        Self {
            guards: Guards::new(guard),
            class_pools: std::array::from_fn(class_pool),
            trims: AtomicUsize::new(0),
            growing: AtomicUsize::new(0),
        }
    }

    /// Takes a slot of the given class: one that came back, or else a new one.
    ///
    /// # Errors
    ///
    /// If the kernel gives no more address space or guards, or slots of this class have no room for
    /// the pool's guards.
    pub fn take(&self, class: SizeClass) -> Result<Slot, StackError> {
        self.take_and_look_ahead(class).map(|(slot, _)| slot)
    }

    /// Takes a slot like [`Pool::take`], and predicts the slot that will be taken some takes later.
    ///
    /// The prediction is the top of that slot, less its colour. The memory below may belong to
    /// another user, or not even be mapped any more. Its only use is to have the processor prefetch
    /// it.
    ///
    /// # Errors
    ///
    /// The same as those of [`Pool::take`].
    pub fn take_and_look_ahead(
        &self,
        class: SizeClass,
    ) -> Result<(Slot, Option<NonNull<u8>>), StackError> {
        let ready = {
            let mut class_pool = self.class_pool(class);
            class_pool.take_one().map(|slot| (slot, class_pool.coming(TAKES_AHEAD)))
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

    /// Takes up to `wanted` ready slots, or else a batch of new ones, and appends them to `out`.
    ///
    /// At least one slot is taken. Returns `true` if the slots are probably in no cache of the
    /// processor.
    pub(crate) fn take_some(
        &self,
        class: SizeClass,
        wanted: usize,
        out: &mut Vec<Slot>,
    ) -> Result<bool, StackError> {
        let places = {
            let mut class_pool = self.class_pool(class);
            class_pool.take_ready(wanted, out);
            if !out.is_empty() {
                return Ok(class_pool.is_cache_cold());
            }
            let places = class_pool.take_unready()?;
            if class_pool.is_in_burst() && self.guards.are_cheap() {
                self.growing.store(class.index() + 1, Relaxed);
            }
            places
        };
        self.prepare(class, &places, out).map(|()| false)
    }

    /// Returns `true` if many slots are taken that must be prepared first.
    ///
    /// [`Pool::prepare_ahead`] helps then.
    #[inline]
    pub fn is_growing(&self) -> bool {
        self.growing.load(Relaxed) > 0
    }

    /// Prepares a few slots if they are likely to be needed soon.
    ///
    /// Returns `true` if slots were prepared. This is for threads that have nothing better to do:
    /// it makes a few system calls.
    pub fn prepare_ahead(&self) -> bool {
        let Some(index) = self.growing.load(Relaxed).checked_sub(1) else { return false };
        let class = SizeClass::from_index(index);
        let places = self.class_pool(class).take_ahead();
        let mut slots = Vec::new();
        // The next taker gets the error.
        let prepared = !places.is_empty() && self.prepare(class, &places, &mut slots).is_ok();
        if prepared {
            self.class_pool(class).put_shallow(&slots);
        } else {
            self.growing.store(0, Relaxed);
        }
        prepared
    }

    /// Makes slots of places, and appends them to `out`.
    ///
    /// Of `places` the guarded ones come first. The others are guarded here, and each place gets
    /// memory for its top page, which every user touches.
    fn prepare(
        &self,
        class: SizeClass,
        places: &[Place],
        out: &mut Vec<Slot>,
    ) -> Result<(), StackError> {
        let first_unguarded =
            places.iter().position(|place| !place.guarded).unwrap_or(places.len());
        let bottoms: Vec<_> =
            places[first_unguarded..].iter().map(|place| place.bottom.as_ptr()).collect();
        // SAFETY: each place is page-aligned, mapped private and anonymous, and owned by this
        // function, so it is not in use. A class of which there are places has room for the guard.
        let installed = unsafe { self.guards.install(&bottoms) };
        let (done, failed) = places.split_at(first_unguarded + installed.guarded);
        if !failed.is_empty() || installed.mapped > 0 {
            let mut class_pool = self.class_pool(class);
            class_pool.put_places(failed);
            class_pool.note_mapped_guards(&done[done.len() - installed.mapped..]);
        }
        if done.is_empty() {
            return installed.result;
        }
        let size = class.size();
        let top_page = |place: &Place| {
            advise::range(place.bottom.as_ptr().wrapping_add(size - page_size()), page_size())
        };
        let pages: Vec<_> = done.iter().map(top_page).collect();
        // SAFETY: each range is the top page of a place that this function owns. It is mapped,
        // private, and writable, because the guard is below it.
        unsafe { advise::populate(&pages) };
        out.extend(done.iter().map(|place| {
            // SAFETY: a place is the start of a slot of this class in its chunk, and this function
            // owns it, so no other slot covers its bytes. Its guard is installed, with the size of
            // a `GuardConfig`: a multiple of the page size, and at most `MAX_GUARD`. Its chunk
            // stays mapped until all slots are in lists.
            unsafe { Slot::from_raw(place.bottom, place.chunk, self.guards.size(), class) }
        }));
        // The next taker gets the error of the places that the kernel refused to guard.
        Ok(())
    }

    /// Gives a slot back.
    ///
    /// # Panics
    ///
    /// If the slot belongs to another pool. It is lost then, like a slot that is dropped.
    pub fn put(&self, slot: Slot) {
        self.put_slots(slot.class(), &[slot]);
    }

    /// Gives slots of one class back.
    ///
    /// # Panics
    ///
    /// If one of them belongs to another pool. All of them stay with the caller then.
    pub(crate) fn put_all(&self, class: SizeClass, slots: &mut Vec<Slot>) {
        self.put_slots(class, slots);
        slots.clear();
    }

    /// Takes back slots of one class, and panics if one of them belongs to another pool.
    fn put_slots(&self, class: SizeClass, slots: &[Slot]) {
        let own = self.class_pool(class).put(slots);
        assert!(own, "a stack slot was given back to a pool that it was not taken from");
    }

    /// Returns the size of the guard below every stack in bytes.
    pub fn guard_size(&self) -> usize {
        self.guards.size()
    }

    /// Returns the number of slots that are in use, or in a cache.
    pub fn outstanding(&self) -> usize {
        self.class_pools.iter().map(|class_pool| lock(class_pool).outstanding()).sum()
    }

    /// Calls `visit` with the top, less the colour, of every slot that is not free.
    ///
    /// These are slots that are in use, in a cache, or on the way from one owner to another. An
    /// owner may keep data of its own below that address. The memory below is mapped during the
    /// call, but the pool does not know its owner.
    ///
    /// Other threads that take or give back slots of the same class block meanwhile. So `visit`
    /// must be quick, and must not take or give back slots.
    pub fn for_each_in_use(&self, mut visit: impl FnMut(NonNull<u8>)) {
        for class_pool in &self.class_pools {
            lock(class_pool).tops_in_use().for_each(&mut visit);
        }
    }

    /// Gives memory of free slots back to the kernel.
    ///
    /// A slot that was not needed for the last ten trims loses all of its memory. Another free slot
    /// loses the part below the top that a shallow thread touches. The result tells when to call
    /// this function again. It must not be called by several threads at once.
    ///
    /// This function makes system calls for a few milliseconds at most. It makes none while it
    /// holds a lock that takers wait for.
    pub fn trim(&self) -> Trim {
        let next = self
            .class_pools
            .iter()
            .map(|class_pool| self.trim_size_class(class_pool))
            .max()
            .unwrap_or(Trim::Done);
        if next != Trim::Soon {
            self.trims.fetch_add(1, Relaxed);
        }
        next
    }

    /// Returns the number of completed trims.
    #[inline]
    pub(crate) fn trims(&self) -> usize {
        self.trims.load(Relaxed)
    }

    /// Trims one size class.
    fn trim_size_class(&self, class_pool: &Mutex<SizeClassPool>) -> Trim {
        let all = lock(class_pool).surplus(self.trims());
        let mut surplus = all.min(MAX_DECOMMITTED_PER_TRIM);
        let acted = surplus > 0;
        while surplus > 0 {
            // The match would keep the temporaries of its scrutinee, and so the lock.
            let taken = lock(class_pool).take_surplus(surplus);
            match taken {
                None => break,
                Some(Surplus::Chunk(chunk, ready)) => {
                    surplus -= ready;
                    self.unmap(chunk);
                }
                Some(Surplus::Slots(slots)) => {
                    surplus -= slots.len();
                    decommit(&slots);
                    let unused = lock(class_pool).put_decommitted(&slots);
                    if let Some(chunk) = unused {
                        self.unmap(chunk);
                    }
                }
            }
        }
        let (mut made_shallow, mut from) = (0, 0);
        while made_shallow < MAX_MADE_SHALLOW_PER_TRIM {
            let taken = lock(class_pool).take_warm(from, advise::BATCH);
            let Some((id, slots)) = taken else { break };
            if slots.len() < advise::BATCH {
                from = id + 1;
            }
            made_shallow += slots.len();
            decommit_below_top(&slots);
            lock(class_pool).put_shallow(&slots);
        }
        if all > MAX_DECOMMITTED_PER_TRIM {
            Trim::Soon
        } else if acted || made_shallow > 0 || !lock(class_pool).is_trimmed() {
            Trim::Later
        } else {
            Trim::Done
        }
    }

    /// Unmaps a chunk of which all slots are free.
    fn unmap(&self, chunk: Chunk) {
        self.guards.forget(chunk.mapped_guards);
        drop(chunk);
    }

    /// Locks the slots of one class.
    fn class_pool(&self, class: SizeClass) -> MutexGuard<'_, SizeClassPool> {
        lock(&self.class_pools[class.index()])
    }
}

/// The time when the next [`Pool::trim`] has something to do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trim {
    /// When more slots have come back.
    Done,
    /// After a while, with the slots that are not needed until then.
    Later,
    /// As soon as there is time.
    Soon,
}

impl Drop for Pool {
    fn drop(&mut self) {
        for class_pool in &mut self.class_pools {
            class_pool.get_mut().unwrap_or_else(PoisonError::into_inner).end();
        }
    }
}

/// Locks the slots of one class, and ignores poisoning.
///
/// No code that can panic runs under these locks. A failed allocation aborts.
fn lock(class_pool: &Mutex<SizeClassPool>) -> MutexGuard<'_, SizeClassPool> {
    class_pool.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the memory of free slots back to the kernel, with one range for each run of neighbours.
fn decommit(slots: &[Slot]) {
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
    // SAFETY: the ranges are slots, which are mapped private and anonymous. The caller owns these
    // free slots, so no value in them is in use. Guards stay.
    unsafe { advise::give_back(&runs) };
}

/// Gives the memory of free slots back to the kernel, except for the tops of the stacks.
#[cold]
pub(crate) fn decommit_below_top(slots: &[Slot]) {
    let deep = |slot: &Slot| {
        let len = slot.usable().checked_sub(SHALLOW).filter(|&len| len > 0)?;
        Some(advise::range(slot.bottom().as_ptr().wrapping_add(slot.guard()), len))
    };
    let ranges: Vec<_> = slots.iter().filter_map(deep).collect();
    // SAFETY: the ranges are parts of slots, which are mapped private and anonymous. The caller
    // owns these free slots, so no value in them is in use.
    unsafe { advise::give_back(&ranges) };
}
