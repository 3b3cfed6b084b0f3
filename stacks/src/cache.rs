//! A stock of slots for one thread.

use crate::pool::decommit_below_top;
use crate::{Pool, SizeClass, Slot, StackError};

/// The number of slots that move between a cache and its pool at once.
const BATCH: usize = 32;

/// The number of takes by which [`Cache::coming`] looks ahead.
const TAKES_AHEAD: usize = 3;

/// A stock of slots of one class for one thread, in front of a pool.
///
/// `take` and `put` touch no shared memory while the stock lasts. `refill` and `put` move slots
/// from and to the pool in batches, so a thread that only takes is supplied by a thread that only
/// puts. Slots of other classes pass through to the pool. A cache must be [flushed](Cache::flush)
/// before it is dropped: a dropped cache loses its slots.
///
/// A cache is for one pool. It hands out the slots that it was given, whatever pool they came from.
/// A slot of another pool is detected when it reaches the pool, at a later [`put`](Cache::put) or
/// [`flush`](Cache::flush).
#[derive(Debug)]
pub struct Cache {
    class: SizeClass,
    slots: Vec<Slot>,
    /// [`Cache::coming`] has something to announce while fewer slots than this are in stock.
    ///
    /// It announces slots that came from the pool and are in no cache of the processor, each of
    /// them [`TAKES_AHEAD`] takes before its turn.
    unannounced: usize,
    /// The number of slots that the stock may have. Zero if it is time to trim them.
    room: usize,
    /// The number of the pool's trims that this cache has seen.
    trims: usize,
}

impl Cache {
    /// Creates an empty cache for slots of `class`.
    pub fn new(class: SizeClass) -> Self {
        Self {
            class,
            slots: Vec::with_capacity(2 * BATCH),
            unannounced: 0,
            room: 2 * BATCH,
            trims: 0,
        }
    }

    /// Takes a slot of the given class, if there is one in stock.
    #[inline]
    pub fn take(&mut self, class: SizeClass) -> Option<Slot> {
        if class == self.class { self.slots.pop() } else { None }
    }

    /// Returns the slot that the next [`Cache::take`] takes.
    #[inline]
    pub fn next(&self) -> Option<&Slot> {
        self.slots.last()
    }

    /// Returns slots that the next calls of [`Cache::take`] take, so that the caller can prefetch
    /// them.
    ///
    /// The result contains only slots that came from the pool and were probably not used for long,
    /// and each of them once.
    #[inline]
    pub fn coming(&mut self) -> &[Slot] {
        if self.slots.len() < self.unannounced { self.announce() } else { &[] }
    }

    #[cold]
    fn announce(&mut self) -> &[Slot] {
        let left = self.slots.len();
        let first = left.saturating_sub(TAKES_AHEAD);
        let end = left.min(self.unannounced.saturating_sub(TAKES_AHEAD));
        self.unannounced = if first > 0 { left } else { 0 };
        self.slots.get(first..end).unwrap_or_default()
    }

    /// Takes a slot of the given class from the pool, and stocks some more.
    ///
    /// # Errors
    ///
    /// The same as those of [`Pool::take`].
    #[cold]
    pub fn refill(&mut self, pool: &Pool, class: SizeClass) -> Result<Slot, StackError> {
        if class != self.class {
            return pool.take(class);
        }
        let is_cache_cold = pool.take_some(class, BATCH, &mut self.slots)?;
        self.unannounced = if is_cache_cold { self.slots.len() + TAKES_AHEAD } else { 0 };
        Ok(self.slots.pop().expect("it gives one or an error"))
    }

    /// Gives a slot back.
    ///
    /// # Panics
    ///
    /// If a slot that the cache gives to the pool belongs to another pool: this slot, or one that
    /// was put before. The slots that were to be given are lost.
    #[inline]
    pub fn put(&mut self, pool: &Pool, slot: Slot) {
        if slot.class() == self.class && self.slots.len() < self.room {
            self.slots.push(slot);
        } else {
            self.put_slow(pool, slot);
        }
    }

    /// Gives every slot back to the pool.
    ///
    /// # Panics
    ///
    /// If one of them belongs to another pool. All of them stay in the cache.
    pub fn flush(&mut self, pool: &Pool) {
        if !self.slots.is_empty() {
            pool.put_all(self.class, &mut self.slots);
            self.unannounced = 0;
        }
    }

    /// Schedules a trim of this cache if the pool was trimmed since the last call.
    ///
    /// The pool cannot trim the slots in a cache. So the next [`Cache::put`] gives their memory
    /// back, except for the tops of the stacks. The trim does not happen in this call, because a
    /// stack that is used again and again may be in use whenever this function is called. To be
    /// called now and then.
    #[inline]
    pub fn tend(&mut self, pool: &Pool) {
        let trims = pool.trims();
        if self.trims != trims {
            self.trims = trims;
            self.room = 0;
        }
    }

    #[cold]
    fn put_slow(&mut self, pool: &Pool, slot: Slot) {
        if slot.class() != self.class {
            return pool.put(slot);
        }
        if self.slots.len() == 2 * BATCH {
            // The oldest slots go, because the newest are in the processor's caches.
            let mut oldest = self.slots.drain(..BATCH).collect();
            self.unannounced = self.unannounced.saturating_sub(BATCH);
            pool.put_all(self.class, &mut oldest);
        }
        self.slots.push(slot);
        if self.room == 0 {
            self.room = 2 * BATCH;
            decommit_below_top(&self.slots);
        }
    }
}
