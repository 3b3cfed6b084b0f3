//! Deadlines in order, and who waits for each: a queue out of which any timer can be taken.
//!
//! Arrays, and no pointers, so that what is moved about is small and close together however many timers there are. (A timer
//! in the frame of the thread that waits would be a page of its own.)
//!
//! - `heap` has the deadlines, each with its timer's handle; of a crowd those that are not due soon are in `days` instead.
//! - `places` has, by handle, where that timer is.
//! - `waiters` has, by handle, who waits.
//!
//! Invariants:
//! - A handle is in use from `insert` to `release` or `remove`. What is at `places[h]` has the handle `h` for each
//!   in use, but for those that were popped and not released: they are `GONE`.
//! - The free handles are a list through `places`, from `free` on.

use super::days::Days;
use super::heap::Heap;
use crate::task::Waiter;

/// A deadline, in nanoseconds since the driver's epoch.
pub(super) type When = u64;

/// Later than any deadline.
pub(super) const NEVER: When = When::MAX;

/// Names a timer in its queue.
pub(super) type Handle = u32;

/// No handle: the end of the free list.
pub(super) const NONE: Handle = Handle::MAX;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) when: When,
    pub(super) handle: Handle,
}

/// Where a timer is: in the heap, or else in a day, and the place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) part: u16,
    pub(super) index: u32,
}

pub(super) type Places = Vec<Place>;

/// [`Place::part`] of those in the heap. All of days are less.
pub(super) const HEAP: u16 = u16::MAX;
/// Of a timer that was popped, and whose owner still has the handle.
const GONE: Place = Place { part: HEAP, index: u32::MAX };

/// With fewer timers than this the heap is in the processor's caches.
const CROWD: usize = if cfg!(test) { 64 } else { 1024 };
/// Arrays of more than this are worth giving back when they are not needed.
const LARGE: usize = 1024;

#[derive(Debug)]
pub(super) struct Queue {
    heap: Heap,
    days: Days,
    places: Places,
    waiters: Vec<Waiter>,
    free: Handle,
    in_use: usize,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self {
            heap: Heap::new(),
            days: Days::new(),
            places: Vec::new(),
            waiters: Vec::new(),
            free: NONE,
            in_use: 0,
        }
    }

    /// The earliest deadline, or `NEVER`. Too early by a day at most if the first timer of that day was removed; then
    /// [`pop_due`](Self::pop_due) at that time finds nothing, and it is right again.
    pub(super) fn earliest(&self) -> When {
        self.heap.first().when.min(self.days.earliest())
    }

    /// Whether nothing is in use of arrays that were large once.
    pub(super) fn is_waste(&self) -> bool {
        self.in_use == 0 && self.waiters.capacity() > LARGE
    }

    /// What time it is, is asked at times. It need not be exact.
    pub(super) fn insert(
        &mut self,
        when: When,
        waiter: Waiter,
        now: impl FnOnce() -> When,
    ) -> Handle {
        let handle = match self.free {
            NONE => {
                let handle = Handle::try_from(self.waiters.len()).ok().filter(|&h| h < NONE);
                self.places.push(GONE);
                self.waiters.push(waiter);
                handle.expect("fewer timers than 2^32, since each is of another thread")
            }
            handle => {
                self.free = self.places[handle as usize].index;
                self.waiters[handle as usize] = waiter;
                handle
            }
        };
        self.in_use += 1;
        let entry = Entry { when, handle };
        if self.in_use <= CROWD || !self.days.insert(entry, &mut self.places, now) {
            self.heap.insert(entry, &mut self.places);
        }
        handle
    }

    /// Takes a timer out, if it was not popped, and frees the handle.
    pub(super) fn remove(&mut self, handle: Handle) {
        match self.places[handle as usize] {
            GONE => {}
            Place { part: HEAP, index } => self.heap.take(index, &mut self.places),
            place => self.days.take(place, &mut self.places),
        }
        self.release(handle);
    }

    /// Takes the earliest timer out, if it is due. Its handle stays in use. Who waits the caller will want to know.
    pub(super) fn pop_due(&mut self, now: When) -> Option<Handle> {
        if self.days.has_begun(now) {
            self.move_days(now);
        }
        let Entry { when, handle } = self.heap.first();
        if when > now {
            return None;
        }
        gthread_arch::prefetch((&raw const self.waiters[handle as usize]).cast());
        self.heap.take_first(&mut self.places);
        self.places[handle as usize] = GONE;
        Some(handle)
    }

    /// Moves to the heap what may be the first that is due. Not more: after a pause of all threads there are many such days.
    #[cold]
    fn move_days(&mut self, now: When) {
        let Self { heap, days, places, .. } = self;
        while days.take_due(now, heap.first().when.min(now), |entry| heap.insert(entry, places)) {}
    }

    /// Who waits, by a handle in use.
    pub(super) fn waiter(&self, handle: Handle) -> Waiter {
        self.waiters[handle as usize]
    }

    /// Frees the handle of a timer that was popped.
    pub(super) fn release(&mut self, handle: Handle) {
        self.places[handle as usize].index = self.free;
        self.free = handle;
        self.in_use -= 1;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::days::{DAY, MOST, YEAR};
    use super::*;
    use std::collections::BTreeMap;
    use std::ptr::NonNull;

    /// Only kept: nobody asks who it is.
    const WAITER: Waiter = Waiter::Os(NonNull::dangling());

    /// Fires the one that is due then.
    fn fire(queue: &mut Queue, when: When) {
        let handle = queue.pop_due(when).unwrap();
        queue.release(handle);
    }

    /// Against an ordered map, so many times, with numbers from a fixed sequence; deadlines are so many nanoseconds ahead at
    /// most, and time goes by in such steps. Gives the most timers that there were at once, and the most that were in days.
    fn compare(rounds: usize, ahead: u64, step: u64) -> (usize, usize) {
        let mut random = 1_u64;
        let mut below = |limit: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % limit
        };
        let (mut queue, mut model, mut gone) = (Queue::new(), BTreeMap::new(), Vec::new());
        let (mut now, mut sequence, mut most, mut most_in_days) = (0, 0, 0, 0);
        for round in 0..rounds {
            // Grows, then shrinks.
            let inserts = if round < rounds / 2 { 6 } else { 3 };
            match below(10) {
                n if n < inserts => {
                    let when = now + below(ahead);
                    model.insert((when, sequence), queue.insert(when, WAITER, || now));
                    sequence += 1;
                }
                n if n < 7 && !model.is_empty() => {
                    let nth = below(model.len() as u64) as usize;
                    let key = *model.keys().nth(nth).unwrap();
                    queue.remove(model.remove(&key).unwrap());
                }
                n if n < 9 => {
                    now += below(step);
                    if below(4) == 0 {
                        // By who looks for what is late.
                        let before = now.saturating_sub(3 * step);
                        let due = model.keys().next().is_some_and(|(when, _)| *when <= before);
                        if !due {
                            assert_eq!(queue.pop_due(before), None);
                        }
                    }
                    let due = model.keys().next().filter(|(when, _)| *when <= now).copied();
                    assert_eq!(queue.pop_due(now).is_some(), due.is_some());
                    let Some((when, _)) = due else { continue };
                    // Of equal deadlines it may be any: the one that is gone.
                    let mut equal = model.range((when, 0)..=(when, u64::MAX));
                    let (&key, &handle) =
                        equal.find(|(_, handle)| queue.places[**handle as usize] == GONE).unwrap();
                    model.remove(&key);
                    gone.push(handle);
                }
                _ => {
                    // Half of them as their owners do, who come late.
                    while let Some(handle) = gone.pop() {
                        if below(2) == 0 { queue.release(handle) } else { queue.remove(handle) }
                    }
                }
            }
            most = most.max(model.len());
            let earliest = model.keys().next().map_or(NEVER, |(when, _)| *when);
            // Never late; and no more than a day early, if it is one that was put down.
            let told = queue.earliest();
            let most_early = if told == queue.days.earliest() { (1 << DAY) - 1 } else { 0 };
            assert!(told <= earliest && earliest - told <= most_early, "{told}, {earliest}");
            assert_eq!(queue.in_use, model.len() + gone.len());
            // All of them, now and then.
            let mut in_days = 0;
            for (&(when, _), &handle) in model.iter().filter(|_| round % 64 == 0) {
                let entry = match queue.places[handle as usize] {
                    Place { part: HEAP, index } => queue.heap.at(index),
                    place => {
                        in_days += 1;
                        queue.days.at(place)
                    }
                };
                assert_eq!((entry.when, entry.handle), (when, handle));
            }
            most_in_days = most_in_days.max(in_days);
        }
        assert!(queue.waiters.len() < most + 500, "handles are used again");
        (most, most_in_days)
    }

    #[test]
    fn timers_come_out_in_order_and_any_can_be_taken_out() {
        let (most, in_days) = compare(20_000, 1000, 5);
        assert!(most > 500 && in_days == 0, "{most}, {in_days}");
    }

    #[test]
    fn so_do_those_of_a_crowd_that_are_put_down_by_the_day() {
        let day = 1 << DAY;
        for (ahead, step) in
            [(1000 * day, 5 * day), (100 * day, day / 2), (2 * YEAR as u64 * day, 2 * day)]
        {
            let (most, in_days) = compare(6_000, ahead, step);
            assert!(most > 500 && in_days > 300, "{most}, {in_days}");
        }
    }

    #[test]
    fn no_more_of_one_day_are_put_down_than_can_be_moved_at_once() {
        let mut queue = Queue::new();
        let when = 1 << DAY;
        let handles: Vec<_> =
            (0..CROWD + 2 * MOST).map(|_| queue.insert(when, WAITER, || 0)).collect();
        let in_heap = |handle: &&Handle| queue.places[**handle as usize].part == HEAP;
        assert_eq!(handles.iter().filter(in_heap).count(), CROWD + MOST);
        for _ in &handles {
            assert_eq!(queue.earliest(), when);
            fire(&mut queue, when);
        }
        assert_eq!((queue.earliest(), queue.in_use), (NEVER, 0));
    }

    #[test]
    fn an_early_end_of_the_year_is_not_the_beginning_of_this_one() {
        let mut queue = Queue::new();
        let crowd: Vec<_> = (0..CROWD).map(|_| queue.insert(NEVER - 1, WAITER, || 0)).collect();
        // Not at the edge of a word, so that one word has the first days and the last.
        let today: u64 = 70;
        let now = today << DAY;
        for ahead in [YEAR as u64 - 1, 1, YEAR as u64, 0, 5] {
            queue.insert((today + ahead) << DAY, WAITER, || now);
        }
        for ahead in [0, 1, 5, YEAR as u64 - 1, YEAR as u64] {
            let when = (today + ahead) << DAY;
            assert_eq!(queue.earliest(), when);
            assert!(queue.pop_due(when - 1).is_none());
            fire(&mut queue, when);
        }
        crowd.into_iter().for_each(|handle| queue.remove(handle));
        assert_eq!((queue.earliest(), queue.in_use), (NEVER, 0));
    }

    #[test]
    fn large_arrays_that_nobody_needs_are_waste() {
        let mut queue = Queue::new();
        let handles: Vec<_> =
            (0..=LARGE as u64).map(|n| queue.insert(n << DAY, WAITER, || 0)).collect();
        assert!(!queue.is_waste());
        handles.into_iter().for_each(|handle| queue.remove(handle));
        assert!(queue.is_waste());
        assert_eq!(queue.earliest(), NEVER);
    }
}
