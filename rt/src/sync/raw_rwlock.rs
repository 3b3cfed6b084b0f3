//! The lock of an [`RwLock`](crate::sync::RwLock): who has it, who waits for it, who gets it next.
//!
//! ```text
//!   state    63       62      61        60     59    31  30     0
//!          | CALLED | WRITE | WAITING | FAIR | holder | readers |
//!   queue   who waits (word.rs), and the flag POISONED, which is not the lock's business
//! ```
//!
//! **Fast paths.** All that is to be known is in `state`: to lock and to unlock is one atomic operation each,
//! and who unlocks sees in the result whether anybody waits. A reader adds itself, and sees in the result whether it
//! may come in. If not, it was an *apparent* reader for a moment, and leaves as any reader does: who else has found the lock
//! held because of it, and left it to the last reader to wake somebody, is answered for. It looks before it tries again.
//!
//! **Waiting.** A reader that comes joins those who have the lock, unless somebody waits: else a writer might wait for
//! ever while readers come and go. It queues then, and so does a writer that finds the lock taken. Who in the queue gets
//! the lock next, and whether others may be quicker, is in [`next`].
//!
//! Invariants:
//! - A thread enters the queue, with the word of the queue taken, after it has set `WAITING` in one step with
//!   seeing that it cannot have the lock. So who has the lock sees `WAITING` when it unlocks.
//! - `WAITING` and `FAIR` are what the queue says, whenever its word is released: somebody waits; and the first
//!   is a reader or out of patience, and no writer is on its way.
//! - `CALLED` is set while one writer that was popped is on its way, and cleared by it alone. `FAIR` is not set then.
//! - While `FAIR`, only those get the lock who are handed it.
//! - Of the readers in `state`, apparent ones have nothing but the duty to leave. So nobody may conclude from a reader
//!   that there is no writer, and whoever concludes from one that the lock is held relies on its leaving alone.

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
/// Somebody has the lock for writing; the thread's number is below.
const WRITE: u64 = 1 << 62;
const WAITING: u64 = 1 << 61;
const FAIR: u64 = 1 << 60;
const HOLDER_SHIFT: u32 = FAIR.trailing_zeros() - lock_owner::BITS;
/// Those who have the lock for reading.
const READERS: u64 = (1 << HOLDER_SHIFT) - 1;
/// So many may have it, as many as with std's. There is room for twice as many, because of apparent ones: each thread is
/// one of them at most.
const MAX_READERS: u64 = (1 << 30) - 2;

const POISONED: Flag = Flag::A;

/// What readers note in their places. Writers note how often they have lost.
const READS: usize = usize::MAX;

/// The outcome of a wait whose waker has given the lock away: the waiter has it.
const HANDED: WakeReason = 1;

#[derive(Debug)]
pub(super) struct RawRwLock {
    state: AtomicU64,
    queue: QueueWord,
}

/// What the lock is held for writing with, and must be unlocked with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer(u32);

impl Writer {
    /// In the state.
    #[inline(always)]
    fn bits(self) -> u64 {
        WRITE | u64::from(self.0 & lock_owner::PAGE) << HOLDER_SHIFT
    }
}

fn is_held(state: u64) -> bool {
    state & (WRITE | READERS) != 0
}

/// Whether a reader that comes may have the lock: readers have it, not too many, and nobody waits, or it is free and
/// promised to nobody. A writer that was called may be late, and does not matter.
#[inline(always)]
fn admits_reader(state: u64) -> bool {
    has_readers_alone(state) || state & !(CALLED | WAITING) == 0
}

/// Whether readers have the lock, not too many, or nobody, and nobody waits. A writer may be on its way.
#[inline(always)]
fn has_readers_alone(state: u64) -> bool {
    // It is the highest bit, so that this is two instructions.
    const { assert!(CALLED << 1 == 0) }
    state << 1 < MAX_READERS << 1
}

/// Whether a thread that has left the lock, which was in this state before, may have to wake another.
#[inline(always)]
fn is_to_wake(before: u64) -> bool {
    before & (WAITING | CALLED) == WAITING
}

/// Whether a writer that comes may have the lock.
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
        // As of `admits_reader`. Free, one writer on its way and others behind it, is how a lock is for as long as those
        // who compute keep that one from its turn.
        if !has_readers_alone(before) && before != WAITING | CALLED {
            self.read_late(before, site);
        }
    }

    /// By one that has added itself, but found that readers may not come in, or not as usual.
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

    /// One reader more than in `state`, if that still is the state.
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

    /// Joins if it may; otherwise enters the queue and sleeps, and has the lock then.
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
        // SAFETY: the place stays in this frame until it is claimed or withdrawn: there is no deadline.
        unsafe { queue.push(place) };
        let awaited = self.awaited();
        wait.note_lock(&awaited);
        let mut op = wait.park_unlocking_or_withdraw(queue, Reason::Read, None, site);
        if op == TIMED_OUT {
            // SAFETY: pushed above, and alive.
            unsafe { self.withdraw(place) };
            op = wait.withdrawn();
        }
        debug_assert_eq!(op, HANDED, "a reader is not woken in vain");
    }

    /// By one that has the lock for reading.
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
        (0..).find_map(|lost| self.wait_to_write(lost, site)).expect("it is given the lock at last")
    }

    /// Takes the lock if it is free; otherwise enters the queue and sleeps, and has it then or not.
    fn wait_to_write(&self, lost: usize, site: &'static Location<'static>) -> Option<Writer> {
        let queue = self.queue.take();
        // If it was called, it is no longer on its way, and has precedence over whoever waits.
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
        // SAFETY: the place stays in this frame until it is claimed: there is no deadline.
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
            // SAFETY: pushed above, and alive.
            unsafe { self.withdraw(place) };
            op = wait.withdrawn();
        }
        (op == HANDED).then(|| Writer(lock_owner::of(place.as_ptr())))
    }

    /// By the one that has the lock for writing.
    #[inline]
    pub(super) fn unlock_write(&self, writer: Writer) {
        let before = self.state.fetch_sub(writer.bits(), Ordering::Release);
        if is_to_wake(before) {
            self.unlock_contended(before - writer.bits());
        }
    }

    /// From writing to reading, without being free in between.
    pub(super) fn downgrade(&self, writer: Writer) {
        let before = self.state.fetch_sub(writer.bits() - 1, Ordering::Release);
        if before & WAITING != 0 {
            self.wake_next();
        }
    }

    // ---- those who wait -----------------------------------------------------------------------

    /// For dumps. Those who read are not known.
    fn awaited(&self) -> AwaitedLock {
        unsafe fn holder(lock: NonNull<()>) -> u32 {
            // SAFETY: it is a `RawRwLock`, which whoever waits for it borrows.
            let state = unsafe { lock.cast::<RawRwLock>().as_ref() }.state.load(Ordering::Relaxed);
            if state & WRITE != 0 { (state >> HOLDER_SHIFT) as u32 } else { lock_owner::FREE }
        }
        // SAFETY: `holder` takes what it is given here.
        unsafe { AwaitedLock::new(NonNull::from(self).cast(), holder) }
    }
}

// ---- which waiter is next ----
//
// Who of those that wait for an [`RwLock`](crate::sync::RwLock) gets it next.
//
// When the lock is free, the first in the queue gets it:
// - Readers get it all together, as many as stand at the front: nobody can be quicker than they (`FAIR`).
// - A writer is woken to try its luck (`CALLED`), while whoever comes may be quicker, as with a mutex, and for
//   the same reasons (`raw_mutex.rs`). When it has lost [`PATIENCE`] times, nobody may (`FAIR`), and it is
//   handed the lock.
//
// So a reader waits for the writers before it in the queue, and a writer for readers and writers before it, each with
// its bounded number of tries. Neither readers nor writers starve the other.

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
                // SAFETY: as above.
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

    /// So many threads with such turns; a lost wake would be a deadlock.
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
            assert_eq!(shared.lock.state.load(Ordering::Relaxed), 0, "nobody has it or waits");
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
