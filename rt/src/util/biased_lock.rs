//! A lock that one thread, its owner, takes without an atomic read-modify-write and without a fence.
//!
//! For what a worker touches at every fork and every wake, and another thread once in a while: the other
//! pays for both, with a heavy barrier.
//!
//! Invariants:
//! - `inside` is written by the owner alone, and set while it uses the value.
//! - `claimed` is set by the one other thread that has, or is about to have, the value.
//! - Both announce themselves, pass their side of an asymmetric barrier (`prim::barrier`), and look at the
//!   other's flag: so at least one of two that come at once sees the other. The owner, if it sees a claim,
//!   steps back and waits; the other, if it sees the owner inside, waits a little and then gives up. So the
//!   owner waits for another's few instructions, and nobody waits for an owner that is preempted.
//!
//! (Known as a biased or asymmetric lock; Java's monitors had one.)

use std::cell::UnsafeCell;
use std::fmt;

use crate::loom::{AtomicBool, Ordering};
use crate::util::backoff::Backoff;
use crate::util::barrier;

/// How often another thread looks again whether the owner has left.
const LOOKS: u32 = if cfg!(loom) { 1 } else { 64 };

pub(crate) struct Biased<T> {
    inside: AtomicBool,
    claimed: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: with the lock goes the value, which is `Send`.
unsafe impl<T: Send> Send for Biased<T> {}

// SAFETY: another thread reaches the value by `try_with`, or by `with` as the owner: one at a time, as the head of this
// file argues, which may move it out and in. So it need be `Send`, and no more.
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
    /// One thread at a time is the owner, `f` does not come here again, and does not panic.
    #[inline(always)]
    pub(crate) unsafe fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.inside.store(true, Ordering::Relaxed);
        barrier::light();
        if self.claimed.load(Ordering::Acquire) {
            self.step_back();
        }
        // SAFETY: we are inside and nobody has a claim; whoever claims from now on sees that we are.
        let result = f(unsafe { &mut *self.value.get() });
        self.inside.store(false, Ordering::Release);
        result
    }

    /// Waits, outside, until no other thread has the value; then is inside.
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

    /// Calls `f` with the value, as any thread but the owner, unless somebody else has it: `None` then. A
    /// system call that interrupts every processor which runs a thread of this process.
    pub(crate) fn try_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let claim =
            self.claimed.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        claim.ok()?;
        barrier::heavy();
        let outside = (0..LOOKS).any(|_| {
            std::hint::spin_loop();
            // Acquire: what the owner did inside.
            !self.inside.load(Ordering::Acquire)
        });
        // SAFETY: the claim is ours, and the owner is outside: it sees the claim before it uses the value.
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

    /// The owner gets in every time, another when it can, and never both.
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

    /// A worker makes a task private while the monitor finds it stuck: one of them takes the task out
    /// (`Worker::is_retaken`, `monitor::cover`).
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
                // SAFETY: as above.
                unsafe { private.with(|n| n.with_mut(|n| *n = 0)) };
            }
            monitor.join().unwrap();
            assert_eq!(value(private), 0);
        });
    }
}
