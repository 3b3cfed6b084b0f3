//! Deadlines in order, and who waits for each: a heap out of which any timer can be taken.
//!
//! Three arrays, and no pointers, so that what a sift moves about is small and close together however
//! many timers there are. (A timer in the frame of the thread that waits would be a page of its own.)
//!
//! - `heap` has the deadlines, each with its timer's handle: a four-ary heap, the earliest first. Siblings share a cache
//!   line, and of a large heap the lines that may be looked at next are fetched while one is looked at.
//! - `places` has, by handle, where in the heap that timer is.
//! - `waiters` has, by handle, who waits.
//!
//! Invariants:
//! - A handle is in use from `insert` to `release` or `remove`. The entry at `places[h]` has the handle `h` for each
//!   in use, but for those that were popped and not released: their place is `GONE`.
//! - Places from `ROOT` to before `end` have entries; all others are `VACANT`, which is later than any.
//! - The free handles are a list through `places`, from `free` on.

use crate::task::Waiter;

/// A deadline, in nanoseconds since the driver's epoch.
pub(super) type When = u64;

/// Later than any deadline.
pub(super) const NEVER: When = When::MAX;

/// Names a timer in its heap.
pub(super) type Handle = u32;

const ARITY: usize = 4;
/// The first place, so that the children of each are in one line.
const ROOT: usize = ARITY - 1;
/// What is below such a place is in no first-level cache.
const DEEP: usize = 256;
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

const VACANT: Entry = Entry { when: NEVER, handle: NONE };

/// The children of one place.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Siblings([Entry; ARITY]);

#[derive(Debug)]
pub(super) struct Heap {
    heap: Vec<Siblings>,
    end: usize,
    places: Vec<u32>,
    waiters: Vec<Waiter>,
    free: Handle,
    in_use: usize,
}

impl Heap {
    pub(super) const fn new() -> Self {
        Self {
            heap: Vec::new(),
            end: ROOT,
            places: Vec::new(),
            waiters: Vec::new(),
            free: NONE,
            in_use: 0,
        }
    }

    /// The earliest deadline, or `NEVER`.
    pub(super) fn earliest(&self) -> When {
        self.first().when
    }

    fn first(&self) -> Entry {
        self.heap.first().map_or(VACANT, |siblings| siblings.0[ROOT])
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
        if self.heap.len() == self.end / ARITY {
            self.heap.push(Siblings([VACANT; ARITY]));
        }
        self.end += 1;
        self.sift_up(self.end - 1, entry);
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
        let Entry { when, handle } = self.first();
        if when > now {
            return None;
        }
        gthread_arch::prefetch((&raw const self.waiters[handle as usize]).cast());
        self.take(ROOT);
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
        self.end -= 1;
        let last = std::mem::replace(self.entry(self.end), VACANT);
        if place == self.end {
            return;
        }
        if place > ROOT && last.when < self.entry(parent_of(place)).when {
            self.sift_up(place, last);
        } else {
            self.sift_down(place, last);
        }
    }

    /// Puts an entry where it belongs, at `place` or above it; what is at `place` is overwritten.
    fn sift_up(&mut self, mut place: usize, entry: Entry) {
        while place > ROOT {
            let parent = parent_of(place);
            let above = *self.entry(parent);
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
        while let Some(&Siblings(children)) = self.heap.get(line_below(place)) {
            let first = ARITY * line_below(place);
            if first > DEEP {
                (first..first + ARITY).for_each(|child| self.prefetch(line_below(child)));
            }
            // Two and two, each without a branch that the processor would have to guess.
            let earlier =
                |a: usize, b: usize| if children[b].when < children[a].when { b } else { a };
            let least = earlier(earlier(0, 1), earlier(2, 3));
            let below = children[least];
            if below.when >= entry.when {
                break;
            }
            self.put(place, below);
            place = first + least;
        }
        self.put(place, entry);
    }

    fn prefetch(&self, line: usize) {
        gthread_arch::prefetch(self.heap.as_ptr().wrapping_add(line).cast());
    }

    fn put(&mut self, place: usize, entry: Entry) {
        *self.entry(place) = entry;
        self.places[entry.handle as usize] = place as u32;
    }

    fn entry(&mut self, place: usize) -> &mut Entry {
        &mut self.heap[place / ARITY].0[place % ARITY]
    }
}

fn parent_of(place: usize) -> usize {
    place / ARITY + ROOT - 1
}

/// The line of a place's children.
fn line_below(place: usize) -> usize {
    place - (ROOT - 1)
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
                let entry = *heap.entry(heap.places[handle as usize] as usize);
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
