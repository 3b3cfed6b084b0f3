//! What one OS thread alone uses, it uses without an atomic read-modify-write.
//!
//! A locked instruction may cost as much as all else that a channel does. As long as one OS thread alone comes to a
//! channel, with whatever green threads it runs, loads and stores do. The first other OS thread that comes ends that
//! for good, and pays for it with a heavy barrier.
//!
//! ```text
//!   FIRST(t)     t made it, and nobody else has come: t counts how often it comes
//!   ALONE(t)     t has come often, and nobody else ever has: t enters
//!   ENDING       somebody else has come, and waits until t is not inside
//!   SHARED       everybody comes, and nobody enters
//!
//!   FIRST -> ALONE -> ENDING -> SHARED,  FIRST -> SHARED
//! ```
//!
//! Invariants:
//! - `user` is changed by atomic read-modify-writes, in the order above. Only t makes ALONE(t) of FIRST(t), so nobody
//!   else has come when it does.
//! - `inside` is written by t alone, who sets it, passes the light side of an asymmetric barrier, and looks whether it
//!   is still ALONE: else t steps back, and has not entered. Others make it ENDING, and whoever finds it so passes the
//!   heavy side and waits until `inside` is not set. So once it is SHARED, t is outside, never enters again, and all that
//!   it did inside has happened before.
//! - Whoever comes and does not enter works as one of many, with atomic read-modify-writes: once it is SHARED, or if it
//!   is t.
//! - Whoever is about to sleep until something changes comes, after it has said so, and looks once more. So what t
//!   changes inside needs no fence before it looks whether anyone sleeps: either the sleeper finds it, or t works as one
//!   of many.
//! - Inside are a few instructions, without user code. Who comes again from inside waits for itself, as with any lock.
//! - The number of an OS thread that has ended may be another's later. What the one did has happened before the other,
//!   which goes on in its name, but not if the one is still inside: in the child of a process that has forked.
//!
//! (Biased locking, as Java's monitors had it until it was found that most are shared. Hence the counting: what is shared
//! early costs nobody a barrier, and after each that was shared late all have to be used twice as often.)

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

/// So often, and each time as often again, its first user sees whether to enter from now on. Few enough times, where
/// speed is not asked for, that every test has both.
const OFTEN: usize = if cfg!(loom) {
    2
} else if cfg!(debug_assertions) {
    8
} else {
    256
};

#[cfg(all(target_os = "linux", not(loom)))]
use gthread_arch::os_thread;

/// Of one that is not SHARED, which there is only where there is an asymmetric barrier.
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

/// Whether something is used by one OS thread alone.
pub(crate) struct Sole {
    user: AtomicUsize,
    /// If FIRST, twice how often t has come. If ALONE or ENDING, [`TAKEN`] while t is inside. Only t writes this.
    inside: AtomicUsize,
}

/// How whoever has come changes words.
#[must_use = "who is alone is inside while this lives"]
pub(crate) enum Entry<'a> {
    Alone(Inside<'a>),
    Among(Others),
}

/// Who is alone is inside while this lives.
pub(crate) struct Inside<'a>(&'a AtomicUsize);

/// One of many: t while it is not alone, or anybody once it is SHARED, or who has the object to itself otherwise.
pub(crate) struct Others(());

impl Others {
    /// Who has the object to itself otherwise.
    pub(crate) fn owner() -> Self {
        Self(())
    }
}

/// What the two do differently. Where it matters, code is compiled for each, and not for an [`Entry`] that is either.
pub(crate) trait Turn {
    fn is_alone(&self) -> bool;

    /// Changes `word` from `old`, as it was read after this entry, to `new`, or gives what it is now. Sequentially
    /// consistent, unless alone.
    fn exchange(&self, word: &AtomicUsize, old: usize, new: usize) -> Result<(), usize>;

    /// Adds to `word`, and gives what it was.
    fn add(&self, word: &AtomicUsize, n: usize) -> usize;
}

impl Sole {
    /// The calling OS thread is its first user. Where the light barrier is a fence too, to enter costs what it saves, so
    /// there it is SHARED.
    pub(crate) fn new() -> Self {
        let user = if barrier::pays() { os_thread() | FIRST } else { SHARED };
        Self { user: AtomicUsize::new(user), inside: AtomicUsize::new(FREE) }
    }

    #[cfg(all(test, loom))]
    pub(crate) fn shared() -> Self {
        Self { user: AtomicUsize::new(SHARED), inside: AtomicUsize::new(FREE) }
    }

    /// Comes, and enters if alone. May wait for another OS thread's few instructions.
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

    /// As [`Sole::enter`], if that takes a few instructions only.
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

    /// By the user, that is ALONE by the look of it: true if it has entered.
    #[inline(always)]
    fn try_inside(&self, user: usize) -> bool {
        if self.inside.load(Ordering::Acquire) == TAKEN {
            return false;
        }
        self.inside.store(TAKEN, Ordering::Relaxed);
        // Whoever has made it ALONE has seen that it pays.
        barrier::light_as_it_pays();
        let is_alone = self.user.load(Ordering::Relaxed) == user;
        if !is_alone {
            self.inside.store(FREE, Ordering::Release);
        }
        is_alone
    }

    /// By the first user: true if it is to see whether it had better be alone.
    #[inline(always)]
    fn count(&self) -> bool {
        let times = self.inside.load(Ordering::Relaxed) / 2 + 1;
        self.inside.store(times * 2, Ordering::Relaxed);
        times.is_multiple_of(OFTEN)
    }

    /// By the first user: false, and nothing has changed, if [`Sole::count`] is going to say true.
    #[inline(always)]
    fn count_unless_due(&self) -> bool {
        let times = self.inside.load(Ordering::Relaxed) / 2 + 1;
        let is_due = times.is_multiple_of(OFTEN);
        if !is_due {
            self.inside.store(times * 2, Ordering::Relaxed);
        }
        !is_due
    }

    /// By the first user: whether it is to be alone from now on. Then nothing is counted any more.
    fn may_be_alone(&self) -> bool {
        let may = regrets::allow(self.inside.load(Ordering::Relaxed) / 2);
        if may {
            self.inside.store(FREE, Ordering::Relaxed);
        }
        may
    }

    /// Comes without entering.
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

    /// It is ENDING, as the caller has seen with acquire: t had seen that there is a heavy barrier, so the caller sees that
    /// too.
    fn wait_until_outside(&self) {
        barrier::heavy();
        let mut patience = Backoff::new();
        // Acquire: what was done inside.
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

/// What became of those that were entered. (The barrier costs some microseconds, entering saves some nanoseconds.)
mod regrets {
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;

    use crate::util::sole::OFTEN;

    /// How many more were shared than remained with one user to the end; from zero to `MOST`.
    static REGRETS: AtomicU32 = AtomicU32::new(0);
    /// So many ask for 65,536 times, which take a third of a millisecond: a barrier is a thirtieth of that.
    const MOST: u32 = 8;

    /// Whether who has come so often, alone, may enter.
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
        debug_assert_eq!(word.load(Ordering::Relaxed), old, "nobody else changes it");
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

    /// One that was first becomes alone and enters, while another comes.
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

    /// Who is not the one that ends it relies on what it finds. (Two that wait at once are beyond loom, which lets
    /// them take turns for ever.)
    #[test]
    fn who_finds_it_shared_is_as_safe_as_who_waited() {
        loom::model(|| {
            let world = Arc::new((Sole::new(), Checked::new(0)));
            let (sole, n) = &*world;
            (0..2).for_each(|_| drop(sole.enter()));
            let read = |n: &Checked<usize>| {
                // SAFETY: the first user has left; loom checks it.
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
                // SAFETY: nobody else is here; loom checks it.
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

    /// True if it can be alone at all.
    fn come_until_alone(sole: &Sole) -> bool {
        // So often that no regrets keep it.
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

    /// The second comes at any moment of the first one's being alone.
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
