//! A biased lock: one thread, its owner, takes it without an atomic read-modify-write and without a
//! fence.
//!
//! It is for data that a worker touches at every fork and every wake, and another thread rarely:
//! the other thread pays for both, with a heavy barrier. Java's monitors had such a lock.
//!
//! Invariants:
//! - `inside` is written only by the owner, and is set while the owner uses the value.
//! - `claimed` is set by the only other thread that has the value or is about to have it.
//! - Both sides announce themselves, pass their side of an asymmetric barrier (`util/barrier.rs`),
//!   and then read the other's flag. So at least one of two threads that come at once sees the
//!   other. If the owner sees a claim, it steps back and waits. If the other thread sees the owner
//!   inside, it waits a little and then gives up. So the owner waits for a few instructions of
//!   another thread, and no thread waits for an owner that is preempted.

use std::cell::UnsafeCell;
use std::fmt;

use crate::loom::{AtomicBool, Ordering};
use crate::util::backoff::Backoff;
use crate::util::barrier;

/// How often another thread checks whether the owner has left, before it gives up.
const LOOKS: u32 = if cfg!(loom) { 1 } else { 64 };

pub(crate) struct Biased<T> {
    inside: AtomicBool,
    claimed: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: sending the lock sends the value, which is `Send`.
unsafe impl<T: Send> Send for Biased<T> {}

// SAFETY: another thread reaches the value by `try_with`, or by `with` as the owner. Only one
// thread at a time does, as the head of this file argues, and it may move the value out and in. So
// the value must be `Send`, and need not be `Sync`.
unsafe impl<T: Send> Sync for Biased<T> {}

impl<T> Biased<T> {
    pub(crate) fn new(value: T) -> Self {
        let (inside, claimed) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { inside, claimed, value: UnsafeCell::new(value) }
    }

    /// Calls `f` with the value, as the owner.
    ///
    /// # Safety
    ///
    /// One thread at a time is the owner. `f` does not enter this lock again, and does not panic.
    #[inline(always)]
    pub(crate) unsafe fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.inside.store(true, Ordering::Relaxed);
        barrier::light();
        if self.claimed.load(Ordering::Acquire) {
            self.step_back();
        }
        // SAFETY: the owner is inside and no thread has a claim. A thread that claims from now on
        // sees that the owner is inside.
        let result = f(unsafe { &mut *self.value.get() });
        self.inside.store(false, Ordering::Release);
        result
    }

    /// Waits outside until no other thread has the value, then enters.
    #[cold]
    fn step_back(&self) {
        let mut patience = Backoff::new();
        loop {
            self.inside.store(false, Ordering::Release);
            while self.claimed.load(Ordering::Relaxed) {
                patience.wait();
            }
            self.inside.store(true, Ordering::Relaxed);
            barrier::light();
            if !self.claimed.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Calls `f` with the value, as any thread but the owner. Returns `None` if another thread has
    /// the value. Makes a system call that interrupts every processor that runs a thread of this
    /// process. If `f` panics, the value stays claimed.
    pub(crate) fn try_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let claim =
            self.claimed.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        claim.ok()?;
        barrier::heavy();
        let outside = (0..LOOKS).any(|_| {
            std::hint::spin_loop();
            // Acquire: the owner's writes inside.
            !self.inside.load(Ordering::Acquire)
        });
        // SAFETY: the claim is this thread's, and the owner is outside: it sees the claim before it
        // uses the value.
        let result = outside.then(|| f(unsafe { &mut *self.value.get() }));
        self.claimed.store(false, Ordering::Release);
        result
    }
}

impl<T> fmt::Debug for Biased<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Biased { .. }")
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;

    fn add(n: &Checked<usize>) {
        // SAFETY: the lock is held; loom checks it.
        n.with_mut(|n| unsafe { *n += 1 });
    }

    fn value(lock: &Biased<Checked<usize>>) -> usize {
        // SAFETY: the calling thread has taken the owner's place.
        unsafe { lock.with(|n| n.with(|n| *n)) }
    }

    /// The owner gets in every time, another thread when it can, and never both.
    #[test]
    fn the_owner_and_another_take_turns() {
        loom::model(|| {
            let lock = Arc::new(Biased::new(Checked::new(0)));
            let other = {
                let lock = Arc::clone(&lock);
                thread::spawn(move || lock.try_with(|n| add(n)).is_some())
            };
            for _ in 0..2 {
                // SAFETY: this thread alone is the owner.
                unsafe { lock.with(|n| add(n)) };
            }
            let added = 2 + usize::from(other.join().unwrap());
            assert_eq!(value(&lock), added);
        });
    }

    #[test]
    fn of_two_others_one_may_give_up() {
        loom::model(|| {
            let lock = Arc::new(Biased::new(Checked::new(0)));
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let lock = Arc::clone(&lock);
                    thread::spawn(move || lock.try_with(|n| add(n)).is_some())
                })
                .collect();
            // SAFETY: this thread alone is the owner.
            unsafe { lock.with(|n| add(n)) };
            let won = others.into_iter().filter_map(|other| other.join().unwrap().then_some(()));
            let added = 1 + won.count();
            assert_eq!(value(&lock), added);
        });
    }

    /// A worker makes a task private while sysmon retakes from it: one of them takes the task out
    /// (`Worker::is_retaken`, `runtime/sysmon/retake.rs`).
    #[test]
    fn nothing_stays_private_to_a_covered_worker() {
        loom::model(|| {
            let world = Arc::new((Biased::new(Checked::new(0)), AtomicBool::new(false)));
            let monitor = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    let (private, covered) = &*world;
                    covered.store(true, Ordering::Relaxed);
                    barrier::heavy();
                    // SAFETY: the lock is held; loom checks it.
                    private.try_with(|n| n.with_mut(|n| unsafe { *n = 0 }));
                })
            };
            let (private, covered) = &*world;
            // SAFETY: this thread alone is the owner.
            unsafe { private.with(|n| add(n)) };
            barrier::light();
            if covered.load(Ordering::Relaxed) {
                // SAFETY: this thread alone is the owner.
                unsafe { private.with(|n| n.with_mut(|n| *n = 0)) };
            }
            monitor.join().unwrap();
            assert_eq!(value(private), 0);
        });
    }
}
