//! Access without atomic read-modify-writes to an object that only one OS thread uses (biased
//! locking).
//!
//! A locked instruction may cost as much as all other instructions of a channel operation. As long
//! as only one OS thread uses a channel, with whatever green threads it runs, plain loads and
//! stores are enough. The first other OS thread that uses it ends that for good, and pays for it
//! with a heavy barrier.
//!
//! A thread *visits* an object by calling [`Sole::enter`], until it drops the entry. If it is
//! alone, it *enters* during the visit: it is inside.
//!
//! ```text
//!   FIRST(t)     t created it, and no other thread has visited it: t's visits are counted
//!   ALONE(t)     t has visited it often, and no other thread ever has: t enters
//!   ENDING       another thread visits it, and waits until t is not inside
//!   SHARED       all threads visit it, and none enters
//!
//!   FIRST -> ALONE -> ENDING -> SHARED,  FIRST -> SHARED
//! ```
//!
//! Invariants:
//! - `user` is changed by atomic read-modify-writes, in the order above. Only t changes FIRST(t) to
//!   ALONE(t), so no other thread has visited when it does.
//! - `inside` is written by t alone. t sets it, passes the light side of an asymmetric barrier, and
//!   checks that the state is still ALONE. If it is not, t steps back, and has not entered. Another
//!   thread changes ALONE to ENDING. Every thread that finds ENDING passes the heavy side and waits
//!   until `inside` is not set. So once the state is SHARED, t is outside, never enters again, and
//!   everything that it did inside has happened before.
//! - A visitor that does not enter works as one of many, with atomic read-modify-writes: once the
//!   state is SHARED, or if the visitor is t.
//! - A thread that is about to sleep until a change announces that, then visits the object, and
//!   looks once more. So changes that t makes inside need no fence before t checks whether a thread
//!   sleeps: either the sleeper finds the change, or t works as one of many.
//! - A thread is inside for a few instructions only, without user code. A thread that visits again
//!   from inside waits for itself, as with any lock.
//! - The number of an OS thread that has ended may be reused by a later thread. Everything that the
//!   ended thread did has happened before the later thread, which continues under the same number.
//!   That does not hold if the ended thread is still inside, which can be so in the child of a
//!   `fork`.
//!
//! (Java's monitors had biased locking, until it was found that most monitors are shared. Hence the
//! counting. An object that is shared early costs no thread a barrier. After each object that was
//! shared late, all objects must be used twice as often before their user enters.)

mod lock;

use crate::loom::{AtomicUsize, Ordering};
use crate::util::backoff::Backoff;
use crate::util::barrier;
use crate::util::spin_lock::{FREE, TAKEN};

pub(crate) use crate::util::sole::lock::SoleLock;

const SHARED: usize = FREE;
const FIRST: usize = 2;
const ALONE: usize = 4;
const ENDING: usize = 8;

/// The number of visits after which, and after as many again each time, the first user checks
/// whether to enter from now on. Small in debug builds, so that every test covers both states.
const OFTEN: usize = if cfg!(loom) {
    2
} else if cfg!(debug_assertions) {
    8
} else {
    256
};

#[cfg(all(target_os = "linux", not(loom)))]
use gthread_arch::os_thread;

/// Only called if the state is not SHARED, which requires an asymmetric barrier.
#[cfg(not(any(target_os = "linux", loom)))]
fn os_thread() -> usize {
    unreachable!("without an asymmetric barrier all are shared")
}

#[cfg(loom)]
fn os_thread() -> usize {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    loom::thread::current().id().hash(&mut hasher);
    hasher.finish() as usize & !7
}

/// Records whether an object is used by one OS thread alone.
pub(crate) struct Sole {
    user: AtomicUsize,
    /// If FIRST, twice the number of t's visits. If ALONE or ENDING, [`TAKEN`] while t is inside.
    /// Written by t only.
    inside: AtomicUsize,
}

/// The way in which a visitor changes words.
#[must_use = "who is alone is inside while this lives"]
pub(crate) enum Entry<'a> {
    Alone(Inside<'a>),
    Among(Others),
}

/// Exclusive access for the lifetime of this guard; the thread is inside.
pub(crate) struct Inside<'a>(&'a AtomicUsize);

/// Access as one of many: for t while it is not alone, for any thread once the state is SHARED, or
/// for a thread that has exclusive access for another reason.
pub(crate) struct Others(());

impl Others {
    /// Creates it for a thread that has exclusive access for another reason.
    pub(crate) fn owner() -> Self {
        Self(())
    }
}

/// The operations that differ between the two kinds of visit. Where speed matters, code is compiled
/// separately for each, and not for an [`Entry`] that may be either.
pub(crate) trait Turn {
    fn is_alone(&self) -> bool;

    /// Changes `word` from `old`, which was read after this entry, to `new`. Returns the current
    /// value as an error if that is different. Sequentially consistent, unless alone.
    fn exchange(&self, word: &AtomicUsize, old: usize, new: usize) -> Result<(), usize>;

    /// Adds to `word`, and returns the previous value.
    fn add(&self, word: &AtomicUsize, n: usize) -> usize;
}

impl Sole {
    /// Creates the state with the calling OS thread as the first user. Where the light barrier is a
    /// real fence, entering costs as much as it saves, so the state is SHARED there.
    pub(crate) fn new() -> Self {
        let user = if barrier::pays() { os_thread() | FIRST } else { SHARED };
        Self { user: AtomicUsize::new(user), inside: AtomicUsize::new(FREE) }
    }

    #[cfg(all(test, loom))]
    pub(crate) fn shared() -> Self {
        Self { user: AtomicUsize::new(SHARED), inside: AtomicUsize::new(FREE) }
    }

    /// Begins a visit, and enters if alone. May wait for another OS thread to execute a few
    /// instructions.
    #[inline]
    pub(crate) fn enter(&self) -> Entry<'_> {
        if let Some(entry) = self.enter_at_once() {
            return entry;
        }
        let user = self.user.load(Ordering::Acquire);
        if user == os_thread() | FIRST {
            self.count();
        }
        self.come(user);
        Entry::Among(Others(()))
    }

    /// Like [`Sole::enter`], if that takes only a few instructions.
    #[inline(always)]
    pub(crate) fn enter_at_once(&self) -> Option<Entry<'_>> {
        let user = self.user.load(Ordering::Acquire);
        if user == SHARED {
            return Some(Entry::Among(Others(())));
        }
        let me = os_thread();
        if user == me | ALONE {
            self.try_inside(user).then(|| Entry::Alone(Inside(&self.inside)))
        } else {
            (user == me | FIRST && self.count_unless_due()).then(|| Entry::Among(Others(())))
        }
    }

    /// Tries to enter, for the user t of a state that was just read as ALONE. Returns `true` if it
    /// has entered.
    #[inline(always)]
    fn try_inside(&self, user: usize) -> bool {
        if self.inside.load(Ordering::Acquire) == TAKEN {
            return false;
        }
        self.inside.store(TAKEN, Ordering::Relaxed);
        // The thread that changed the state to ALONE has checked that the barrier pays.
        barrier::light_as_it_pays();
        let is_alone = self.user.load(Ordering::Relaxed) == user;
        if !is_alone {
            self.inside.store(FREE, Ordering::Release);
        }
        is_alone
    }

    /// Counts a visit of the first user. Returns `true` if it is to check whether it should be
    /// alone.
    #[inline(always)]
    fn count(&self) -> bool {
        let times = self.inside.load(Ordering::Relaxed) / 2 + 1;
        self.inside.store(times * 2, Ordering::Relaxed);
        times.is_multiple_of(OFTEN)
    }

    /// Counts a visit of the first user, unless [`Sole::count`] would return `true`: then returns
    /// `false` and changes nothing.
    #[inline(always)]
    fn count_unless_due(&self) -> bool {
        let times = self.inside.load(Ordering::Relaxed) / 2 + 1;
        let is_due = times.is_multiple_of(OFTEN);
        if !is_due {
            self.inside.store(times * 2, Ordering::Relaxed);
        }
        !is_due
    }

    /// Returns `true` if the first user is to be alone from now on; then visits are not counted any
    /// more.
    fn may_be_alone(&self) -> bool {
        let may = regrets::allow(self.inside.load(Ordering::Relaxed) / 2);
        if may {
            self.inside.store(FREE, Ordering::Relaxed);
        }
        may
    }

    /// Visits without entering.
    #[cold]
    fn come(&self, mut user: usize) {
        let me = os_thread();
        while user != SHARED {
            let next = if user == me | FIRST {
                if !self.may_be_alone() {
                    return;
                }
                me | ALONE
            } else if user & FIRST != 0 {
                SHARED
            } else if user & ALONE != 0 {
                ENDING
            } else {
                self.wait_until_outside();
                SHARED
            };
            match self.user.compare_exchange(user, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(ENDING) => return regrets::add(),
                Ok(_) if next == me | ALONE => return,
                Ok(_) => user = next,
                Err(now) => user = now,
            }
        }
    }

    /// Waits until t is outside. The state is ENDING, which the caller has read with acquire. t had
    /// seen that there is a heavy barrier, so the caller sees it too.
    fn wait_until_outside(&self) {
        barrier::heavy();
        let mut patience = Backoff::new();
        // Acquire: everything that t did inside.
        while self.inside.load(Ordering::Acquire) == TAKEN {
            patience.wait();
        }
    }
}

impl Drop for Sole {
    fn drop(&mut self) {
        if self.user.load(Ordering::Relaxed) & ALONE != 0 {
            regrets::take_back();
        }
    }
}

/// A record of how biased objects have ended. (The barrier costs microseconds, and entering saves
/// nanoseconds.)
mod regrets {
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;

    use crate::util::sole::OFTEN;

    /// The number of objects that were shared, less those that remained with one user to the end;
    /// from zero to `MOST`.
    static REGRETS: AtomicU32 = AtomicU32::new(0);
    /// With this many, 65,536 visits are required, which take much longer than a barrier.
    const MOST: u32 = 8;

    /// Returns `true` if a user that has visited this often, alone, may enter.
    pub(crate) fn allow(times: usize) -> bool {
        cfg!(any(loom, debug_assertions)) || times >> REGRETS.load(Relaxed) >= OFTEN
    }

    pub(crate) fn add() {
        let _ = REGRETS.fetch_update(Relaxed, Relaxed, |n| (n < MOST).then_some(n + 1));
    }

    pub(crate) fn take_back() {
        if REGRETS.load(Relaxed) > 0 {
            let _ = REGRETS.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }
}

impl Turn for Entry<'_> {
    #[inline(always)]
    fn is_alone(&self) -> bool {
        matches!(self, Self::Alone(_))
    }

    #[inline(always)]
    fn exchange(&self, word: &AtomicUsize, old: usize, new: usize) -> Result<(), usize> {
        match self {
            Self::Alone(inside) => inside.exchange(word, old, new),
            Self::Among(others) => others.exchange(word, old, new),
        }
    }

    #[inline(always)]
    fn add(&self, word: &AtomicUsize, n: usize) -> usize {
        match self {
            Self::Alone(inside) => inside.add(word, n),
            Self::Among(others) => others.add(word, n),
        }
    }
}

impl Turn for Inside<'_> {
    #[inline(always)]
    fn is_alone(&self) -> bool {
        true
    }

    #[inline(always)]
    fn exchange(&self, word: &AtomicUsize, old: usize, new: usize) -> Result<(), usize> {
        debug_assert_eq!(word.load(Ordering::Relaxed), old, "no other thread writes");
        word.store(new, Ordering::Release);
        Ok(())
    }

    #[inline(always)]
    fn add(&self, word: &AtomicUsize, n: usize) -> usize {
        let before = word.load(Ordering::Relaxed);
        word.store(before + n, Ordering::Release);
        before
    }
}

impl Drop for Inside<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.store(FREE, Ordering::Release);
    }
}

impl Turn for Others {
    #[inline(always)]
    fn is_alone(&self) -> bool {
        false
    }

    #[inline(always)]
    fn exchange(&self, word: &AtomicUsize, old: usize, new: usize) -> Result<(), usize> {
        word.compare_exchange(old, new, Ordering::SeqCst, Ordering::Acquire).map(|_| ())
    }

    #[inline(always)]
    fn add(&self, word: &AtomicUsize, n: usize) -> usize {
        word.fetch_add(n, Ordering::AcqRel)
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;

    /// The first user becomes alone and enters, while another thread visits.
    #[test]
    fn what_is_done_alone_is_not_overwritten() {
        loom::model(|| {
            let world = Arc::new((Sole::new(), AtomicUsize::new(0)));
            let add = |(sole, n): &(Sole, AtomicUsize)| {
                sole.enter().add(n, 1);
            };
            let other = {
                let world = Arc::clone(&world);
                thread::spawn(move || add(&world))
            };
            (0..3).for_each(|_| add(&world));
            other.join().unwrap();
            assert_eq!(world.1.load(Ordering::Relaxed), 4);
        });
    }

    /// A thread that did not end the state ALONE itself relies on what it reads. (Two threads that
    /// wait at once are beyond loom, which lets them take turns for ever.)
    #[test]
    fn who_finds_it_shared_is_as_safe_as_who_waited() {
        loom::model(|| {
            let world = Arc::new((Sole::new(), Checked::new(0)));
            let (sole, n) = &*world;
            (0..2).for_each(|_| drop(sole.enter()));
            let read = |n: &Checked<usize>| {
                // SAFETY: the first user has left, and no other thread writes; loom checks it.
                n.with(|n| unsafe { *n })
            };
            let others = [true, false].map(|waits| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    let (sole, n) = &*world;
                    if waits {
                        assert!(!sole.enter().is_alone());
                        read(n);
                    } else if sole.user.load(Ordering::Acquire) == SHARED {
                        read(n);
                    }
                })
            });
            let entry = sole.enter();
            if entry.is_alone() {
                // SAFETY: the thread is alone, so no other thread accesses the number; loom checks
                // it.
                n.with_mut(|n| unsafe { *n += 1 });
            }
            drop(entry);
            others.into_iter().for_each(|other| other.join().unwrap());
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// Returns `true` if the thread can be alone at all.
    fn come_until_alone(sole: &Sole) -> bool {
        // Often enough for any number of regrets.
        (0..1 << 20).any(|_| sole.enter().is_alone())
    }

    #[test]
    fn the_first_user_enters_until_another_comes() {
        barrier::init();
        let sole = Sole::new();
        assert_eq!(come_until_alone(&sole), barrier::is_asymmetric());
        let entry = sole.enter();
        thread::scope(|scope| {
            let other = scope.spawn(|| sole.enter().is_alone());
            if entry.is_alone() {
                while sole.user.load(Ordering::Relaxed) != ENDING {
                    thread::yield_now();
                }
                assert!(!other.is_finished());
            }
            drop(entry);
            assert!(!other.join().unwrap());
        });
        assert_eq!(sole.user.load(Ordering::Relaxed), SHARED);
        assert!(!sole.enter().is_alone());
    }

    /// The second thread visits at any moment while the first one is alone.
    #[test]
    fn nothing_is_lost_when_another_comes() {
        barrier::init();
        for round in 0..200 {
            let (sole, n) = (Sole::new(), AtomicUsize::new(0));
            let lock = SoleLock::new(0);
            come_until_alone(&sole);
            (0..1 << 17).for_each(|_| drop(lock.lock()));
            let start = Barrier::new(2);
            let add = |times| {
                for _ in 0..times {
                    sole.enter().add(&n, 1);
                    *lock.lock() += 1;
                }
            };
            thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    (0..round).for_each(|_| std::hint::spin_loop());
                    add(1_000);
                });
                start.wait();
                add(1_000);
            });
            assert_eq!((n.load(Ordering::Relaxed), *lock.lock()), (2_000, 2_000));
        }
    }
}
