//! A four-ary heap of deadlines, the earliest first, from which any entry can be removed.
//!
//! Siblings share a cache line. In a large heap the lines that may come next are prefetched while
//! the current one is looked at. The heap notes the place of each timer in the [`Places`] that it
//! is given.
//!
//! Invariant: places from `ROOT` to before `end` have entries; all others are `VACANT`, which is
//! later than any.

const ARITY: usize = 4;

/// The first place, so that the children of each place are in one line.
const ROOT: usize = ARITY - 1;

/// The children of a place after this one are in no first-level cache.
const DEEP: usize = 256;

const VACANT: Entry = Entry { when: NEVER, handle: NONE };

/// The children of one place.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Siblings([Entry; ARITY]);

#[derive(Debug)]
pub(crate) struct Heap {
    lines: Vec<Siblings>,
    end: usize,
}

impl Heap {
    pub(crate) const fn new() -> Self {
        Self { lines: Vec::new(), end: ROOT }
    }

    pub(crate) fn first(&self) -> Entry {
        self.lines.first().map_or(VACANT, |siblings| siblings.0[ROOT])
    }

    pub(crate) fn insert(&mut self, entry: Entry, places: &mut Places) {
        if self.lines.len() == self.end / ARITY {
            self.lines.push(Siblings([VACANT; ARITY]));
        }
        self.end += 1;
        self.sift_up(self.end - 1, entry, places);
    }

    pub(crate) fn take_first(&mut self, places: &mut Places) {
        self.take(ROOT as u32, places);
    }

    /// Takes out the entry at a place. The caller notes the change of the entry's own place.
    pub(crate) fn take(&mut self, place: u32, places: &mut Places) {
        let place = place as usize;
        self.end -= 1;
        let last = std::mem::replace(self.entry(self.end), VACANT);
        if place == self.end {
            return;
        }
        if place > ROOT && last.when < self.entry(parent_of(place)).when {
            self.sift_up(place, last, places);
        } else {
            self.sift_down(place, last, places);
        }
    }

    /// Puts an entry where it belongs, at `place` or above it; the entry at `place` is overwritten.
    fn sift_up(&mut self, mut place: usize, entry: Entry, places: &mut Places) {
        while place > ROOT {
            let parent = parent_of(place);
            let above = *self.entry(parent);
            if above.when <= entry.when {
                break;
            }
            self.put(place, above, places);
            place = parent;
        }
        self.put(place, entry, places);
    }

    /// Puts an entry where it belongs, at `place` or below it; the entry at `place` is overwritten.
    fn sift_down(&mut self, mut place: usize, entry: Entry, places: &mut Places) {
        while let Some(&Siblings(children)) = self.lines.get(line_below(place)) {
            let first = ARITY * line_below(place);
            if first > DEEP {
                (first..first + ARITY).for_each(|child| self.prefetch(line_below(child)));
            }
            // Two comparisons of two, each without a branch that the processor would have to guess.
            let earlier =
                |a: usize, b: usize| if children[b].when < children[a].when { b } else { a };
            let least = earlier(earlier(0, 1), earlier(2, 3));
            let below = children[least];
            if below.when >= entry.when {
                break;
            }
            self.put(place, below, places);
            place = first + least;
        }
        self.put(place, entry, places);
    }

    fn prefetch(&self, line: usize) {
        gthread_arch::prefetch(self.lines.as_ptr().wrapping_add(line).cast());
    }

    fn put(&mut self, place: usize, entry: Entry, places: &mut Places) {
        *self.entry(place) = entry;
        places[entry.handle as usize] = place as u32;
    }

    fn entry(&mut self, place: usize) -> &mut Entry {
        &mut self.lines[place / ARITY].0[place % ARITY]
    }

    #[cfg(test)]
    pub(crate) fn at(&mut self, place: u32) -> Entry {
        *self.entry(place as usize)
    }
}

fn parent_of(place: usize) -> usize {
    place / ARITY + ROOT - 1
}

/// Returns the line of a place's children.
fn line_below(place: usize) -> usize {
    place - (ROOT - 1)
}

/// A deadline, in nanoseconds since the driver's epoch.
pub(crate) type When = u64;

/// Later than any deadline.
pub(crate) const NEVER: When = When::MAX;

/// Names a timer in its queue.
pub(crate) type Handle = u32;

/// No handle: the end of the free list.
pub(crate) const NONE: Handle = Handle::MAX;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) when: When,
    pub(crate) handle: Handle,
}

/// A timer's place in the heap, by handle.
pub(crate) type Places = Vec<u32>;
