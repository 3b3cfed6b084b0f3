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
//!   is still ALONE: else t steps back, and has not entered. Others find or make it ENDING, pass the heavy side, and wait
//!   until `inside` is not set. So once it is SHARED, t is outside, never enters again, and all that it did inside has
//!   happened before.
//! - Whoever comes and does not enter works as one of many, with atomic read-modify-writes: once it is SHARED, or if it
//!   is t.
//! - Whoever is about to sleep until something changes comes, after it has said so, and looks once more. So what t
//!   changes inside needs no fence before it looks whether anyone sleeps: either the sleeper finds it, or t works as one
//!   of many.
//! - Inside are a few instructions, or a switch after which the worker leaves in the name of who entered
//!   ([`Held`](crate::spin::Held)); no user code, but for an allocator under a [`SoleLock`]. Who comes again from inside
//!   waits for itself, as with any lock.
//! - The number of an OS thread that has ended may be another's later. What the one did has happened before the other,
//!   which goes on in its name, but not if the one is still inside: in the child of a process that has forked.
//!
//! (Biased locking, as Java's monitors had it until it was found that most are shared. Hence the counting: what is shared
//! early costs nobody a barrier, and when it was shared late, others have to come alone twice as often.)

use std::fmt;

use crate::prim::{AtomicU32, AtomicUsize, Ordering, barrier};
use crate::spin::{FREE, Patience, SpinGuard, SpinLock, TAKEN};

const SHARED: usize = 0;
const FIRST: usize = 1;
const ALONE: usize = 2;
const ENDING: usize = 4;

/// So often, and each time as often again, its first user sees whether to enter from now on. Few enough times, where
/// speed is not asked for, that every test has both.
const OFTEN: u32 = if cfg!(loom) {
    1
} else if cfg!(debug_assertions) {
    8
} else {
    256
};

#[cfg(not(loom))]
use gthread_arch::os_thread;

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
    /// [`TAKEN`] while the user is inside, else [`FREE`].
    inside: AtomicUsize,
    /// How often the first user has come. It alone writes this.
    times: AtomicU32,
}

/// Whoever has come. Who is alone is inside while this lives.
#[must_use = "who is alone is inside while this lives"]
pub(crate) struct Entry<'a>(Option<&'a AtomicUsize>);

impl Sole {
    /// The calling OS thread is its first user.
    pub(crate) fn new() -> Self {
        let numbered = cfg!(any(target_os = "linux", loom));
        Self {
            user: AtomicUsize::new(if numbered { os_thread() | FIRST } else { SHARED }),
            inside: AtomicUsize::new(FREE),
            times: AtomicU32::new(0),
        }
    }

    /// Comes, and enters if alone. May wait for another OS thread's few instructions.
    #[inline(always)]
    pub(crate) fn enter(&self) -> Entry<'_> {
        Entry(self.try_enter().then_some(&self.inside))
    }

    #[inline(always)]
    fn try_enter(&self) -> bool {
        let user = self.user.load(Ordering::Acquire);
        if user == SHARED {
            return false;
        }
        let me = os_thread();
        if user == me | ALONE {
            if self.inside.load(Ordering::Acquire) == FREE {
                self.inside.store(TAKEN, Ordering::Relaxed);
                barrier::light();
                if self.user.load(Ordering::Relaxed) == user {
                    return true;
                }
                self.inside.store(FREE, Ordering::Release);
                return false;
            }
        } else if user == me | FIRST {
            let times = self.times.load(Ordering::Relaxed).wrapping_add(1);
            self.times.store(times, Ordering::Relaxed);
            if !times.is_multiple_of(OFTEN) {
                return false;
            }
        }
        self.come(user);
        false
    }

    /// Comes without entering.
    #[cold]
    fn come(&self, mut user: usize) {
        let me = os_thread();
        while user != SHARED {
            let next = if user == me | FIRST {
                if !regrets::allow(self.times.load(Ordering::Relaxed)) {
                    return;
                }
                me | ALONE
            } else if user & FIRST != 0 {
                SHARED
            } else if user & ALONE != 0 {
                ENDING
            } else {
                return self.end();
            };
            match self.user.compare_exchange(user, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if next == me | ALONE => return,
                Ok(_) => user = next,
                Err(now) => user = now,
            }
        }
    }

    /// It is `ENDING`: waits until nobody is inside.
    fn end(&self) {
        barrier::heavy();
        let mut patience = Patience::new();
        // Acquire: what was done inside.
        while self.inside.load(Ordering::Acquire) != FREE {
            patience.wait();
        }
        if self.user.swap(SHARED, Ordering::AcqRel) == ENDING {
            regrets::add();
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

impl fmt::Debug for Sole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sole { .. }")
    }
}

/// What became of those that were entered. (The barrier costs some microseconds, entering saves some nanoseconds.)
mod regrets {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::OFTEN;
    use crate::prim::barrier;

    /// How many more were shared than remained with one user to the end, up to a limit.
    static REGRETS: AtomicU32 = AtomicU32::new(0);
    /// With so many, whoever has to come so often pays for a barrier with a hundredth of what it took.
    const MOST: u32 = 8;

    /// Whether who has come so often, alone, may enter.
    pub(super) fn allow(times: u32) -> bool {
        if cfg!(loom) {
            return true;
        }
        let enough = cfg!(debug_assertions) || times >> REGRETS.load(Relaxed) >= OFTEN;
        // Where the light barrier is a fence too, to enter costs what it saves.
        enough && barrier::is_asymmetric()
    }

    pub(super) fn add() {
        let _ = REGRETS.fetch_update(Relaxed, Relaxed, |n| (n < MOST).then_some(n + 1));
    }

    pub(super) fn take_back() {
        if REGRETS.load(Relaxed) > 0 {
            let _ = REGRETS.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }
}

impl Entry<'_> {
    /// Of who has the object to itself otherwise.
    pub(crate) fn of_owner() -> Self {
        Self(None)
    }

    /// Changes `word` from `old`, which it just was, to `new`, or gives what it is now. Of those who are not alone each
    /// does so in a sequentially consistent way.
    #[inline(always)]
    pub(crate) fn exchange(&self, word: &AtomicUsize, old: usize, new: usize) -> Result<(), usize> {
        if self.is_alone() {
            // Nobody else changes it.
            word.store(new, Ordering::Release);
            return Ok(());
        }
        word.compare_exchange(old, new, Ordering::SeqCst, Ordering::Acquire).map(|_| ())
    }

    /// Adds to `word`, and gives what it was.
    #[inline(always)]
    pub(crate) fn add(&self, word: &AtomicUsize, n: usize) -> usize {
        if self.is_alone() {
            let before = word.load(Ordering::Relaxed);
            word.store(before + n, Ordering::Release);
            return before;
        }
        word.fetch_add(n, Ordering::AcqRel)
    }

    #[inline(always)]
    pub(crate) fn is_alone(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Entry<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(inside) = self.0 {
            inside.store(FREE, Ordering::Release);
        }
    }
}

/// A [`SpinLock`] that who uses it alone takes by entering.
pub(crate) struct SoleLock<T> {
    sole: Sole,
    lock: SpinLock<T>,
}

impl<T> SoleLock<T> {
    /// The calling OS thread is its first user.
    pub(crate) fn new(value: T) -> Self {
        Self { sole: Sole::new(), lock: SpinLock::new(value) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> SpinGuard<'_, T> {
        if self.sole.try_enter() {
            // SAFETY: who is inside has the value to itself, until the word says that it has left.
            unsafe { self.lock.guard_by(&self.sole.inside) }
        } else {
            self.lock.lock()
        }
    }
}

impl<T> fmt::Debug for SoleLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SoleLock { .. }")
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;

    fn add(lock: &SoleLock<Checked<usize>>) {
        // SAFETY: the lock is held; loom checks it.
        lock.lock().with_mut(|n| unsafe { *n += 1 });
    }

    fn value(lock: &SoleLock<Checked<usize>>) -> usize {
        // SAFETY: as above.
        lock.lock().with(|n| unsafe { *n })
    }

    /// One that was first becomes alone and enters, while another comes.
    #[test]
    fn nobody_is_inside_while_another_has_the_lock() {
        loom::model(|| {
            let lock = Arc::new(SoleLock::new(Checked::new(0)));
            let other = {
                let lock = Arc::clone(&lock);
                thread::spawn(move || add(&lock))
            };
            (0..3).for_each(|_| add(&lock));
            other.join().unwrap();
            assert_eq!(value(&lock), 4);
        });
    }

    /// Who is not the one that ends it relies on what it finds. (Two that wait at once are beyond loom, which lets
    /// them take turns for ever.)
    #[test]
    fn who_finds_it_shared_is_as_safe_as_who_waited() {
        loom::model(|| {
            let world = Arc::new((Sole::new(), Checked::new(0)));
            let (sole, n) = &*world;
            drop(sole.enter());
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

    fn user_of<T>(lock: &SoleLock<T>) -> usize {
        lock.sole.user.load(Ordering::Relaxed)
    }

    fn use_alone(lock: &SoleLock<u64>) {
        // More often than the most regrets ask for.
        while user_of(lock) & ALONE == 0 {
            *lock.lock() += 1;
        }
    }

    #[test]
    fn the_first_user_enters_until_another_comes() {
        barrier::init();
        if !barrier::is_asymmetric() {
            return;
        }
        let lock = SoleLock::new(0);
        use_alone(&lock);
        let guard = lock.lock();
        assert_eq!(lock.sole.inside.load(Ordering::Relaxed), TAKEN);
        thread::scope(|scope| {
            let other = scope.spawn(|| *lock.lock() = 1);
            while user_of(&lock) != ENDING {
                thread::yield_now();
            }
            assert!(!other.is_finished());
            assert_ne!(*guard, 1);
            drop(guard);
        });
        assert_eq!(user_of(&lock), SHARED);
        assert_eq!(*lock.lock(), 1);
        assert_eq!(lock.sole.inside.load(Ordering::Relaxed), FREE);
    }

    /// The second comes at any moment of the first one's being alone.
    #[test]
    fn nothing_is_lost_when_another_comes() {
        barrier::init();
        for round in 0..if cfg!(debug_assertions) { 200 } else { 20 } {
            let lock = SoleLock::new(0);
            if barrier::is_asymmetric() {
                use_alone(&lock);
            }
            let before = *lock.lock();
            let start = Barrier::new(2);
            let add = |times| (0..times).for_each(|_| *lock.lock() += 1);
            thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    (0..round).for_each(|_| std::hint::spin_loop());
                    add(1_000);
                });
                start.wait();
                add(1_000);
            });
            assert_eq!(*lock.lock(), before + 2_000);
        }
    }
}
