//! Deadlines in order, and who waits for each: a heap out of which any timer can be taken.
//!
//! Three arrays, and no pointers, so that what a sift moves about is small and close together however
//! many timers there are. (A timer in the frame of the thread that waits would be a page of its own.)
//!
//! - `heap` has the deadlines, each with its timer's handle: a four-ary heap, the earliest first.
//! - `places` has, by handle, where in the heap that timer is.
//! - `waiters` has, by handle, who waits.
//!
//! Invariants:
//! - A handle is in use from `insert` to `release` or `remove`. `heap[places[h]].handle == h` for each
//!   in use, but for those that were popped and not released: theirs is `GONE`.
//! - The free handles are a list through `places`, from `free` on.

use crate::task::Waiter;

/// A deadline, in nanoseconds since the driver's epoch.
pub(super) type When = u64;

/// Later than any deadline.
pub(super) const NEVER: When = When::MAX;

/// Names a timer in its heap.
pub(super) type Handle = u32;

const ARITY: usize = 4;
/// No handle: the end of the free list.
const NONE: Handle = Handle::MAX;
/// The place of a timer that was popped, and whose owner still has the handle.
const GONE: u32 = u32::MAX;
/// Arrays of more than this are worth giving back when they are not needed.
const LARGE: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Entry {
    when: When,
    handle: Handle,
}

#[derive(Debug)]
pub(super) struct Heap {
    heap: Vec<Entry>,
    places: Vec<u32>,
    waiters: Vec<Waiter>,
    free: Handle,
    in_use: usize,
}

impl Heap {
    pub(super) const fn new() -> Self {
        Self { heap: Vec::new(), places: Vec::new(), waiters: Vec::new(), free: NONE, in_use: 0 }
    }

    /// The earliest deadline, or `NEVER`.
    pub(super) fn earliest(&self) -> When {
        self.heap.first().map_or(NEVER, |entry| entry.when)
    }

    /// Whether nothing is in use of arrays that were large once.
    pub(super) fn is_waste(&self) -> bool {
        self.in_use == 0 && self.waiters.capacity() > LARGE
    }

    pub(super) fn insert(&mut self, when: When, waiter: Waiter) -> Handle {
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
        let entry = Entry { when, handle };
        self.heap.push(entry);
        self.sift_up(self.heap.len() - 1, entry);
        handle
    }

    /// Takes a timer out, if it was not popped, and frees the handle.
    pub(super) fn remove(&mut self, handle: Handle) {
        let place = self.places[handle as usize];
        if place != GONE {
            self.take(place as usize);
        }
        self.release(handle);
    }

    /// Takes the earliest timer out, if it is due. Its handle stays in use. Who waits the caller will want to know.
    pub(super) fn pop_due(&mut self, now: When) -> Option<Handle> {
        let handle = self.heap.first().filter(|entry| entry.when <= now)?.handle;
        gthread_arch::prefetch((&raw const self.waiters[handle as usize]).cast());
        self.take(0);
        self.places[handle as usize] = GONE;
        Some(handle)
    }

    /// Who waits, by a handle in use.
    pub(super) fn waiter(&self, handle: Handle) -> Waiter {
        self.waiters[handle as usize]
    }

    /// Frees the handle of a timer that was popped.
    pub(super) fn release(&mut self, handle: Handle) {
        self.places[handle as usize] = self.free;
        self.free = handle;
        self.in_use -= 1;
    }

    fn take(&mut self, place: usize) {
        let last = self.heap.pop().expect("the place is in the heap");
        if place == self.heap.len() {
            return;
        }
        if place > 0 && last.when < self.heap[(place - 1) / ARITY].when {
            self.sift_up(place, last);
        } else {
            self.sift_down(place, last);
        }
    }

    /// Puts an entry where it belongs, at `place` or above it; what is at `place` is overwritten.
    fn sift_up(&mut self, mut place: usize, entry: Entry) {
        while place > 0 {
            let parent = (place - 1) / ARITY;
            let above = self.heap[parent];
            if above.when <= entry.when {
                break;
            }
            self.put(place, above);
            place = parent;
        }
        self.put(place, entry);
    }

    /// Puts an entry where it belongs, at `place` or below it; what is at `place` is overwritten.
    fn sift_down(&mut self, mut place: usize, entry: Entry) {
        loop {
            let first = ARITY * place + 1;
            let children = first..(first + ARITY).min(self.heap.len());
            let Some(least) = children.min_by_key(|&child| self.heap[child].when) else { break };
            let below = self.heap[least];
            if below.when >= entry.when {
                break;
            }
            self.put(place, below);
            place = least;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.places[entry.handle as usize] = place as u32;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::task::OsThread;
    use std::collections::BTreeMap;
    use std::ptr::NonNull;

    /// Against an ordered map, with numbers from a fixed sequence.
    #[test]
    fn timers_come_out_in_order_and_any_can_be_taken_out() {
        let me = OsThread::current();
        let waiter = Waiter::Os(NonNull::from(&*me));
        let mut random = 1_u64;
        let mut below = |limit: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % limit
        };
        let (mut heap, mut model, mut gone) = (Heap::new(), BTreeMap::new(), Vec::new());
        let (mut now, mut sequence, mut most) = (0, 0, 0);
        for round in 0..20_000 {
            // Grows, then shrinks.
            let inserts = if round < 10_000 { 6 } else { 3 };
            match below(10) {
                n if n < inserts => {
                    let when = now + below(1000);
                    model.insert((when, sequence), heap.insert(when, waiter));
                    sequence += 1;
                }
                n if n < 7 && !model.is_empty() => {
                    let nth = below(model.len() as u64) as usize;
                    let key = *model.keys().nth(nth).unwrap();
                    heap.remove(model.remove(&key).unwrap());
                }
                n if n < 9 => {
                    now += below(5);
                    let due = model.keys().next().filter(|(when, _)| *when <= now).copied();
                    assert_eq!(heap.pop_due(now).is_some(), due.is_some());
                    let Some((when, _)) = due else { continue };
                    // Of equal deadlines it may be any: the one that is gone.
                    let mut equal = model.range((when, 0)..=(when, u64::MAX));
                    let (&key, &handle) =
                        equal.find(|(_, handle)| heap.places[**handle as usize] == GONE).unwrap();
                    model.remove(&key);
                    gone.push(handle);
                }
                _ => {
                    // Half of them as their owners do, who come late.
                    while let Some(handle) = gone.pop() {
                        if below(2) == 0 { heap.release(handle) } else { heap.remove(handle) }
                    }
                }
            }
            most = most.max(model.len());
            let earliest = model.keys().next().map_or(NEVER, |(when, _)| *when);
            assert_eq!(heap.earliest(), earliest);
            assert_eq!(heap.in_use, model.len() + gone.len());
            // All of them, now and then.
            for (&(when, _), &handle) in model.iter().filter(|_| round % 64 == 0) {
                let entry = heap.heap[heap.places[handle as usize] as usize];
                assert_eq!((entry.when, entry.handle), (when, handle));
            }
        }
        assert!(most > 500 && heap.waiters.len() < most + 500, "handles are used again");
    }

    #[test]
    fn large_arrays_that_nobody_needs_are_waste() {
        let me = OsThread::current();
        let waiter = Waiter::Os(NonNull::from(&*me));
        let mut heap = Heap::new();
        let handles: Vec<_> = (0..=LARGE as u64).map(|n| heap.insert(n, waiter)).collect();
        assert!(!heap.is_waste());
        handles.into_iter().for_each(|handle| heap.remove(handle));
        assert!(heap.is_waste());
        assert_eq!(heap.earliest(), NEVER);
    }
}
