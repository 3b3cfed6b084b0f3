//! A queue of timers, ordered by deadline, from which any timer can be removed.
//!
//! The queue is a few arrays without pointers, so that the memory it touches is small and
//! contiguous however many timers there are. A timer in the frame of its waiting thread would be on
//! a page of its own.
//!
//! - `heap` has the deadlines, each with its timer's handle.
//! - `places` has, by handle, the timer's place in the heap.
//! - `waiters` has, by handle, the waiter.
//!
//! Invariants:
//! - A handle is in use from `insert` to `release` or `remove`. The heap's entry at `places[h]` has
//!   the handle `h` for each handle in use, except for timers that were popped and not released:
//!   they are `GONE`.
//! - The free handles are a list through `places`, beginning with `free`.

use crate::runtime::driver::heap::{Entry, Handle, Heap, NONE, Places, When};
use crate::task::header::Waiter;

/// The place of a timer that was popped, and whose owner still has the handle.
const GONE: u32 = u32::MAX;

/// Arrays with more entries than this are given back when they are not needed.
const LARGE: usize = 1024;

#[derive(Debug)]
pub(crate) struct Queue {
    heap: Heap,
    places: Places,
    waiters: Vec<Waiter>,
    free: Handle,
    in_use: usize,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self { heap: Heap::new(), places: Vec::new(), waiters: Vec::new(), free: NONE, in_use: 0 }
    }

    /// Returns the earliest deadline, or `NEVER`.
    pub(crate) fn earliest(&self) -> When {
        self.heap.first().when
    }

    /// Returns `true` if no timer is in use and the arrays were large once.
    pub(crate) fn is_waste(&self) -> bool {
        self.in_use == 0 && self.waiters.capacity() > LARGE
    }

    /// Adds a timer.
    pub(crate) fn insert(&mut self, when: When, waiter: Waiter) -> Handle {
        let handle = match self.free {
            NONE => {
                let handle = Handle::try_from(self.waiters.len()).ok().filter(|&h| h < NONE);
                self.places.push(GONE);
                self.waiters.push(waiter);
                handle.expect("fewer timers than 2^32, since each is of another thread")
            }
            handle => {
                self.free = self.places[handle as usize];
                self.waiters[handle as usize] = waiter;
                handle
            }
        };
        self.in_use += 1;
        self.heap.insert(Entry { when, handle }, &mut self.places);
        handle
    }

    /// Takes a timer out, if it was not popped, and frees the handle.
    pub(crate) fn remove(&mut self, handle: Handle) {
        match self.places[handle as usize] {
            GONE => {}
            place => self.heap.take(place, &mut self.places),
        }
        self.release(handle);
    }

    /// Takes the earliest timer out, if it is due. Its handle stays in use. Prefetches the waiter,
    /// which the caller needs next.
    pub(crate) fn pop_due(&mut self, now: When) -> Option<Handle> {
        let Entry { when, handle } = self.heap.first();
        if when > now {
            return None;
        }
        gthread_arch::prefetch((&raw const self.waiters[handle as usize]).cast());
        self.heap.take_first(&mut self.places);
        self.places[handle as usize] = GONE;
        Some(handle)
    }

    /// Returns the waiter of a handle in use.
    pub(crate) fn waiter(&self, handle: Handle) -> Waiter {
        self.waiters[handle as usize]
    }

    /// Frees the handle of a timer that was popped.
    pub(crate) fn release(&mut self, handle: Handle) {
        self.places[handle as usize] = self.free;
        self.free = handle;
        self.in_use -= 1;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::runtime::driver::heap::NEVER;
    use std::collections::BTreeMap;
    use std::ptr::NonNull;

    /// Stored, never looked at.
    const WAITER: Waiter = Waiter::Os(NonNull::dangling());

    /// Compares the queue with an ordered map over 20,000 random operations from a fixed sequence.
    #[test]
    fn timers_come_out_in_order_and_any_can_be_taken_out() {
        const ROUNDS: usize = 20_000;
        let mut random = 1_u64;
        let mut below = |limit: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % limit
        };
        let (mut queue, mut model, mut gone) = (Queue::new(), BTreeMap::new(), Vec::new());
        let (mut now, mut sequence, mut most) = (0, 0, 0);
        for round in 0..ROUNDS {
            // Grows, then shrinks.
            let inserts = if round < ROUNDS / 2 { 6 } else { 3 };
            match below(10) {
                n if n < inserts => {
                    let when = now + below(1000);
                    model.insert((when, sequence), queue.insert(when, WAITER));
                    sequence += 1;
                }
                n if n < 7 && !model.is_empty() => {
                    let nth = below(model.len() as u64) as usize;
                    let key = *model.keys().nth(nth).unwrap();
                    queue.remove(model.remove(&key).unwrap());
                }
                n if n < 9 => {
                    now += below(5);
                    let due = model.keys().next().filter(|(when, _)| *when <= now).copied();
                    assert_eq!(queue.pop_due(now).is_some(), due.is_some());
                    let Some((when, _)) = due else { continue };
                    // Equal deadlines may come out in any order: look for the timer that is gone.
                    let mut equal = model.range((when, 0)..=(when, u64::MAX));
                    let (&key, &handle) =
                        equal.find(|(_, handle)| queue.places[**handle as usize] == GONE).unwrap();
                    model.remove(&key);
                    gone.push(handle);
                }
                _ => {
                    // Half of them like their owners, which come late.
                    while let Some(handle) = gone.pop() {
                        if below(2) == 0 { queue.release(handle) } else { queue.remove(handle) }
                    }
                }
            }
            most = most.max(model.len());
            let earliest = model.keys().next().map_or(NEVER, |(when, _)| *when);
            assert_eq!(queue.earliest(), earliest);
            assert_eq!(queue.in_use, model.len() + gone.len());
            for (&(when, _), &handle) in model.iter().filter(|_| round % 64 == 0) {
                let entry = queue.heap.at(queue.places[handle as usize]);
                assert_eq!((entry.when, entry.handle), (when, handle));
            }
        }
        assert!(most > 500, "{most}");
        assert!(queue.waiters.len() < most + 500, "handles are used again");
    }

    #[test]
    fn large_arrays_that_nobody_needs_are_waste() {
        let mut queue = Queue::new();
        let handles: Vec<_> = (0..=LARGE as u64).map(|n| queue.insert(n, WAITER)).collect();
        assert!(!queue.is_waste());
        handles.into_iter().for_each(|handle| queue.remove(handle));
        assert!(queue.is_waste());
        assert_eq!(queue.earliest(), NEVER);
    }
}
