//! The lock of a [`Mutex`](crate::sync::Mutex): who has it, who waits for it, who gets it next.
//!
//! ```text
//!   holder   FREE, or who has the lock (task/holder.rs)
//!   queue    who waits (word.rs), and the flags CALLED and FAIR
//!   steadiness  whether it may be unlocked without a fence (steady.rs)
//! ```
//!
//! **Fast paths.** To lock is one compare-and-swap of `holder`. To unlock is a store to `holder`, a fence,
//! and a look at `queue`: Dekker's pattern with those who wait, who enter the queue, fence, and look at
//! `holder`. One of the two sees the other. The lock is not touched after that by a thread that does not
//! have it, unless it is borrowed still.
//!
//! Where the lock is *steady* (`steady.rs`) the fence is the light side of an asymmetric barrier, and a
//! thread that is about to wait passes the heavy side.
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
//! - That first waiter looks at `steadiness` before `holder`, and passes the heavy barrier in between if the lock
//!   is steady. So it sees `FREE`, or the thread that unlocks without a fence sees its word.
//! - If it finds the lock not steady, no thread unlocks without a fence until the waiter is covered or has the
//!   lock: the lock becomes steady only while every waiter is covered.
//! - One whose runtime has ended leaves the queue without the lock. Then another may be first that has not looked at `holder`
//!   last; so it is looked at in its name, with a heavy barrier before. To claim such a one fails: then the lock is not handed
//!   over, and whoever unlocks goes on with the next.

use std::panic::Location;
use std::ptr::NonNull;

use crate::loom::{AtomicU32, Ordering, const_unless_loom};
use crate::runtime::handle;
use crate::sync::poison::Poison;
use crate::sync::steady::{Fence, Steadiness};
use crate::sync::word::{Flag, Glance, Place, QueueWord, Taken};
use crate::task::header::Wake;
use crate::task::lock_owner::{self, AwaitedLock, FREE};
use crate::task::wait_info::Reason;
use crate::task::wait_state::{TIMED_OUT, WakeReason};
use crate::util::barrier;
use crate::wait::list::sequentially_consistent;
use crate::wait::park::{Spin, Wait};
use crate::wait::queue::WOKEN;

const CALLED: Flag = Flag::A;
const FAIR: Flag = Flag::B;

/// So often a waiter finds the lock taken again before it is handed over to it.
const PATIENCE: usize = 2;

/// The outcome of a wait whose waker has given the lock away: the waiter has it.
const HANDED: WakeReason = 1;

#[derive(Debug)]
pub(super) struct RawMutex {
    holder: AtomicU32,
    /// Not the lock's business, but here it takes no room.
    pub(super) poison: Poison,
    /// Neither does this.
    steadiness: Steadiness,
    queue: QueueWord,
}

impl RawMutex {
    const_unless_loom! {
        pub(super) const fn new() -> Self {
            Self {
                holder: AtomicU32::new(FREE),
                poison: Poison::new(),
                steadiness: Steadiness::new(),
                queue: QueueWord::new(),
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
            .compare_exchange(FREE, lock_owner::here(), Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// By who has the lock.
    #[inline]
    pub(super) fn unlock(&self) {
        // Looked at before the store as well, because of `FAIR`: afterwards somebody may be quicker.
        let seen = self.queue.glance(Ordering::Relaxed);
        let fence = if wakes_nobody(seen) {
            self.steadiness.count(&self.queue, seen)
        } else if seen.is_taken() && !seen.has(FAIR) {
            // By one that is about to look whether it must wait, and may just have the lock.
            self.steadiness.reset();
            Fence::Full
        } else {
            return self.unlock_contended();
        };
        self.holder.store(FREE, Ordering::Release);
        fence.pass();
        if !wakes_nobody(self.queue.glance(Ordering::Relaxed)) {
            self.call_first();
        }
    }

    #[cold]
    fn lock_contended(&self, site: &'static Location<'static>, woken_in: Option<&QueueWord>) {
        let mut spin = Spin::new();
        while spin.again() {
            if self.holder.load(Ordering::Relaxed) == FREE && self.try_lock() {
                return;
            }
        }
        let mut lost = 0;
        while !self.wait(lost, woken_in, site) {
            lost += 1;
        }
    }

    /// Enters the queue, unless the lock is free, and sleeps: true if the caller has the lock then.
    fn wait(
        &self,
        lost: usize,
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
        self.steadiness.order_look(is_first);
        if self.holder.load(Ordering::SeqCst) == FREE && self.try_lock() {
            self.steadiness.reset();
            self.steadiness.note_covered();
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
        wait.note_lock(&awaited);
        let mut op = wait.park_unlocking_or_withdraw(queue, Reason::Lock, None, site);
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
        wake.into_iter().for_each(handle::wake_beside);
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
        self.steadiness.reset();
        let mut queue = self.queue.take();
        let handed = fair_first(&queue).and_then(|first| {
            self.holder.store(lock_owner::of(first.as_ptr()), Ordering::Relaxed);
            self.hand_over(&mut queue)
        });
        let wake = handed.or_else(|| {
            // With the word taken: who enters after this will find the lock free.
            self.holder.store(FREE, Ordering::Release);
            self.call(&mut queue)
        });
        drop(queue);
        wake.into_iter().for_each(handle::wake_beside);
    }

    /// Wakes the first waiter, if the lock is free and nobody else sees to it. After a fence, or the light barrier.
    #[cold]
    fn call_first(&self) {
        let mut queue = self.queue.take();
        let wake = if self.holder.load(Ordering::Relaxed) != FREE {
            // Whoever has it now will look.
            None
        } else if let Some(first) = fair_first(&queue) {
            let to = lock_owner::of(first.as_ptr());
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
        wake.into_iter().for_each(handle::wake_beside);
    }

    /// Claims the first waiter, to try its luck.
    fn call(&self, queue: &mut Taken<'_>) -> Option<Wake> {
        if queue.has(CALLED) {
            return None;
        }
        let wake = queue.claim_one(WOKEN)?;
        queue.set(CALLED);
        self.steadiness.note_covered();
        Some(wake)
    }

    /// Claims the first waiter, which has the lock now: `None` if its runtime has ended. Then whoever unlocks has the
    /// lock still.
    fn hand_over(&self, queue: &mut Taken<'_>) -> Option<Wake> {
        queue.clear(FAIR);
        self.steadiness.note_covered();
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
