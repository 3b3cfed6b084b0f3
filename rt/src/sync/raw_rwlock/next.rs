//! Who of those that wait for an [`RwLock`](crate::sync::RwLock) gets it next.
//!
//! When the lock is free, the first in the queue gets it:
//! - Readers get it all together, as many as stand at the front: nobody can be quicker than they (`FAIR`).
//! - A writer is woken to try its luck (`CALLED`), while whoever comes may be quicker, as with a mutex, and for
//!   the same reasons (`raw_mutex.rs`). When it has lost [`PATIENCE`] times, nobody may (`FAIR`), and it is
//!   handed the lock.
//!
//! So a reader waits for the writers before it in the queue, and a writer for readers and writers before it, each with
//! its bounded number of tries. Neither readers nor writers starve the other.
//!
//! The invariants are those of the lock, at the head of `raw_rwlock.rs`.

use std::ptr::NonNull;

use crate::loom::Ordering;
use crate::runtime::handle;
use crate::sync::raw_rwlock::{
    CALLED, FAIR, HANDED, READS, RawRwLock, WAITING, WRITE, Writer, is_held,
};
use crate::sync::word::{Place, Taken, Wakes};
use crate::task::lock_owner;
use crate::wait::queue::WOKEN;

/// So often a writer finds the lock taken again before it is handed over to it.
const PATIENCE: usize = 2;

impl RawRwLock {
    /// One that had the lock has left it in this state, in which somebody waits and nobody is on its way.
    #[cold]
    pub(super) fn unlock_contended(&self, state: u64) {
        if !is_held(state) {
            self.wake_next();
        }
    }

    /// Gives the lock to who is next, if it can be had.
    pub(super) fn wake_next(&self) {
        loop {
            let mut queue = self.queue.take();
            let mut wakes = Wakes::new();
            let more = match queue.first_note() {
                None => false,
                Some(READS) => self.admit_readers(&mut queue, &mut wakes),
                Some(lost) => self.call_writer(&mut queue, lost, &mut wakes),
            };
            self.note(&queue);
            drop(queue);
            wakes.wake(handle::wake_beside);
            if !more {
                return;
            }
        }
    }

    /// Leaves the queue without the lock, because the waiter's runtime has ended, and gives the lock to those who stood
    /// behind it.
    ///
    /// # Safety
    ///
    /// The place was pushed to this queue, and is alive.
    #[cold]
    pub(super) unsafe fn withdraw(&self, place: NonNull<Place>) {
        let mut queue = self.queue.take();
        // SAFETY: the caller's.
        unsafe { queue.remove(place) };
        self.note(&queue);
        drop(queue);
        self.wake_next();
    }

    /// Hands the lock to the readers at the front: true if it is to be tried again, because there may be more than can be
    /// woken at once.
    fn admit_readers(&self, queue: &mut Taken<'_>, wakes: &mut Wakes) -> bool {
        while queue.first_note() == Some(READS) {
            if wakes.is_full() {
                return true;
            }
            // Whoever has it for writing will come here.
            let join = |state| (state & WRITE == 0).then_some(state + 1);
            if self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, join).is_err() {
                return false;
            }
            match queue.claim_first(HANDED) {
                Some(wake) => wakes.push(wake),
                None => {
                    // Its runtime has ended. Whoever has found the lock held because of it has left it to us.
                    self.state.fetch_sub(1, Ordering::Release);
                    return true;
                }
            }
        }
        false
    }

    /// Wakes the writer at the front, with the lock if it was woken in vain often enough. True if its runtime has ended,
    /// and another is to be tried.
    fn call_writer(&self, queue: &mut Taken<'_>, lost: usize, wakes: &mut Wakes) -> bool {
        let (bits, op) = if lost >= PATIENCE {
            let first = queue.first().expect("it has made a note");
            (Writer(lock_owner::of(first.as_ptr())).bits(), HANDED)
        } else {
            (CALLED, WOKEN)
        };
        // Whoever has it, or is on its way to it, will come here.
        let change = |state| {
            debug_assert!(op == HANDED || state & FAIR == 0, "the first has patience");
            (!is_held(state) && state & CALLED == 0).then_some(state | bits)
        };
        if self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, change).is_err() {
            return false;
        }
        match queue.claim_first(op) {
            Some(wake) => {
                wakes.push(wake);
                false
            }
            None => {
                self.state.fetch_sub(bits, Ordering::Release);
                true
            }
        }
    }

    /// Brings the flags in line with the queue.
    pub(super) fn note(&self, queue: &Taken<'_>) {
        let first = queue.first_note();
        let noted = |state: u64| {
            let rest = state & !(WAITING | FAIR);
            let noted = first.map_or(rest, |first| waited_for(rest, first));
            (noted != state).then_some(noted)
        };
        let _ = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, noted);
    }
}

/// The state when somebody waits, and the first in the queue has made this note.
pub(super) fn waited_for(state: u64, first: usize) -> u64 {
    let fair = first >= PATIENCE && state & CALLED == 0;
    state | WAITING | if fair { FAIR } else { 0 }
}
