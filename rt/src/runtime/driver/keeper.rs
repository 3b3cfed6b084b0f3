//! The keeper and sysmon, which sleep no longer than until the next timer is due. `README.md` §9 is
//! about this file.
//!
//! Two threads may be responsible for the timers: a sleeping worker, the *keeper*, and sysmon. Both
//! announce until when they sleep, under one lock. So of a worker that inserts a timer and a thread
//! that goes to sleep, either the worker sees how long the thread sleeps, or the thread sees the
//! timer.
//!
//! Invariant: for every timer there is a thread that sleeps no longer than until the timer is due,
//! or an awake worker that will notify of it ([`Watch::tell`]) or look at it ([`Watch::keep`])
//! before anything else. (With timer slack (`worker/park.rs`) a keeper may sleep up to 0.1 ms
//! longer than it has announced.)

use crate::loom::{Mutex, lock};
use crate::runtime::driver::heap::When;

/// How late a timer must be before sysmon fires it. A worker that makes progress looks at its
/// timers more often than that, and is the better place for the threads that they wake.
pub(crate) const GRACE: When = 500_000;

/// Sysmon will look at the timers before it sleeps.
const AWAKE: When = 0;

#[derive(Debug)]
pub(crate) struct Watch(Mutex<Watchers>);

#[derive(Debug)]
struct Watchers {
    keeper: Option<Keeper>,
    /// Until when sysmon sleeps.
    sysmon: When,
}

#[derive(Clone, Copy, Debug)]
struct Keeper {
    worker: u32,
    /// Until when the keeper sleeps, if it is not woken.
    until: When,
}

/// The thread to wake because a timer is due before it wakes up by itself.
#[must_use = "nobody else will see to the timer"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notify {
    Nobody,
    Keeper(u32),
    Sysmon,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Watchers { keeper: None, sysmon: AWAKE }))
    }

    /// Notifies of a timer that is due at `when`: its worker goes on to something else and has not
    /// announced it yet.
    pub(crate) fn tell(&self, when: When) -> Notify {
        let watchers = lock(&self.0);
        if watchers.sysmon <= when.saturating_add(GRACE) {
            return Notify::Nobody;
        }
        match watchers.keeper {
            Some(keeper) if keeper.until <= when => Notify::Nobody,
            Some(keeper) => Notify::Keeper(keeper.worker),
            None => Notify::Sysmon,
        }
    }

    /// Announces that a worker goes to sleep. Returns until when it may sleep as the new keeper, or
    /// `None` if another keeper sleeps no longer than that. A keeper that would sleep longer is not
    /// woken but followed: it finds out when it wakes.
    ///
    /// `earliest` is called with the lock held, and returns the earliest deadline of all timers.
    pub(crate) fn keep(&self, worker: u32, earliest: impl FnOnce() -> When) -> Option<When> {
        let mut watchers = lock(&self.0);
        let until = earliest();
        if watchers.keeper.is_some_and(|keeper| keeper.until <= until) {
            return None;
        }
        watchers.keeper = Some(Keeper { worker, until });
        Some(until)
    }

    /// Announces that a worker is awake. Returns `true` if it was the keeper; it must then notify
    /// of the timers that it kept.
    #[must_use]
    pub(crate) fn unkeep(&self, worker: u32) -> bool {
        let mut watchers = lock(&self.0);
        let kept = watchers.keeper.is_some_and(|keeper| keeper.worker == worker);
        if kept {
            watchers.keeper = None;
        }
        kept
    }

    /// Announces that sysmon goes to sleep until `other`, or until a timer is late that no worker
    /// keeps. Returns until when.
    ///
    /// `earliest` is called like in [`Watch::keep`].
    pub(crate) fn watch(&self, other: When, earliest: impl FnOnce() -> When) -> When {
        let mut watchers = lock(&self.0);
        let timer = earliest();
        let kept = watchers.keeper.is_some_and(|keeper| keeper.until <= timer);
        watchers.sysmon = if kept { other } else { timer.saturating_add(GRACE).min(other) };
        watchers.sysmon
    }

    /// Announces that sysmon is awake.
    pub(crate) fn unwatch(&self) {
        lock(&self.0).sysmon = AWAKE;
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::{AtomicU64, Ordering};
    use crate::runtime::driver::heap::NEVER;
    use loom::sync::Arc;
    use loom::thread;

    const SOON: When = 5;
    const LOOK: When = SOON + GRACE + 1;
    const LATER: When = 9;

    struct World {
        watch: Watch,
        /// The timers of all workers, as in the driver: written without the lock.
        earliest: AtomicU64,
        told: [AtomicU64; 2],
    }

    impl World {
        fn new(earliest: When) -> Arc<Self> {
            let told = [AtomicU64::new(0), AtomicU64::new(0)];
            Arc::new(Self { watch: Watch::new(), earliest: AtomicU64::new(earliest), told })
        }

        fn earliest(&self) -> When {
            self.earliest.load(Ordering::Relaxed)
        }

        fn insert_and_tell(&self, when: When) {
            self.earliest.store(when, Ordering::Relaxed);
            self.tell(when);
        }

        fn tell(&self, when: When) {
            match self.watch.tell(when) {
                Notify::Nobody => {}
                Notify::Keeper(_) => self.told[0].store(1, Ordering::Relaxed),
                Notify::Sysmon => self.told[1].store(1, Ordering::Relaxed),
            }
        }

        /// Asserts, after all threads have acted, that one of them wakes up by `when` or was woken.
        /// `awake` is a worker that is awake and may be busy for long.
        fn assert_covered(&self, when: When, awake: u32) {
            let watchers = lock(&self.watch.0);
            let told = |n: usize| self.told[n].load(Ordering::Relaxed) != 0;
            let sleeper = watchers.keeper.filter(|keeper| keeper.worker != awake);
            let kept = sleeper.is_some_and(|keeper| keeper.until <= when || told(0));
            assert!(
                kept || watchers.sysmon <= when + GRACE || told(1),
                "nobody wakes for the timer"
            );
        }
    }

    /// A timer comes while a worker and sysmon go to sleep.
    #[test]
    fn a_new_timer_is_seen_or_told_of() {
        loom::model(|| {
            let world = World::new(NEVER);
            let spawn = |act: fn(&World)| {
                let world = Arc::clone(&world);
                thread::spawn(move || act(&world))
            };
            let others = [
                spawn(|world| _ = world.watch.keep(1, || world.earliest())),
                spawn(|world| _ = world.watch.watch(NEVER, || world.earliest())),
            ];
            world.insert_and_tell(SOON);
            others.into_iter().for_each(|thread| thread.join().unwrap());
            world.assert_covered(SOON, 0);
        });
    }

    /// The keeper wakes up for work, while sysmon, which relied on it, and another worker go to
    /// sleep.
    #[test]
    fn what_was_kept_is_told_of() {
        loom::model(|| {
            let world = World::new(SOON);
            assert_eq!(world.watch.keep(1, || world.earliest()), Some(SOON));
            let spawn = |act: fn(&World)| {
                let world = Arc::clone(&world);
                thread::spawn(move || act(&world))
            };
            let others = [
                spawn(|world| _ = world.watch.watch(LOOK, || world.earliest())),
                spawn(|world| _ = world.watch.keep(2, || world.earliest())),
            ];
            if world.watch.unkeep(1) {
                world.tell(SOON);
            }
            others.into_iter().for_each(|thread| thread.join().unwrap());
            world.assert_covered(SOON, 1);
        });
    }

    /// A worker with an earlier timer follows a keeper, which wakes up meanwhile.
    #[test]
    fn a_keeper_may_be_followed() {
        loom::model(|| {
            let world = World::new(LATER);
            assert_eq!(world.watch.keep(1, || world.earliest()), Some(LATER));
            assert_eq!(world.watch.watch(NEVER, || world.earliest()), NEVER);
            let other = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    world.earliest.store(SOON, Ordering::Relaxed);
                    assert_eq!(world.watch.keep(2, || world.earliest()), Some(SOON));
                })
            };
            if world.watch.unkeep(1) {
                world.tell(world.earliest());
            }
            other.join().unwrap();
            world.assert_covered(SOON, 1);
        });
    }
}
