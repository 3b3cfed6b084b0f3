//! Who sleeps no longer than until the next timer is due. `README.md` §9 is about this file.
//!
//! There are two that may: a sleeping worker, the *keeper*; and the monitor. What they have said about
//! their sleep is under one lock, so that of one who inserts a timer and one who goes to sleep, either
//! the first finds out how long the second sleeps, or the second sees the timer.
//!
//! Invariant: for every timer there is somebody who sleeps no longer than until it is due, or somebody
//! awake who will tell of it ([`Watch::tell`]) or look at it ([`Watch::keep`]) before anything else.

use crate::loom::{Mutex, lock};
use crate::runtime::driver::heap::When;

/// How late a timer must be for the monitor to see to it: a worker that gets on looks at its timers more
/// often than that, and is the better place for what they wake.
pub(crate) const GRACE: When = 500_000;

/// The monitor will look at the timers before it sleeps.
const AWAKE: When = 0;

#[derive(Debug)]
pub(crate) struct Watch(Mutex<Watchers>);

#[derive(Debug)]
struct Watchers {
    keeper: Option<Keeper>,
    /// Until when the monitor sleeps.
    sysmon: When,
}

#[derive(Clone, Copy, Debug)]
struct Keeper {
    worker: u32,
    /// Until when it sleeps, if nobody wakes it.
    until: When,
}

/// Whom to wake, because of a timer that is due before they are.
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

    /// A worker goes on to something else while a timer is due at `when`, of which it has not told yet.
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

    /// A worker goes to sleep. Gives until when it may, as the keeper that it then is; nothing if
    /// another keeper sleeps no longer than that. One that would is not woken for it, but followed:
    /// it finds out when it wakes.
    ///
    /// `earliest` is called with the lock held, and gives the earliest deadline of all timers.
    pub(crate) fn keep(&self, worker: u32, earliest: impl FnOnce() -> When) -> Option<When> {
        let mut watchers = lock(&self.0);
        let until = earliest();
        if watchers.keeper.is_some_and(|keeper| keeper.until <= until) {
            return None;
        }
        watchers.keeper = Some(Keeper { worker, until });
        Some(until)
    }

    /// A worker is awake again: true if it was the keeper. What it kept is now its to tell of.
    #[must_use]
    pub(crate) fn unkeep(&self, worker: u32) -> bool {
        let mut watchers = lock(&self.0);
        let kept = watchers.keeper.is_some_and(|keeper| keeper.worker == worker);
        if kept {
            watchers.keeper = None;
        }
        kept
    }

    /// The monitor goes to sleep until `other`, or until a timer is late that no worker keeps. Gives
    /// until when.
    ///
    /// `earliest` as for [`Watch::keep`].
    pub(crate) fn watch(&self, other: When, earliest: impl FnOnce() -> When) -> When {
        let mut watchers = lock(&self.0);
        let timer = earliest();
        let kept = watchers.keeper.is_some_and(|keeper| keeper.until <= timer);
        watchers.sysmon = if kept { other } else { timer.saturating_add(GRACE).min(other) };
        watchers.sysmon
    }

    /// The monitor is awake.
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
        /// The timers of all workers, as the driver has them: written without the lock.
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

        /// After all have acted: somebody wakes up by `when`, or was woken. `awake` is a worker that is
        /// and may be busy for long.
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

    /// A timer comes while a worker goes to sleep and the monitor does.
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

    /// The keeper wakes up for work, while the monitor, which relied on it, goes to sleep; and another
    /// worker does.
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
