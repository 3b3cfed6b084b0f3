//! The lock of a [`Mutex`](super::Mutex): who has it, who waits for it, who gets it next.
//!
//! ```text
//!   holder   FREE, or who has the lock (task/holder.rs)
//!   queue    who waits (word.rs), and the flags CALLED and FAIR
//!   turns    how often it was unlocked with nobody to be woken, since there was somebody, or
//!            since they are counted anew for `sched::hot`; STEADY and no more
//! ```
//!
//! **Fast paths.** To lock is one compare-and-swap of `holder`. To unlock is a store to `holder`, a fence,
//! and a look at `queue`: Dekker's pattern with those who wait, who enter the queue, fence, and look at
//! `holder`. One of the two sees the other. The lock is not touched after that by a thread that does not
//! have it, unless it is borrowed still.
//!
//! A fence costs as much as all the rest. So where the lock is `STEADY` the fence is the light side of an asymmetric
//! barrier, which costs nothing, and who is about to wait passes the heavy side, some microseconds. It takes so many
//! turns to become steady that those microseconds are little.
//!
//! **Who gets it next.** Whoever comes: a lock that is free is free for all (*barging*), since the thread
//! that runs can use it at once, and the one that was woken cannot yet. Handing it over at each unlock
//! would put a switch into each turn. Who unlocks wakes the first waiter, takes it out of the queue and sets
//! `CALLED`; until that thread has tried its luck nobody else is woken. If it finds the lock taken it has
//! *lost*, and goes back to the front of the queue.
//!
//! **Fairness.** One that has lost [`PATIENCE`] times sets `FAIR`, and then the lock is handed over to it at
//! the next unlock, without being free in between. So of those who wait the first gets the lock after as many
//! turns of being made runnable, and the others come after it, in order: a loop that locks and unlocks keeps
//! nobody out. (The time between is the scheduler's: a thread that is woken runs, at the latest, when the
//! monitor finds its worker stuck.)
//!
//! Invariants:
//! - `holder` goes from `FREE` to a thread by that thread's compare-and-swap, or by one of the thread that
//!   hands over; from a thread to `FREE` or to another by a store of the one that has the lock.
//! - Whoever is in the queue has looked at `holder` after it had taken the word, and found it taken; whoever
//!   had the lock then will look at the queue after it has released it.
//! - `CALLED` is set while one thread that was popped is on its way, and cleared by it alone.
//! - `FAIR` is set while the first in the queue has lost too often. While it is, nobody is woken in vain, so
//!   there is no `CALLED`.
//! - A waiter is *covered* while one that was called is on its way: that one will look at the lock and at the
//!   queue. Who unlocks must see all others, of whom the first has looked at `holder` last: the one that found the queue
//!   idle, or one that was called and has come.
//! - That first one looks at `turns` before `holder`, and if it sees `STEADY` passes the heavy barrier in between. So it
//!   sees `FREE`, or who unlocks without a fence sees its word.
//! - If it does not see `STEADY`, nobody unlocks without a fence until it is covered or has the lock. For `turns` is
//!   written by the one that has the lock alone, and *becomes* `STEADY` by a store and then a compare-and-swap of the word for
//!   itself, which succeeds only if the word is free and nobody waits who is not covered: whoever takes the word later
//!   sees `STEADY`. (If it fails, `STEADY` was to be seen for a moment, which costs somebody a barrier.)
//! - To be no longer steady costs a fence and nothing else, so whoever has the lock may say so.

use std::panic::Location;
use std::ptr::NonNull;

use super::poison::Poison;
use super::word::{Flag, Glance, Place, QueueWord, Taken};
use crate::park::{Spin, Wait};
use crate::prim::{AtomicU16, AtomicU32, Ordering, barrier, const_unless_loom, fence};
use crate::sched;
use crate::task::holder::{self, AwaitedLock, FREE};
use crate::task::state::{Op, TIMED_OUT};
use crate::task::{Reason, Wake};
use crate::wait::{WOKEN, sequentially_consistent};

const CALLED: Flag = Flag::A;
const FAIR: Flag = Flag::B;

/// So often a waiter finds the lock taken again before it is handed over to it.
const PATIENCE: usize = 2;

/// After so many turns a lock is steady. Few, where speed is not asked for, so that every test has both.
const STEADY: u16 = if cfg!(loom) {
    1
} else if cfg!(debug_assertions) {
    8
} else {
    1 << 13
};

/// The outcome of a wait whose waker has given the lock away: the waiter has it.
const HANDED: Op = 1;

#[derive(Debug)]
pub(super) struct RawMutex {
    holder: AtomicU32,
    /// Not the lock's business, but here it takes no room.
    pub(super) poison: Poison,
    /// Neither does this.
    turns: AtomicU16,
    queue: QueueWord,
    #[cfg(all(test, loom))]
    seen: models::Seen,
}

impl RawMutex {
    const_unless_loom! {
        pub(super) const fn new() -> Self {
            Self {
                holder: AtomicU32::new(FREE),
                poison: Poison::new(),
                turns: AtomicU16::new(0),
                queue: QueueWord::new(),
                #[cfg(all(test, loom))]
                seen: models::Seen::default(),
            }
        }
    }

    #[inline]
    pub(super) fn lock(&self, site: &'static Location<'static>) {
        if !self.try_lock() {
            self.lock_contended(site, None);
        }
    }

    /// [`lock`](RawMutex::lock), by one that was woken in a queue: if its runtime has ended before it has the lock,
    /// another is woken there in its place.
    pub(super) fn relock(&self, woken_in: &QueueWord, site: &'static Location<'static>) {
        if !self.try_lock() {
            self.lock_contended(site, Some(woken_in));
        }
    }

    #[inline]
    pub(super) fn try_lock(&self) -> bool {
        self.holder
            .compare_exchange(FREE, holder::here(), Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// By who has the lock.
    #[inline]
    pub(super) fn unlock(&self) {
        // Looked at before the store as well, because of `FAIR`: afterwards somebody may be quicker.
        let seen = self.queue.glance(Ordering::Relaxed);
        let is_steady = if wakes_nobody(seen) {
            self.count_turn(seen)
        } else if seen.is_taken() && !seen.has(FAIR) {
            // By one that is about to look whether it must wait, and may just have the lock.
            self.unsettle();
            false
        } else {
            return self.unlock_contended();
        };
        self.holder.store(FREE, Ordering::Release);
        if is_steady {
            barrier::light();
        } else {
            fence(Ordering::SeqCst);
        }
        if !wakes_nobody(self.queue.glance(Ordering::Relaxed)) {
            self.call_first();
        }
    }

    /// One turn more, by who has the lock and found the queue like this, with nobody to wake: true if it was steady before.
    #[inline(always)]
    fn count_turn(&self, queue: Glance) -> bool {
        let turns = self.turns.load(Ordering::Relaxed);
        if turns + 1 < STEADY {
            self.turns.store(turns + 1, Ordering::Release);
        } else if turns < STEADY {
            self.become_steady(queue);
        }
        let is_steady = turns == STEADY;
        #[cfg(all(test, loom))]
        self.seen.unlock(is_steady);
        is_steady
    }

    #[cold]
    fn become_steady(&self, queue: Glance) {
        self.turns.store(STEADY, Ordering::Release);
        // In this order: who sees `STEADY` then sees that there is a heavy barrier.
        if !barrier::pays() || !self.queue.still_is(queue) {
            self.turns.store(0, Ordering::Release);
        }
    }

    /// By who has the lock, when somebody is to be woken, or was about to wait, or turns are to be counted.
    #[inline(always)]
    fn unsettle(&self) {
        #[cfg(all(test, loom))]
        self.seen.unsettled();
        self.turns.store(0, Ordering::Release);
    }

    #[cold]
    fn lock_contended(&self, site: &'static Location<'static>, woken_in: Option<&QueueWord>) {
        let this = std::ptr::from_ref(self).cast();
        let mut spin = Spin::of_mutex(this);
        let turns = self.turns.load(Ordering::Relaxed);
        while spin.again() {
            if self.holder.load(Ordering::Relaxed) == FREE && self.try_lock() {
                // Those of a steady lock are not counted, and one that was steady no longer may have had any number.
                let passed = self.turns.load(Ordering::Relaxed).checked_sub(turns);
                let passed = passed.filter(|_| turns < STEADY).map(u32::from);
                if sched::note_spin(this, passed) {
                    self.unsettle();
                }
                return;
            }
        }
        let mut lost = 0;
        // Not one that the lock is handed over to.
        while !self.wait(lost, spin.aside && lost < PATIENCE, woken_in, site) {
            lost += 1;
        }
    }

    /// Enters the queue, unless the lock is free, and sleeps: true if the caller has the lock then.
    fn wait(
        &self,
        lost: usize,
        aside: bool,
        woken_in: Option<&QueueWord>,
        site: &'static Location<'static>,
    ) -> bool {
        let mut queue = self.queue.take();
        let is_first = lost > 0 || queue.is_idle();
        if lost > 0 {
            queue.clear(CALLED);
            queue.publish();
        }
        // With the barrier after the store of who unlocks: we see `FREE`, or it sees the queue taken.
        sequentially_consistent();
        let is_steady = is_first && self.turns.load(Ordering::Acquire) == STEADY;
        if is_steady {
            barrier::heavy();
        }
        #[cfg(all(test, loom))]
        self.seen.wait(lost > 0 || queue.is_idle(), is_steady);
        if self.holder.load(Ordering::SeqCst) == FREE && self.try_lock() {
            self.unsettle();
            #[cfg(all(test, loom))]
            self.seen.covered();
            return true;
        }
        let (mut queue, wait) = Wait::in_queue(queue, None, site);
        let mut place = Place::new(wait.waiter(), lost);
        let place = NonNull::from(&mut place);
        // SAFETY: the place stays in this frame until it is claimed: there is no deadline.
        unsafe {
            if lost == 0 {
                queue.push(place);
            } else {
                queue.push_front(place);
            }
        }
        if lost >= PATIENCE {
            queue.set(FAIR);
        }
        let awaited = self.awaited();
        wait.note_lock(&awaited, aside);
        let mut op = wait.park_unlocking(queue, Reason::Lock, None, site);
        if op == TIMED_OUT {
            // SAFETY: the place was pushed to this queue, and is alive.
            unsafe { self.withdraw(place) };
            woken_in.into_iter().for_each(|queue| queue.take().wake_many(1, WOKEN));
            op = wait.withdrawn();
        }
        op == HANDED
    }

    /// Leaves the queue without the lock, because the waiter's runtime has ended.
    ///
    /// # Safety
    ///
    /// The place was pushed to this queue, and is alive.
    #[cold]
    unsafe fn withdraw(&self, place: NonNull<Place>) {
        let mut queue = self.queue.take();
        // SAFETY: the caller's.
        unsafe { queue.remove(place) };
        if queue.first_note().is_none_or(|lost| lost < PATIENCE) {
            // If it was set, it was for the one that has left.
            queue.clear(FAIR);
        }
        // Who is first now may never have looked at the holder. It is looked at in its name, as by the first.
        queue.publish();
        sequentially_consistent();
        barrier::heavy();
        let is_free = self.holder.load(Ordering::SeqCst) == FREE;
        let wake = if is_free && !queue.has(FAIR) { self.call(&mut queue) } else { None };
        drop(queue);
        wake.into_iter().for_each(sched::wake_beside);
    }

    /// For dumps.
    fn awaited(&self) -> AwaitedLock {
        unsafe fn holder(lock: NonNull<()>) -> u32 {
            // SAFETY: it is a `RawMutex`, which whoever waits for it borrows.
            unsafe { lock.cast::<RawMutex>().as_ref() }.holder.load(Ordering::Relaxed)
        }
        // SAFETY: `holder` takes what it is given here.
        unsafe { AwaitedLock::new(NonNull::from(self).cast(), holder) }
    }

    /// Unlocks, by who has the lock, when somebody may be waiting and nobody is on its way.
    #[cold]
    fn unlock_contended(&self) {
        self.unsettle();
        let mut queue = self.queue.take();
        let handed = fair_first(&queue).and_then(|first| {
            self.holder.store(holder::of(first.as_ptr()), Ordering::Relaxed);
            self.hand_over(&mut queue)
        });
        let wake = handed.or_else(|| {
            // With the word taken: who enters after this will find the lock free.
            self.holder.store(FREE, Ordering::Release);
            self.call(&mut queue)
        });
        drop(queue);
        wake.into_iter().for_each(sched::wake_beside);
    }

    /// Wakes the first waiter, if the lock is free and nobody else sees to it. After a fence, or the light barrier.
    #[cold]
    fn call_first(&self) {
        let mut queue = self.queue.take();
        let wake = if self.holder.load(Ordering::Relaxed) != FREE {
            // Whoever has it now will look.
            None
        } else if let Some(first) = fair_first(&queue) {
            let to = holder::of(first.as_ptr());
            // Acquire: the last holder's writes pass on through the claim.
            let given = self
                .holder
                .compare_exchange(FREE, to, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
            let handed = given.then(|| self.hand_over(&mut queue));
            handed.and_then(|wake| {
                wake.or_else(|| {
                    self.holder.store(FREE, Ordering::Release);
                    self.call(&mut queue)
                })
            })
        } else {
            self.call(&mut queue)
        };
        drop(queue);
        wake.into_iter().for_each(sched::wake_beside);
    }

    /// Claims the first waiter, to try its luck.
    fn call(&self, queue: &mut Taken<'_>) -> Option<Wake> {
        if queue.has(CALLED) {
            return None;
        }
        let wake = queue.claim_one(WOKEN)?;
        queue.set(CALLED);
        #[cfg(all(test, loom))]
        self.seen.covered();
        Some(wake)
    }

    /// Claims the first waiter, which has the lock now: `None` if its runtime has ended. Then whoever unlocks has the
    /// lock still.
    fn hand_over(&self, queue: &mut Taken<'_>) -> Option<Wake> {
        queue.clear(FAIR);
        #[cfg(all(test, loom))]
        self.seen.covered();
        queue.claim_first(HANDED)
    }
}

/// The first waiter, if it is to be handed the lock.
fn fair_first(queue: &Taken<'_>) -> Option<NonNull<Place>> {
    let first = || queue.first().expect("who made the lock fair waits first");
    queue.has(FAIR).then(first)
}

/// Whether nobody waits, or somebody is on its way already, who may take long: it is in the fast path that this is
/// found out.
#[inline(always)]
fn wakes_nobody(queue: Glance) -> bool {
    queue.is_idle() || (queue.has(CALLED) && !queue.has(FAIR))
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// Both sides of the barrier are fences in a model, so one that is missing does no harm. But that is seen: of an
    /// unlock without a fence and a wait without the heavy barrier each must know that the other is over.
    #[derive(Debug, Default)]
    pub(super) struct Seen {
        no_fence: AtomicBool,
        no_heavy_barrier: AtomicBool,
    }

    impl Seen {
        pub(super) fn unlock(&self, is_steady: bool) {
            if is_steady {
                assert!(!self.no_heavy_barrier.load(Relaxed), "who waits might be forgotten");
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

        /// Somebody has the lock who knows of those before.
        pub(super) fn unsettled(&self) {
            self.no_fence.store(false, Relaxed);
        }

        /// Nobody waits who is first, but one that was called, or who has the lock.
        pub(super) fn covered(&self) {
            self.no_heavy_barrier.store(false, Relaxed);
        }
    }

    struct Counter {
        lock: RawMutex,
        count: Checked<usize>,
    }

    impl Counter {
        fn new() -> Arc<Self> {
            Arc::new(Self { lock: RawMutex::new(), count: Checked::new(0) })
        }

        /// One turn, `lost` times unlucky already.
        fn add(&self, turns: usize) {
            for _ in 0..turns {
                self.lock.lock(Location::caller());
                // SAFETY: the lock is held; loom checks it.
                self.count.with_mut(|count| unsafe { *count += 1 });
                self.lock.unlock();
            }
        }

        fn assert_at_rest(&self, count: usize) {
            assert!(self.lock.try_lock(), "nobody has it");
            // SAFETY: as above.
            assert_eq!(self.count.with(|count| unsafe { *count }), count);
            self.lock.unlock();
            assert!(self.lock.queue.is_idle(), "nobody waits");
        }
    }

    /// So many threads with so many turns each; a lost wake would be a deadlock.
    fn contend(turns: &'static [usize]) {
        let mut model = loom::model::Builder::new();
        if turns.len() > 2 {
            model.preemption_bound = Some(2);
        }
        model.check(move || {
            let counter = Counter::new();
            let others: Vec<_> = turns[1..]
                .iter()
                .map(|&turns| {
                    let counter = Arc::clone(&counter);
                    thread::spawn(move || counter.add(turns))
                })
                .collect();
            counter.add(turns[0]);
            others.into_iter().for_each(|other| other.join().unwrap());
            counter.assert_at_rest(turns.iter().sum());
        });
    }

    #[test]
    fn two_threads_take_turns() {
        contend(&[2, 2]);
    }

    #[test]
    fn three_threads_take_turns() {
        contend(&[1, 1, 1]);
    }

    /// A waiter that loses is handed the lock.
    #[test]
    fn a_barging_thread_and_one_that_waits() {
        contend(&[4, 1]);
    }
}
