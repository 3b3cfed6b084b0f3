//! The lock of a [`Mutex`](crate::sync::Mutex): its holder, its waiters, and the choice of the next
//! holder.
//!
//! ```text
//!   holder      FREE, or the thread that holds the lock (task/holder.rs)
//!   queue       the waiting threads (word.rs), and the flags CALLED and FAIR
//!   steadiness  whether it may be unlocked without a fence (steady.rs)
//! ```
//!
//! **Fast paths.** Locking is one compare-and-swap of `holder`. Unlocking is a store to `holder`, a
//! fence, and a look at `queue`. This is Dekker's pattern with the waiting threads, which enter the
//! queue, fence, and look at `holder`: one of the two sees the other. After that, a thread that
//! does not hold the lock touches it only if it still borrows it.
//!
//! If the lock is *steady* (`steady.rs`) the fence is the light side of an asymmetric barrier, and
//! a thread that is about to wait passes the heavy side.
//!
//! **Choice of the next holder.** A free lock is open to every thread (*barging*), because a
//! running thread can use it at once, and a thread that was just woken cannot yet. Handing the lock
//! over at each unlock would add a switch to each turn. The unlocking thread takes the first waiter
//! out of the queue, wakes it, and sets `CALLED`. Until that waiter has tried to take the lock, no
//! other waiter is woken. If it finds the lock taken it has *lost*, and goes back to the front of
//! the queue.
//!
//! **Fairness.** A waiter that has lost [`PATIENCE`] times sets `FAIR`. The next unlock then hands
//! the lock over to it, without the lock being free in between. So the first waiter gets the lock
//! after a bounded number of wakes, and the others come after it, in order: a loop that locks and
//! unlocks cannot starve a waiter. (The time in between depends on the scheduler. A woken thread
//! runs, at the latest, when sysmon finds its worker stuck.)
//!
//! Invariants:
//! - `holder` goes from `FREE` to a thread by that thread's compare-and-swap, or by that of the
//!   thread that hands over. It goes from a thread to `FREE`, or to another thread, by a store of
//!   the holder.
//! - A thread in the queue has looked at `holder` after it took the word, and has found it taken.
//!   The thread that held the lock at that time will look at the queue after it has released the
//!   lock.
//! - `CALLED` is set while one thread that was popped is on its way; only that thread clears it.
//! - `FAIR` is set while the first in the queue has lost too often. While it is set, no thread is
//!   woken in vain, so `CALLED` is not set.
//! - A waiter is *covered* while a thread that was called is on its way: the called thread will
//!   look at the lock and at the queue. An unlocking thread must see all waiters that are not
//!   covered. The first of them has looked at `holder` last: it is a thread that found the queue
//!   idle, or one that was called and has come.
//! - That first waiter looks at `steadiness` before `holder`, and passes the heavy barrier in
//!   between if the lock is steady. So it sees `FREE`, or the thread that unlocks without a fence
//!   sees its word.
//! - If it finds the lock not steady, no thread unlocks without a fence until the waiter is covered
//!   or has the lock: the lock becomes steady only while every waiter is covered.
//! - A thread whose runtime has ended leaves the queue without the lock. Then the first waiter may
//!   be one that has not looked at `holder` last. So the leaving thread looks at it on that
//!   waiter's behalf, after a heavy barrier. Claiming a waiter whose runtime has ended fails. Then
//!   the lock is not handed over, and the unlocking thread goes on with the next waiter.

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

/// The number of times that a waiter finds the lock taken again before it is handed over to it.
const PATIENCE: usize = 2;

/// The outcome of a wait whose waker has handed the lock over: the waiter holds it.
const HANDED: WakeReason = 1;

#[derive(Debug)]
pub(super) struct RawMutex {
    holder: AtomicU32,
    /// Unrelated to the lock; placed here because it takes no extra room.
    pub(super) poison: Poison,
    /// Placed here for the same reason.
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

    /// Locks like [`lock`](RawMutex::lock), for a thread that was woken in the queue `woken_in`. If
    /// its runtime ends before it has the lock, another thread of that queue is woken in its place.
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

    /// Unlocks; the calling thread holds the lock.
    #[inline]
    pub(super) fn unlock(&self) {
        // Read before the store as well, because of `FAIR`: after the store another thread may take
        // the lock first.
        let seen = self.queue.glance(Ordering::Relaxed);
        let fence = if wakes_nobody(seen) {
            self.steadiness.count(&self.queue, seen)
        } else if seen.is_taken() && !seen.has(FAIR) {
            // Taken by a thread that is about to check whether it must wait, and may just get the
            // lock.
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

    /// Enters the queue, unless the lock is free, and sleeps. Returns `true` if the caller holds
    /// the lock then.
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
        // Pairs with the barrier after the store of the unlocking thread: this thread sees `FREE`,
        // or the unlocking thread sees the queue taken.
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
        // SAFETY: the place stays in this frame until it is claimed, or withdrawn below.
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
            // SAFETY: the place was pushed to this queue above, and is alive.
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
        // SAFETY: by this function's contract, which is that of `remove`.
        unsafe { queue.remove(place) };
        if queue.first_note().is_none_or(|lost| lost < PATIENCE) {
            // If it was set, it was set for the waiter that has left.
            queue.clear(FAIR);
        }
        // The new first waiter may never have looked at the holder. This thread looks on its
        // behalf, as the first waiter does.
        queue.publish();
        sequentially_consistent();
        barrier::heavy();
        let is_free = self.holder.load(Ordering::SeqCst) == FREE;
        let wake = if is_free && !queue.has(FAIR) { self.call(&mut queue) } else { None };
        drop(queue);
        wake.into_iter().for_each(handle::wake_beside);
    }

    /// Returns the lock's record for dumps.
    fn awaited(&self) -> AwaitedLock {
        unsafe fn holder(lock: NonNull<()>) -> u32 {
            // SAFETY: `lock` is the `RawMutex` below, and every thread that waits for it borrows
            // it.
            unsafe { lock.cast::<RawMutex>().as_ref() }.holder.load(Ordering::Relaxed)
        }
        // SAFETY: `holder` is called with the pointer passed here, to a `RawMutex`.
        unsafe { AwaitedLock::new(NonNull::from(self).cast(), holder) }
    }

    /// Unlocks; the calling thread holds the lock. Called when a thread may be waiting and none is
    /// on its way.
    #[cold]
    fn unlock_contended(&self) {
        self.steadiness.reset();
        let mut queue = self.queue.take();
        let handed = fair_first(&queue).and_then(|first| {
            self.holder.store(lock_owner::of(first.as_ptr()), Ordering::Relaxed);
            self.hand_over(&mut queue)
        });
        let wake = handed.or_else(|| {
            // The word is taken, so a thread that enters after this finds the lock free.
            self.holder.store(FREE, Ordering::Release);
            self.call(&mut queue)
        });
        drop(queue);
        wake.into_iter().for_each(handle::wake_beside);
    }

    /// Wakes the first waiter, if the lock is free and no other thread does. Called after a fence,
    /// or the light barrier.
    #[cold]
    fn call_first(&self) {
        let mut queue = self.queue.take();
        let wake = if self.holder.load(Ordering::Relaxed) != FREE {
            // The holder will look at the queue when it unlocks.
            None
        } else if let Some(first) = fair_first(&queue) {
            let to = lock_owner::of(first.as_ptr());
            // Acquire: the claim passes the last holder's writes on to the waiter.
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

    /// Claims the first waiter, which then tries to take the lock.
    fn call(&self, queue: &mut Taken<'_>) -> Option<Wake> {
        if queue.has(CALLED) {
            return None;
        }
        let wake = queue.claim_one(WOKEN)?;
        queue.set(CALLED);
        self.steadiness.note_covered();
        Some(wake)
    }

    /// Claims the first waiter, which `holder` names already. Returns `None` if its runtime has
    /// ended; the unlocking thread still holds the lock then.
    fn hand_over(&self, queue: &mut Taken<'_>) -> Option<Wake> {
        queue.clear(FAIR);
        self.steadiness.note_covered();
        queue.claim_first(HANDED)
    }
}

/// Returns the first waiter, if the lock is to be handed over to it.
fn fair_first(queue: &Taken<'_>) -> Option<NonNull<Place>> {
    let first = || queue.first().expect("who made the lock fair waits first");
    queue.has(FAIR).then(first)
}

/// Returns `true` if no thread waits, or one is on its way already. It may be on its way for long,
/// so the fast path checks for that.
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

        /// Locks and unlocks so many times.
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
            // SAFETY: the lock is held; loom checks it.
            assert_eq!(self.count.with(|count| unsafe { *count }), count);
            self.lock.unlock();
            assert!(self.lock.queue.is_idle(), "nobody waits");
        }
    }

    /// Runs so many threads with so many turns each; a lost wake would be a deadlock.
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
