//! Of a crowd of timers those that are due in the next seconds, but not in the next milliseconds: by the day, unsorted.
//!
//! A heap of a million is in no cache of the processor's, and what comes out of it goes through all of its levels. Here a
//! timer is put down and forgotten, until its day comes; then it goes to the heap, which is small. (R. Brown, "Calendar
//! Queues", CACM 31 (10), 1988, with a heap for each day as it comes, and no more timers in a day than can be moved at once.)
//!
//! Invariants:
//! - `today` is a day that has begun. All that is here is due later, and less than a `YEAR` of days later. So a place in
//!   `days` is of one day at a time.
//! - The bit of a place in `occupied` is set if, and only if, something is there. `least` is not later than anything there.

use super::timers::{Entry, NEVER, Place, Places, When};

/// log2 of a day's nanoseconds: 4.2 ms, in which half a million timers a second are as many as a first-level cache holds.
pub(super) const DAY: u32 = 22;
/// Days: 8.6 s, longer than most that is waited for by many.
pub(super) const YEAR: usize = 2048;
const WORDS: usize = YEAR / 64;
/// Timers in one day, for whoever has to move them to the heap: for some 0.1 ms.
pub(super) const MOST: usize = if cfg!(test) { 16 } else { 4096 };

/// What is kept of an empty day's memory: room for so many.
const ROOM: usize = 16;

#[derive(Clone, Debug)]
struct Day {
    entries: Vec<Entry>,
    least: When,
}

const EMPTY: Day = Day { entries: Vec::new(), least: NEVER };

#[derive(Debug)]
pub(super) struct Days {
    /// By the number of a day, modulo `YEAR`. None before the first is needed.
    days: Vec<Day>,
    occupied: [u64; WORDS],
    today: u64,
    len: usize,
}

impl Days {
    pub(super) const fn new() -> Self {
        Self { days: Vec::new(), occupied: [0; WORDS], today: 0, len: 0 }
    }

    /// Puts a timer down, if it is for here. What day it is, is asked if it may be that days have gone by. (It need not be
    /// exact.)
    pub(super) fn insert(
        &mut self,
        entry: Entry,
        places: &mut Places,
        now: impl FnOnce() -> When,
    ) -> bool {
        let day = day_of(entry.when);
        if day <= self.today {
            return false;
        }
        if self.len == 0 || day - self.today >= YEAR as u64 {
            self.pass_empty(day_of(now()));
            if day <= self.today || day - self.today >= YEAR as u64 {
                return false;
            }
        }
        if self.days.is_empty() {
            self.days.resize(YEAR, EMPTY);
        }
        let part = (day % YEAR as u64) as usize;
        let Day { entries, least } = &mut self.days[part];
        if entries.len() == MOST {
            return false;
        }
        places[entry.handle as usize] = Place { part: part as u16, index: entries.len() as u32 };
        entries.push(entry);
        *least = entry.when.min(*least);
        self.occupied[part / 64] |= 1 << (part % 64);
        self.len += 1;
        true
    }

    /// Takes out what is there. Its place is the caller's to note.
    pub(super) fn take(&mut self, place: Place, places: &mut Places) {
        let part = usize::from(place.part);
        let entries = &mut self.days[part].entries;
        entries.swap_remove(place.index as usize);
        self.len -= 1;
        match entries.get(place.index as usize) {
            Some(moved) => places[moved.handle as usize] = place,
            None if entries.is_empty() => self.note_empty(part),
            None => {}
        }
    }

    /// Nothing here is due before this, and something may be then.
    pub(super) fn earliest(&self) -> When {
        self.next().map_or(NEVER, |(_, part)| self.days[part].least)
    }

    /// Whether some day after `today` has begun by `now`.
    #[inline]
    pub(super) fn has_begun(&self, now: When) -> bool {
        self.len > 0 && day_of(now) > self.today
    }

    /// Takes out all of one day that has begun by `now`, if some of it may be due before `when`. False if there is none.
    pub(super) fn take_due(&mut self, now: When, when: When, put: impl FnMut(Entry)) -> bool {
        let begun = day_of(now);
        let Some((day, part)) = self.next().filter(|&(day, _)| day <= begun) else {
            self.today = self.today.max(begun);
            return false;
        };
        let Day { entries, least } = &mut self.days[part];
        if *least > when {
            return false;
        }
        self.today = day;
        self.len -= entries.len();
        entries.drain(..).for_each(put);
        self.note_empty(part);
        true
    }

    /// Days that have begun, and of which nothing is here, are over.
    fn pass_empty(&mut self, begun: u64) {
        let over = self.next().map_or(begun, |(day, _)| begun.min(day - 1));
        self.today = self.today.max(over);
    }

    fn note_empty(&mut self, part: usize) {
        self.occupied[part / 64] &= !(1 << (part % 64));
        let day = &mut self.days[part];
        day.least = NEVER;
        if day.entries.capacity() > ROOM {
            day.entries = Vec::new();
        }
    }

    /// The first day that has something, and its place.
    fn next(&self) -> Option<(u64, usize)> {
        if self.len == 0 {
            return None;
        }
        let tomorrow = self.today + 1;
        let start = (tomorrow % YEAR as u64) as usize;
        let before = (1 << (start % 64)) - 1;
        // The word that the year begins in is also the one that it ends in.
        (0..=WORDS).find_map(|step| {
            let word = (start / 64 + step) % WORDS;
            let wanted = match step {
                0 => !before,
                WORDS => before,
                _ => !0,
            };
            let bits = self.occupied[word] & wanted;
            (bits != 0).then(|| {
                let part = word * 64 + bits.trailing_zeros() as usize;
                (tomorrow + ((part + YEAR - start) % YEAR) as u64, part)
            })
        })
    }

    #[cfg(test)]
    pub(super) fn at(&self, place: Place) -> Entry {
        self.days[usize::from(place.part)].entries[place.index as usize]
    }
}

fn day_of(when: When) -> u64 {
    when >> DAY
}
