//! One thread's stock of slots.

use crate::pool::give_back_deep;
use crate::{Pool, SizeClass, Slot, StackError};

/// Slots that move between a cache and its pool at once.
const BATCH: usize = 32;

/// How many takes ahead [`Cache::coming`] looks.
const TAKES_AHEAD: usize = 3;

/// One thread's stock of slots of one class, in front of a pool.
///
/// `take` and `put` touch no shared memory while the stock lasts, and `refill` and `put` move slots from and to
/// the pool in batches, so a thread that only takes is fed by one that only puts. Slots of other classes pass
/// through to the pool. [`Cache::flush`] before dropping: a dropped cache loses its slots.
///
/// A cache is for one pool: it gives out what it was given. A slot of another pool is found out when it comes to the
/// pool, at a later [`put`](Cache::put) or [`flush`](Cache::flush).
#[derive(Debug)]
pub struct Cache {
    class: SizeClass,
    slots: Vec<Slot>,
    /// Of slots that came cold from the pool [`Cache::coming`] tells, [`TAKES_AHEAD`] takes before their turn: it has
    /// something to tell while fewer than so many are in stock.
    untold: usize,
    /// How many it may have; none if it is time to trim them.
    room: usize,
    /// The pool's trims that this cache has seen.
    trims: usize,
}

impl Cache {
    /// An empty cache for slots of `class`.
    pub fn new(class: SizeClass) -> Self {
        Self { class, slots: Vec::with_capacity(2 * BATCH), untold: 0, room: 2 * BATCH, trims: 0 }
    }

    /// A stack of the given class, if there is one in stock.
    #[inline]
    pub fn take(&mut self, class: SizeClass) -> Option<Slot> {
        if class == self.class { self.slots.pop() } else { None }
    }

    /// What the next [`Cache::take`] gives.
    #[inline]
    pub fn next(&self) -> Option<&Slot> {
        self.slots.last()
    }

    /// What the next calls of [`Cache::take`] give, as far as this was not told before, of slots that have come from the
    /// pool and were probably not used for long: so the processor may be told to fetch what is in them.
    #[inline]
    pub fn coming(&mut self) -> &[Slot] {
        if self.slots.len() < self.untold { self.tell() } else { &[] }
    }

    #[cold]
    fn tell(&mut self) -> &[Slot] {
        let left = self.slots.len();
        let first = left.saturating_sub(TAKES_AHEAD);
        let end = left.min(self.untold.saturating_sub(TAKES_AHEAD));
        self.untold = if first > 0 { left } else { 0 };
        self.slots.get(first..end).unwrap_or_default()
    }

    /// A stack of the given class, of the pool, and some more for the next times.
    ///
    /// # Errors
    ///
    /// As [`Pool::take`].
    #[cold]
    pub fn refill(&mut self, pool: &Pool, class: SizeClass) -> Result<Slot, StackError> {
        if class != self.class {
            return pool.take(class);
        }
        let cold = pool.take_some(class, BATCH, &mut self.slots)?;
        self.untold = if cold { self.slots.len() + TAKES_AHEAD } else { 0 };
        Ok(self.slots.pop().expect("it gives one or an error"))
    }

    /// Gives a slot back.
    ///
    /// # Panics
    ///
    /// If a slot that the cache gives to the pool is of another pool: this slot, or one that was put before. Those that
    /// were to be given are lost.
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
    /// If one of them is of another pool. All of them stay in the cache.
    pub fn flush(&mut self, pool: &Pool) {
        if !self.slots.is_empty() {
            pool.put_all(self.class, &mut self.slots);
            self.untold = 0;
        }
    }

    /// If the pool was trimmed since the last time, has the next [`Cache::put`] trim what is here too, which
    /// the pool cannot see, but for the tops of the stacks. To be called now and then. (Not here and now:
    /// the stack that is used again and again may well be in use whenever this is called.)
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
            // The oldest go: the newest are warm.
            let mut oldest = self.slots.drain(..BATCH).collect();
            self.untold = self.untold.saturating_sub(BATCH);
            pool.put_all(self.class, &mut oldest);
        }
        self.slots.push(slot);
        if self.room == 0 {
            self.room = 2 * BATCH;
            give_back_deep(&self.slots);
        }
    }
}
