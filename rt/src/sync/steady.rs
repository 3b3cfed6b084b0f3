//! The steady state of a mutex, in which it may be unlocked without a fence.
//!
//! A fence costs as much as all the rest of an unlock. A lock that was unlocked [`STEADY`] times in
//! a row with no waiter is steady: its unlock passes the light side of an asymmetric barrier, which
//! costs nothing. A thread that is about to wait passes the heavy side, which takes a few
//! microseconds. The count is high enough for those microseconds to matter little.
//!
//! Invariants:
//! - The count is written by the holder of the lock alone.
//! - It becomes `STEADY` by a store, followed by a compare-and-swap of the queue's word to its own
//!   value. That succeeds only if the word is free and every waiter is covered (`raw_mutex.rs`). A
//!   thread that takes the word later sees `STEADY`, and passes the heavy barrier before it looks
//!   at the holder. (If the compare-and-swap fails, `STEADY` was visible for a moment, which costs
//!   a waiter a barrier.)
//! - Leaving the steady state costs a fence and nothing else, so the holder may do it at any time.

use crate::loom::{AtomicU16, Ordering, const_unless_loom, fence};
use crate::sync::word::{Glance, QueueWord};
use crate::util::barrier;

/// The number of unlocks without a waiter after which a lock is steady. Small in debug builds, so
/// that every test covers both states.
const STEADY: u16 = if cfg!(loom) {
    1
} else if cfg!(debug_assertions) {
    8
} else {
    1 << 13
};

/// Counts the unlocks of a mutex since it last had a waiter, up to [`STEADY`].
#[derive(Debug)]
pub(super) struct Steadiness {
    turns: AtomicU16,
    #[cfg(all(test, loom))]
    seen: models::Seen,
}

/// The barrier that an unlock passes after it has released the lock.
#[must_use]
#[derive(Clone, Copy)]
pub(super) enum Fence {
    Light,
    Full,
}

impl Fence {
    #[inline(always)]
    pub(super) fn pass(self) {
        match self {
            Self::Light => barrier::light(),
            Self::Full => fence(Ordering::SeqCst),
        }
    }
}

impl Steadiness {
    const_unless_loom! {
        pub(super) const fn new() -> Self {
            Self {
                turns: AtomicU16::new(0),
                #[cfg(all(test, loom))]
                seen: models::Seen::default(),
            }
        }
    }

    /// Counts an unlock without a waiter to wake, before the release. `queue` is the word as the
    /// holder found it. Returns the barrier to pass after the release.
    #[inline(always)]
    pub(super) fn count(&self, word: &QueueWord, queue: Glance) -> Fence {
        let turns = self.turns.load(Ordering::Relaxed);
        if turns + 1 < STEADY {
            self.turns.store(turns + 1, Ordering::Release);
        } else if turns < STEADY {
            self.become_steady(word, queue);
        }
        let is_steady = turns == STEADY;
        #[cfg(all(test, loom))]
        self.seen.unlock(is_steady);
        if is_steady { Fence::Light } else { Fence::Full }
    }

    #[cold]
    fn become_steady(&self, word: &QueueWord, queue: Glance) {
        self.turns.store(STEADY, Ordering::Release);
        // In this order: a thread that sees `STEADY` then sees that there is a heavy barrier.
        if !barrier::pays() || !word.still_is(queue) {
            self.turns.store(0, Ordering::Release);
        }
    }

    /// Ends the steady state, or restarts the count. Only the holder of the lock calls this.
    #[inline(always)]
    pub(super) fn reset(&self) {
        #[cfg(all(test, loom))]
        self.seen.unsettled();
        self.turns.store(0, Ordering::Release);
    }

    /// Orders the effects of an unlock before a look at the holder. For a thread that has taken the
    /// queue's word and is the first in the queue, or looks on behalf of the first (`is_first`).
    pub(super) fn order_look(&self, is_first: bool) {
        let is_steady = is_first && self.turns.load(Ordering::Acquire) == STEADY;
        if is_steady {
            barrier::heavy();
        }
        #[cfg(all(test, loom))]
        self.seen.wait(is_first, is_steady);
    }

    /// Records for models that the first waiter was called, or has the lock, or that there is none.
    #[inline(always)]
    pub(super) fn note_covered(&self) {
        #[cfg(all(test, loom))]
        self.seen.covered();
    }
}

#[cfg(all(test, loom))]
mod models {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;

    /// In a model both sides of the barrier are fences, so a missing one does no harm. This records
    /// it instead: an unlock without a fence and a wait without the heavy barrier must each know
    /// that the other is over.
    #[derive(Debug, Default)]
    pub(super) struct Seen {
        no_fence: AtomicBool,
        no_heavy_barrier: AtomicBool,
    }

    impl Seen {
        pub(super) fn unlock(&self, is_steady: bool) {
            if is_steady {
                assert!(!self.no_heavy_barrier.load(Relaxed), "a waiter might be forgotten");
                self.no_fence.store(true, Relaxed);
            }
        }

        pub(super) fn wait(&self, is_first: bool, is_steady: bool) {
            if is_steady {
                self.no_fence.store(false, Relaxed);
            } else if is_first {
                assert!(!self.no_fence.load(Relaxed), "it might be free, unseen");
                self.no_heavy_barrier.store(true, Relaxed);
            }
        }

        /// The holder knows of all earlier unlocks.
        pub(super) fn unsettled(&self) {
            self.no_fence.store(false, Relaxed);
        }

        /// The first waiter, if there is one, was called or has the lock.
        pub(super) fn covered(&self) {
            self.no_heavy_barrier.store(false, Relaxed);
        }
    }
}
