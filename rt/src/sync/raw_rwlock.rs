//! The lock of an [`RwLock`](crate::sync::RwLock): its holders, its waiters, and the choice of the
//! next holder.
//!
//! ```text
//!   state    63       62      61        60     59    31  30     0
//!          | CALLED | WRITE | WAITING | FAIR | holder | readers |
//!   queue   the waiting threads (word.rs), and the flag POISONED, which is unrelated to the lock
//! ```
//!
//! **Fast paths.** `state` holds all that a fast path needs. Locking and unlocking are one atomic
//! operation each, and an unlocking thread sees in the result whether a thread waits. A reader adds
//! itself, and sees in the result whether it may come in. If not, it was an *apparent* reader for a
//! moment, and leaves like any reader. By leaving, it also does the wake for a thread that found
//! the lock held because of it, and left the wake to the last reader. A reader looks at the state
//! before it tries again.
//!
//! **Waiting.** A reader joins the current readers, unless a thread waits: otherwise a writer might
//! wait for ever while readers come and go. In that case the reader queues, like a writer that
//! finds the lock taken. [`next`] decides which waiter gets the lock next, and whether other
//! threads may be quicker.
//!
//! Invariants:
//! - A thread takes the word of the queue, and sets `WAITING` in one step with seeing that it
//!   cannot have the lock; then it enters the queue. So a holder sees `WAITING` when it unlocks.
//! - `WAITING` and `FAIR` agree with the queue whenever its word is released. `WAITING` means that
//!   a thread waits. `FAIR` means that the first waiter is a reader or out of patience, and that no
//!   writer is on its way.
//! - `CALLED` is set while one writer that was popped is on its way; only that writer clears it.
//!   `FAIR` is not set then.
//! - While `FAIR` is set, only threads that the lock is handed to get it.
//! - Of the readers in `state`, apparent ones have only the duty to leave. So no thread may
//!   conclude from a reader that there is no writer. A thread that concludes from a reader that the
//!   lock is held relies only on that reader's leaving.

use std::panic::Location;
use std::ptr::NonNull;

use crate::loom::{AtomicU64, Ordering, const_unless_loom};
use crate::runtime::handle;
use crate::sync::word::{Flag, Place, QueueWord, Taken, Wakes};
use crate::task::lock_owner::{self, AwaitedLock};
use crate::task::wait_info::Reason;
use crate::task::wait_state::{TIMED_OUT, WakeReason};
use crate::wait::park::{Spin, Wait};
use crate::wait::queue::WOKEN;

const CALLED: u64 = 1 << 63;
/// A thread has the lock for writing; its number is in the bits below.
const WRITE: u64 = 1 << 62;
const WAITING: u64 = 1 << 61;
const FAIR: u64 = 1 << 60;
const HOLDER_SHIFT: u32 = FAIR.trailing_zeros() - lock_owner::BITS;
/// The number of readers.
const READERS: u64 = (1 << HOLDER_SHIFT) - 1;
/// The maximal number of readers, the same as std's. There is room for twice as many, because of
/// apparent ones: each thread is at most one of them.
const MAX_READERS: u64 = (1 << 30) - 2;

const POISONED: Flag = Flag::A;

/// The note in a reader's place. A writer notes how often it has lost.
const READS: usize = usize::MAX;

/// The outcome of a wait whose waker has handed the lock over: the waiter holds it.
const HANDED: WakeReason = 1;

#[derive(Debug)]
pub(super) struct RawRwLock {
    state: AtomicU64,
    queue: QueueWord,
}

/// The number with which the lock is held for writing, and with which it must be unlocked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer(u32);

impl Writer {
    /// Returns the writer's bits in the state.
    #[inline(always)]
    fn bits(self) -> u64 {
        WRITE | u64::from(self.0 & lock_owner::PAGE) << HOLDER_SHIFT
    }
}

fn is_held(state: u64) -> bool {
    state & (WRITE | READERS) != 0
}

/// Returns `true` if a new reader may have the lock. Either readers have it, not too many, and no
/// thread waits; or it is free, and reserved for no thread. A writer that was called may take long,
/// so it does not count.
#[inline(always)]
fn admits_reader(state: u64) -> bool {
    has_readers_alone(state) || state & !(CALLED | WAITING) == 0
}

/// Returns `true` if no writer has the lock, there are not too many readers, and no thread waits. A
/// writer may be on its way.
#[inline(always)]
fn has_readers_alone(state: u64) -> bool {
    // `CALLED` is the highest bit, so shifting it out makes this two instructions.
    const { assert!(CALLED << 1 == 0) }
    state << 1 < MAX_READERS << 1
}

/// Returns `true` if a thread that has left the lock, which was in state `before`, may have to wake
/// another.
#[inline(always)]
fn is_to_wake(before: u64) -> bool {
    before & (WAITING | CALLED) == WAITING
}

/// Returns `true` if a new writer may have the lock.
fn admits_writer(state: u64) -> bool {
    !is_held(state) && state & FAIR == 0
}

impl RawRwLock {
    const_unless_loom! {
        pub(super) const fn new() -> Self {
            Self { state: AtomicU64::new(0), queue: QueueWord::new() }
        }
    }

    #[inline]
    pub(super) fn is_poisoned(&self) -> bool {
        self.queue.glance(Ordering::Relaxed).has(POISONED)
    }

    #[cold]
    pub(super) fn poison(&self) {
        self.queue.take().set(POISONED);
    }

    pub(super) fn clear_poison(&self) {
        self.queue.take().clear(POISONED);
    }

    // ---- reading ------------------------------------------------------------------------------

    #[inline]
    pub(super) fn read(&self, site: &'static Location<'static>) {
        let before = self.state.fetch_add(1, Ordering::Acquire);
        // The same condition as `admits_reader`, for the usual states. In the second one the lock
        // is free, a writer is on its way, and others wait behind it. The lock stays in that state
        // for as long as CPU-bound threads delay that writer.
        if !has_readers_alone(before) && before != WAITING | CALLED {
            self.read_late(before, site);
        }
    }

    /// Continues for a reader that has added itself, but found that readers may not come in, or not
    /// in a usual state.
    #[cold]
    fn read_late(&self, before: u64, site: &'static Location<'static>) {
        if !admits_reader(before) {
            self.unlock_read();
            self.read_contended(site);
        }
    }

    #[inline]
    pub(super) fn try_read(&self) -> bool {
        loop {
            let state = self.state.load(Ordering::Relaxed);
            if !admits_reader(state) {
                return false;
            }
            if self.try_join(state) {
                return true;
            }
        }
    }

    /// Adds a reader, if the state is still `state`.
    #[inline]
    fn try_join(&self, state: u64) -> bool {
        self.try_change(state, state + 1)
    }

    #[inline]
    fn try_change(&self, from: u64, to: u64) -> bool {
        self.state.compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn read_contended(&self, site: &'static Location<'static>) {
        let mut spin = Spin::new();
        while !self.try_read() {
            if !spin.again() {
                return self.wait_to_read(site);
            }
        }
    }

    /// Joins the readers if it may. Otherwise enters the queue and sleeps, and has the lock then.
    fn wait_to_read(&self, site: &'static Location<'static>) {
        let queue = self.queue.take();
        let first = queue.first_note().unwrap_or(READS);
        loop {
            let state = self.state.load(Ordering::Relaxed);
            if admits_reader(state) {
                if self.try_join(state) {
                    return;
                }
                continue;
            }
            assert!(state & READERS < MAX_READERS, "too many active read locks on RwLock");
            if self.try_change(state, waited_for(state, first)) {
                break;
            }
        }
        let (mut queue, wait) = Wait::in_queue(queue, None, site);
        let mut place = Place::new(wait.waiter(), READS);
        let place = NonNull::from(&mut place);
        // SAFETY: the place stays in this frame until it is claimed, or withdrawn below.
        unsafe { queue.push(place) };
        let awaited = self.awaited();
        wait.note_lock(&awaited);
        let mut op = wait.park_unlocking_or_withdraw(queue, Reason::Read, None, site);
        if op == TIMED_OUT {
            // SAFETY: the place was pushed to this queue above, and is alive.
            unsafe { self.withdraw(place) };
            op = wait.withdrawn();
        }
        debug_assert_eq!(op, HANDED, "a reader is not woken in vain");
    }

    /// Unlocks; the calling thread has the lock for reading.
    #[inline]
    pub(super) fn unlock_read(&self) {
        let before = self.state.fetch_sub(1, Ordering::Release);
        if is_to_wake(before) {
            self.unlock_contended(before - 1);
        }
    }

    // ---- writing ------------------------------------------------------------------------------

    #[inline]
    pub(super) fn write(&self, site: &'static Location<'static>) -> Writer {
        let writer = Writer(lock_owner::here());
        if self.try_change(0, writer.bits()) { writer } else { self.write_contended(site) }
    }

    #[inline]
    pub(super) fn try_write(&self) -> Option<Writer> {
        let writer = Writer(lock_owner::here());
        loop {
            let state = self.state.load(Ordering::Relaxed);
            if !admits_writer(state) {
                return None;
            }
            if self.try_change(state, state | writer.bits()) {
                return Some(writer);
            }
        }
    }

    #[cold]
    fn write_contended(&self, site: &'static Location<'static>) -> Writer {
        let mut spin = Spin::new();
        loop {
            match self.try_write() {
                Some(writer) => return writer,
                None if spin.again() => {}
                None => break,
            }
        }
        (0..).find_map(|lost| self.wait_to_write(lost, site)).expect("the lock is handed over")
    }

    /// Takes the lock if it is free. Otherwise enters the queue and sleeps, and returns a writer if
    /// the lock was handed over.
    fn wait_to_write(&self, lost: usize, site: &'static Location<'static>) -> Option<Writer> {
        let queue = self.queue.take();
        // If this writer was called, it is no longer on its way, and takes precedence over the
        // waiting threads.
        let called = if lost > 0 { CALLED } else { 0 };
        let first = if lost > 0 { lost } else { queue.first_note().unwrap_or(lost) };
        loop {
            let state = self.state.load(Ordering::Relaxed);
            if admits_writer(state) || (lost > 0 && !is_held(state)) {
                let writer = Writer(lock_owner::here());
                if self.try_change(state, (state & !called) | writer.bits()) {
                    self.note(&queue);
                    return Some(writer);
                }
            } else if self.try_change(state, waited_for(state & !called, first)) {
                break;
            }
        }
        let (mut queue, wait) = Wait::in_queue(queue, None, site);
        let mut place = Place::new(wait.waiter(), lost);
        let place = NonNull::from(&mut place);
        // SAFETY: the place stays in this frame until it is claimed, or withdrawn below.
        unsafe {
            if lost > 0 {
                queue.push_front(place);
            } else {
                queue.push(place);
            }
        }
        let awaited = self.awaited();
        wait.note_lock(&awaited);
        let mut op = wait.park_unlocking_or_withdraw(queue, Reason::Write, None, site);
        if op == TIMED_OUT {
            // SAFETY: the place was pushed to this queue above, and is alive.
            unsafe { self.withdraw(place) };
            op = wait.withdrawn();
        }
        (op == HANDED).then(|| Writer(lock_owner::of(place.as_ptr())))
    }

    /// Unlocks; the calling thread has the lock for writing.
    #[inline]
    pub(super) fn unlock_write(&self, writer: Writer) {
        let before = self.state.fetch_sub(writer.bits(), Ordering::Release);
        if is_to_wake(before) {
            self.unlock_contended(before - writer.bits());
        }
    }

    /// Turns the write lock into a read lock, without being free in between.
    pub(super) fn downgrade(&self, writer: Writer) {
        let before = self.state.fetch_sub(writer.bits() - 1, Ordering::Release);
        if before & WAITING != 0 {
            self.wake_next();
        }
    }

    // ---- waiting threads ----------------------------------------------------------------------

    /// Returns the lock's record for dumps. The readers are not known.
    fn awaited(&self) -> AwaitedLock {
        unsafe fn holder(lock: NonNull<()>) -> u32 {
            // SAFETY: `lock` is the `RawRwLock` below, and every thread that waits for it borrows
            // it.
            let state = unsafe { lock.cast::<RawRwLock>().as_ref() }.state.load(Ordering::Relaxed);
            if state & WRITE != 0 { (state >> HOLDER_SHIFT) as u32 } else { lock_owner::FREE }
        }
        // SAFETY: `holder` is called with the pointer passed here, to a `RawRwLock`.
        unsafe { AwaitedLock::new(NonNull::from(self).cast(), holder) }
    }
}

// ---- which waiter is next ----
//
// The choice of the next holder among the threads that wait for an [`RwLock`](crate::sync::RwLock).
//
// When the lock is free, the first in the queue gets it:
// - If it is a reader, all readers at the front of the queue get the lock together, and no other
//   thread can be quicker (`FAIR`).
// - If it is a writer, it is woken to try to take the lock (`CALLED`). Any other thread may be
//   quicker, as with a mutex, and for the same reasons (`raw_mutex.rs`). Once the writer has lost
//   [`PATIENCE`] times, no other thread may be quicker (`FAIR`), and the lock is handed over to it.
//
// So a reader waits for the writers before it in the queue, and a writer for readers and writers
// before it, each of which makes a bounded number of tries. Neither readers nor writers starve the
// other.

/// The number of times that a writer finds the lock taken again before it is handed over to it.
const PATIENCE: usize = 2;

impl RawRwLock {
    /// Continues an unlock that has left the lock in this state, in which a thread waits and none
    /// is on its way.
    #[cold]
    pub(super) fn unlock_contended(&self, state: u64) {
        if !is_held(state) {
            self.wake_next();
        }
    }

    /// Gives the lock to the next waiters, if it is free for them.
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

    /// Leaves the queue without the lock, because the waiter's runtime has ended. Gives the lock to
    /// the threads behind it, if it is free for them.
    ///
    /// # Safety
    ///
    /// The place was pushed to this queue, and is alive.
    /// The place was pushed to this queue, and is alive.
    #[cold]
    pub(super) unsafe fn withdraw(&self, place: NonNull<Place>) {
        let mut queue = self.queue.take();
        // SAFETY: by this function's contract, which is that of `remove`.
        unsafe { queue.remove(place) };
        self.note(&queue);
        drop(queue);
        self.wake_next();
    }

    /// Hands the lock to the readers at the front. Returns `true` if it must be called again,
    /// because there may be more than can be woken at once.
    fn admit_readers(&self, queue: &mut Taken<'_>, wakes: &mut Wakes) -> bool {
        while queue.first_note() == Some(READS) {
            if wakes.is_full() {
                return true;
            }
            // A writer that has the lock will come here when it unlocks.
            let join = |state| (state & WRITE == 0).then_some(state + 1);
            if self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, join).is_err() {
                return false;
            }
            match queue.claim_first(HANDED) {
                Some(wake) => wakes.push(wake),
                None => {
                    // The reader's runtime has ended. A thread that found the lock held because of
                    // it has left the next wake to this thread.
                    self.state.fetch_sub(1, Ordering::Release);
                    return true;
                }
            }
        }
        false
    }

    /// Wakes the writer at the front, and hands the lock over if it was woken in vain often enough.
    /// Returns `true` if its runtime has ended, and the next waiter is to be tried.
    fn call_writer(&self, queue: &mut Taken<'_>, lost: usize, wakes: &mut Wakes) -> bool {
        let (bits, op) = if lost >= PATIENCE {
            let first = queue.first().expect("the first has noted");
            (Writer(lock_owner::of(first.as_ptr())).bits(), HANDED)
        } else {
            (CALLED, WOKEN)
        };
        // A thread that has the lock, or is on its way to it, will come here.
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

    /// Updates the flags to agree with the queue.
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

/// Returns the state in which a thread waits, and the first waiter has noted `first`.
pub(super) fn waited_for(state: u64, first: usize) -> u64 {
    let fair = first >= PATIENCE && state & CALLED == 0;
    state | WAITING | if fair { FAIR } else { 0 }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn one_reader_too_many_panics_and_is_none() {
        let lock = RawRwLock::new();
        let site = Location::caller();
        for waiting in [0, WAITING] {
            lock.state.store(MAX_READERS - 1, Ordering::Relaxed);
            lock.read(site);
            lock.state.fetch_or(waiting, Ordering::Relaxed);
            let read = AssertUnwindSafe(|| lock.read(site));
            let panic = catch_unwind(read).expect_err("there are too many");
            assert_eq!(panic.downcast_ref(), Some(&"too many active read locks on RwLock"));
            assert!(!lock.try_read() && lock.try_write().is_none());
            assert_eq!(lock.state.load(Ordering::Relaxed), MAX_READERS | waiting);
            assert!(lock.queue.is_idle());
        }
        lock.state.fetch_and(!WAITING, Ordering::Relaxed);
        lock.unlock_read();
        assert!(lock.try_read() && !lock.try_read());
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;

    struct Shared {
        lock: RawRwLock,
        number: Checked<usize>,
    }

    #[derive(Clone, Copy)]
    enum Turn {
        Read,
        Write,
        Downgrade,
    }
    use Turn::{Downgrade, Read, Write};

    impl Shared {
        fn new() -> Arc<Self> {
            Arc::new(Self { lock: RawRwLock::new(), number: Checked::new(0) })
        }

        fn read(&self) -> usize {
            // SAFETY: the lock is held; loom checks it.
            self.number.with(|number| unsafe { *number })
        }

        fn take(&self, turns: &[Turn]) {
            let site = Location::caller();
            for turn in turns {
                if let Read = turn {
                    self.lock.read(site);
                    self.read();
                    self.lock.unlock_read();
                    continue;
                }
                let writer = self.lock.write(site);
                // SAFETY: the lock is held for writing; loom checks it.
                self.number.with_mut(|number| unsafe { *number += 1 });
                if let Downgrade = turn {
                    self.lock.downgrade(writer);
                    self.read();
                    self.lock.unlock_read();
                } else {
                    self.lock.unlock_write(writer);
                }
            }
        }
    }

    /// Runs so many threads with such turns; a lost wake would be a deadlock.
    fn contend(preemptions: usize, turns: &'static [&'static [Turn]]) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model.check(move || {
            let shared = Shared::new();
            let others: Vec<_> = turns[1..]
                .iter()
                .map(|&turns| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || shared.take(turns))
                })
                .collect();
            shared.take(turns[0]);
            others.into_iter().for_each(|other| other.join().unwrap());
            let writes =
                |turns: &&[Turn]| turns.iter().filter(|turn| !matches!(turn, Read)).count();
            assert_eq!(shared.read(), turns.iter().map(writes).sum());
            assert_eq!(shared.lock.state.load(Ordering::Relaxed), 0, "free, no waiters");
            assert!(shared.lock.queue.is_idle());
        });
    }

    #[test]
    fn two_writers() {
        contend(3, &[&[Write, Write], &[Write, Write]]);
    }

    #[test]
    fn a_reader_and_a_writer() {
        contend(3, &[&[Read, Read], &[Write, Write]]);
    }

    #[test]
    fn two_readers_and_a_writer() {
        contend(2, &[&[Write], &[Read], &[Read]]);
    }

    #[test]
    fn two_writers_and_a_reader() {
        contend(2, &[&[Write], &[Write], &[Read]]);
    }

    #[test]
    fn a_downgrade_lets_readers_in_and_writers_wait() {
        contend(2, &[&[Downgrade], &[Read], &[Write]]);
    }

    /// A writer that loses is handed the lock.
    #[test]
    fn a_barging_writer_and_one_that_waits() {
        contend(3, &[&[Write, Write, Write, Write], &[Write]]);
    }
}
