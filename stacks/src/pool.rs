//! Who has which slot: a shared pool, and caches in front of it.
//!
//! Invariant: a slot is in exactly one place: with its user, in one `Cache`, in the free list of one
//! `Pool`, or not cut yet. `Slot` is neither `Clone` nor `Copy`, so the type system keeps this.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::arena::Arena;
use crate::guard::Guards;
use crate::{GuardKind, SizeClass, Slot, StackError};

/// Slots that move between a cache and its pool at once.
const BATCH: usize = 32;

/// Stacks of every size class, shared by all threads.
///
/// Dropping a pool unmaps the size classes of which every slot has come back; the others are leaked,
/// because somebody may still be running on them.
#[derive(Debug)]
pub struct Pool {
    guards: Guards,
    shelves: [Mutex<Shelf>; SizeClass::COUNT],
}

/// The slots of one size class.
#[derive(Debug)]
struct Shelf {
    arena: Arena,
    free: Vec<Slot>,
}

impl Pool {
    /// An empty pool. Reserves nothing until the first slot is taken.
    pub fn new(guard: GuardKind) -> Self {
        Self {
            guards: Guards::new(guard),
            shelves: std::array::from_fn(|index| {
                let arena = Arena::new(SizeClass::from_index(index));
                Mutex::new(Shelf { arena, free: Vec::new() })
            }),
        }
    }

    /// A stack of the given class: one that came back, else a new one.
    ///
    /// # Errors
    ///
    /// When the kernel gives no more address space or guards.
    pub fn take(&self, class: SizeClass) -> Result<Slot, StackError> {
        self.shelf(class).take(&self.guards)
    }

    /// Gives a slot back.
    pub fn put(&self, slot: Slot) {
        self.shelf(slot.class()).free.push(slot);
    }

    /// Slots that were cut and are not in the free lists: in use, or in a cache.
    pub fn outstanding(&self) -> usize {
        self.shelves.iter().map(|shelf| lock(shelf).outstanding()).sum()
    }

    fn shelf(&self, class: SizeClass) -> MutexGuard<'_, Shelf> {
        lock(&self.shelves[class.index()])
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for shelf in &mut self.shelves {
            let shelf = shelf.get_mut().unwrap_or_else(PoisonError::into_inner);
            if shelf.outstanding() > 0 {
                let class = SizeClass::from_index(0);
                mem::replace(&mut shelf.arena, Arena::new(class)).leak();
            }
        }
    }
}

impl Shelf {
    fn take(&mut self, guards: &Guards) -> Result<Slot, StackError> {
        match self.free.pop() {
            Some(slot) => Ok(slot),
            None => self.arena.cut(guards),
        }
    }

    fn outstanding(&self) -> usize {
        self.arena.slots() - self.free.len()
    }
}

/// No code that can panic runs under these locks but allocation failure, which aborts.
fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread's stock of slots of one class, in front of a pool.
///
/// `take` and `put` touch no shared memory while the stock lasts, and move slots from and to the pool
/// in batches, so a thread that only takes is fed by one that only puts. Slots of other classes pass
/// through to the pool. [`Cache::flush`] before dropping: a dropped cache loses its slots.
#[derive(Debug)]
pub struct Cache {
    class: SizeClass,
    slots: Vec<Slot>,
}

impl Cache {
    /// An empty cache for slots of `class`.
    pub fn new(class: SizeClass) -> Self {
        Self { class, slots: Vec::with_capacity(2 * BATCH) }
    }

    /// The class this cache serves without a lock.
    pub fn class(&self) -> SizeClass {
        self.class
    }

    /// A stack of the given class.
    ///
    /// # Errors
    ///
    /// As [`Pool::take`].
    #[inline]
    pub fn take(&mut self, pool: &Pool, class: SizeClass) -> Result<Slot, StackError> {
        if class == self.class {
            if let Some(slot) = self.slots.pop() {
                return Ok(slot);
            }
        }
        self.take_slow(pool, class)
    }

    /// Gives a slot back.
    #[inline]
    pub fn put(&mut self, pool: &Pool, slot: Slot) {
        if slot.class() == self.class && self.slots.len() < 2 * BATCH {
            self.slots.push(slot);
        } else {
            self.put_slow(pool, slot);
        }
    }

    /// Gives every slot back to the pool.
    pub fn flush(&mut self, pool: &Pool) {
        pool.shelf(self.class).free.append(&mut self.slots);
    }

    #[cold]
    fn take_slow(&mut self, pool: &Pool, class: SizeClass) -> Result<Slot, StackError> {
        let mut shelf = pool.shelf(class);
        let slot = shelf.take(&pool.guards)?;
        if class == self.class {
            while self.slots.len() < BATCH {
                // One slot is in hand: what the kernel refuses now is the next taker's error.
                let Ok(slot) = shelf.take(&pool.guards) else { break };
                self.slots.push(slot);
            }
        }
        Ok(slot)
    }

    #[cold]
    fn put_slow(&mut self, pool: &Pool, slot: Slot) {
        if slot.class() != self.class {
            return pool.put(slot);
        }
        let mut shelf = pool.shelf(self.class);
        // The oldest go: the newest are warm.
        shelf.free.extend(self.slots.drain(..BATCH));
        drop(shelf);
        self.slots.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page_size;

    fn class() -> SizeClass {
        SizeClass::of_size(64 << 10).unwrap()
    }

    fn write_and_read(slot: &Slot) {
        let top = slot.top().as_ptr();
        for offset in [1, slot.usable()] {
            // SAFETY: the slot is ours and `offset` is within its usable part.
            unsafe {
                top.sub(offset).write(42);
                assert_eq!(top.sub(offset).read(), 42);
            }
        }
    }

    #[test]
    fn slots_are_distinct_writable_and_reused() {
        for kind in [GuardKind::Auto, GuardKind::Mprotect] {
            let pool = Pool::new(kind);
            let slots: Vec<_> = (0..200).map(|_| pool.take(class()).unwrap()).collect();
            let mut bottoms: Vec<_> = slots.iter().map(|slot| slot.bottom()).collect();
            bottoms.sort();
            for pair in bottoms.windows(2) {
                assert!(pair[1].as_ptr() as usize - pair[0].as_ptr() as usize >= class().size());
            }
            slots.iter().for_each(write_and_read);
            assert_eq!(pool.outstanding(), 200);
            slots.into_iter().for_each(|slot| pool.put(slot));
            assert_eq!(pool.outstanding(), 0);
            let again = pool.take(class()).unwrap();
            assert!(bottoms.contains(&again.bottom()));
            pool.put(again);
        }
    }

    #[test]
    fn a_cache_takes_and_gives_in_batches_and_loses_nothing() {
        let pool = Pool::new(GuardKind::Auto);
        let (mut taker, mut giver) = (Cache::new(class()), Cache::new(class()));
        // One side only takes, the other only gives: the pool must feed one from the other.
        for _ in 0..10_000 {
            let slot = taker.take(&pool, class()).unwrap();
            giver.put(&pool, slot);
        }
        assert!(pool.shelf(class()).arena.slots() <= 6 * BATCH, "the pool grew");
        let other = SizeClass::of_size(1 << 20).unwrap();
        let slot = taker.take(&pool, other).unwrap();
        assert_eq!(slot.class(), other);
        write_and_read(&slot);
        taker.put(&pool, slot);
        taker.flush(&pool);
        giver.flush(&pool);
        assert_eq!(pool.outstanding(), 0);
    }

    /// The guard faults: in a child process, because the fault kills.
    #[test]
    fn touching_a_guard_kills_the_process() {
        for kind in [GuardKind::Auto, GuardKind::Mprotect] {
            let slot = Pool::new(kind).take(class()).unwrap();
            let guard = slot.bottom().as_ptr();
            // SAFETY: the child only writes one byte and exits: nothing it calls takes a lock or
            // allocates.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: the write is meant to fault. Were it to succeed, it would hit memory of
                // the slot, which is ours; `_exit` has no preconditions.
                unsafe {
                    libc::signal(libc::SIGSEGV, libc::SIG_DFL);
                    guard.add(page_size() - 1).write_volatile(1);
                    libc::_exit(0);
                }
            }
            let mut status = 0;
            // SAFETY: `child` is our child and `status` is a local.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert!(libc::WIFSIGNALED(status), "{kind:?}: no fault");
            assert_eq!(libc::WTERMSIG(status), libc::SIGSEGV);
        }
    }
}
