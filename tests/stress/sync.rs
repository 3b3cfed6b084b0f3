//! Actors, green threads and OS threads, that use every lock of `gthread::sync` by chance, for a while:
//! `GTHREAD_STRESS_SECS`, one second if not set. Prints its seed; `GTHREAD_TEST_SEED` runs it again with the
//! same choices (not the same timing).

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use gthread::sync::{
    Barrier, Condvar, Mutex, MutexGuard, Once, OnceLock, RwLock, RwLockWriteGuard, Semaphore,
};
use gthread_tests::{Random, stress};

const PERMITS: usize = 4;
/// Numbers that are equal but while they are written.
type Equal = [u64; 4];

/// What all actors of a round share.
struct World {
    mutexes: [Mutex<Equal>; 3],
    locks: [RwLock<Equal>; 2],
    tickets: Mutex<Tickets>,
    changed: Condvar,
    semaphore: Semaphore,
    /// Permits in use.
    inside: AtomicUsize,
    cells: Vec<OnceLock<usize>>,
    onces: Vec<Once>,
    /// Times that each cell was made.
    made: Vec<AtomicUsize>,
    /// All actors meet here in the middle of the round.
    meeting: Barrier,
    leaders: AtomicUsize,
    writes: AtomicUsize,
    locked: AtomicUsize,
}

#[derive(Default)]
struct Tickets {
    left: usize,
    given: usize,
    taken: usize,
}

impl World {
    fn new(actors: usize) -> Self {
        const CELLS: usize = 24;
        Self {
            mutexes: Default::default(),
            locks: Default::default(),
            tickets: Mutex::default(),
            changed: Condvar::new(),
            semaphore: Semaphore::new(PERMITS),
            inside: AtomicUsize::new(0),
            cells: (0..CELLS).map(|_| OnceLock::new()).collect(),
            onces: (0..CELLS).map(|_| Once::new()).collect(),
            made: (0..CELLS).map(|_| AtomicUsize::new(0)).collect(),
            meeting: Barrier::new(actors),
            leaders: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            locked: AtomicUsize::new(0),
        }
    }
}

/// One thread, with its own sequence of choices.
struct Actor<'a> {
    world: &'a World,
    random: Random,
    green: bool,
}

impl Actor<'_> {
    fn run(mut self, steps: usize) {
        for step in 0..2 * steps {
            if step == steps && self.world.meeting.wait().is_leader() {
                self.world.leaders.fetch_add(1, Relaxed);
            }
            match self.random.below(8) {
                0 | 1 => self.lock(),
                2 => self.read(),
                3 => self.write(),
                4 => self.give_tickets(),
                5 => self.take_ticket(),
                6 => self.acquire(),
                _ => self.make(),
            }
        }
    }

    /// Sometimes lets others run, for so long or so.
    fn dither(&mut self) {
        match self.random.below(12) {
            0 | 1 if self.green => gthread::yield_now(),
            0 | 1 => std::thread::yield_now(),
            2 if self.green => drop(gthread::spawn(|| ()).join()),
            3 => gthread::sleep(self.random.micros(30)),
            4 => {
                for _ in 0..self.random.below(200) {
                    std::hint::spin_loop();
                }
            }
            _ => {}
        }
    }

    /// Some of the mutexes at once, in order; now and then a panic poisons them.
    fn lock(&mut self) {
        let world = self.world;
        let which = 1 + self.random.below(7);
        let panics = self.random.one_in(40);
        let tries = self.random.one_in(4);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let mut held: Vec<MutexGuard<'_, Equal>> = Vec::new();
            for (n, mutex) in world.mutexes.iter().enumerate() {
                if which >> n & 1 == 0 {
                    continue;
                }
                let guard = if tries { mutex.try_lock().ok() } else { None };
                held.push(guard.unwrap_or_else(|| {
                    mutex.lock().unwrap_or_else(|error| {
                        mutex.clear_poison();
                        error.into_inner()
                    })
                }));
                self.dither();
            }
            for guard in &mut held {
                self.step(guard);
                world.locked.fetch_add(1, Relaxed);
            }
            if panics {
                resume_unwind(Box::new(()));
            }
        }));
        assert_eq!(ended.is_err(), panics);
    }

    /// One more, not all at the same time.
    fn step(&mut self, numbers: &mut Equal) {
        assert_eq!(*numbers, [numbers[0]; 4]);
        for (n, number) in numbers.iter_mut().enumerate() {
            *number += 1;
            if n == 1 {
                self.dither();
            }
        }
    }

    fn read(&mut self) {
        let lock = &self.world.locks[self.random.below(2) as usize];
        let numbers = lock.read().unwrap();
        let before = *numbers;
        self.dither();
        assert_eq!(*numbers, before);
        assert_eq!(*numbers, [numbers[0]; 4]);
    }

    fn write(&mut self) {
        let lock = &self.world.locks[self.random.below(2) as usize];
        let tried = if self.random.one_in(3) { lock.try_write().ok() } else { None };
        let mut numbers = tried.unwrap_or_else(|| lock.write().unwrap());
        self.step(&mut numbers);
        self.world.writes.fetch_add(1, Relaxed);
        if self.random.one_in(3) {
            let numbers = RwLockWriteGuard::downgrade(numbers);
            let before = *numbers;
            self.dither();
            assert_eq!(*numbers, before);
        }
    }

    fn give_tickets(&mut self) {
        let mut tickets = self.world.tickets.lock().unwrap();
        let n = 1 + self.random.below(3) as usize;
        tickets.left += n;
        tickets.given += n;
        if self.random.one_in(2) {
            drop(tickets);
        }
        if n == 1 { self.world.changed.notify_one() } else { self.world.changed.notify_all() }
    }

    /// Waits for a ticket, for a time: nobody promises that there will be one.
    fn take_ticket(&mut self) {
        let patience = self.random.micros(300);
        let tickets = self.world.tickets.lock().unwrap();
        let none = |tickets: &mut Tickets| tickets.left == 0;
        let (mut tickets, result) =
            self.world.changed.wait_timeout_while(tickets, patience, none).unwrap();
        if result.timed_out() {
            assert_eq!(tickets.left, 0);
        } else {
            tickets.left -= 1;
            tickets.taken += 1;
        }
    }

    fn acquire(&mut self) {
        let world = self.world;
        let many = 1 + self.random.below(PERMITS as u64) as usize;
        let permit = match self.random.below(3) {
            0 => world.semaphore.try_acquire_many(many),
            1 => world.semaphore.acquire_many_timeout(many, self.random.micros(200)),
            _ => Some(world.semaphore.acquire_many(many)),
        };
        if let Some(permit) = permit {
            let inside = world.inside.fetch_add(many, Relaxed) + many;
            assert!(inside <= PERMITS);
            self.dither();
            world.inside.fetch_sub(many, Relaxed);
            drop(permit);
        }
    }

    /// Makes a value that others may be making or waiting for; sometimes that fails.
    fn make(&mut self) {
        let world = self.world;
        let n = self.random.below(world.cells.len() as u64) as usize;
        let fails = self.random.one_in(4);
        let cell = &world.cells[n];
        let made = catch_unwind(AssertUnwindSafe(|| {
            *cell.get_or_init(|| {
                self.dither();
                if fails {
                    resume_unwind(Box::new(()));
                }
                world.made[n].fetch_add(1, Relaxed);
                n
            })
        }));
        assert!(made.is_ok_and(|made| made == n) || fails);
        world.onces[n].call_once_force(|_| self.dither());
        assert!(world.onces[n].is_completed());
    }
}

#[test]
fn everything_at_once() {
    stress(|runtime, random| {
        let green = 2 + random.below(12) as usize;
        let os = random.below(4) as usize;
        let steps = 5 + random.below(60) as usize;
        let world = Arc::new(World::new(green + os));
        let threads: Vec<_> = (0..os)
            .map(|_| {
                let (world, random) = (Arc::clone(&world), random.fork());
                std::thread::spawn(move || Actor { world: &world, random, green: false }.run(steps))
            })
            .collect();
        let tasks: Vec<_> = (0..green)
            .map(|_| {
                let (world, random) = (Arc::clone(&world), random.fork());
                runtime.spawn(move || Actor { world: &world, random, green: true }.run(steps))
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());

        // All is at rest, and everything adds up.
        assert_eq!(world.leaders.load(Relaxed), 1);
        assert!(world.semaphore.try_acquire_many(PERMITS).is_some());
        let total: u64 = world
            .mutexes
            .iter()
            .map(|mutex| {
                mutex.clear_poison();
                mutex.try_lock().unwrap()[0]
            })
            .sum();
        assert_eq!(total, world.locked.load(Relaxed) as u64);
        let total: u64 = world.locks.iter().map(|lock| lock.try_write().unwrap()[0]).sum();
        assert_eq!(total, world.writes.load(Relaxed) as u64);
        let tickets = world.tickets.try_lock().unwrap();
        assert_eq!(tickets.given, tickets.taken + tickets.left);
        for (cell, made) in world.cells.iter().zip(&world.made) {
            assert_eq!(made.load(Relaxed), usize::from(cell.get().is_some()));
        }
    });
}

/// Waiters that come and go at a lock that changes hands as fast as it can: for the hand-over between those
/// who lock without waiting and those who wait.
#[test]
fn short_turns() {
    stress(|runtime, random| {
        let shared = Arc::new((Mutex::new(0_u64), RwLock::new(0_u64), Semaphore::new(1)));
        let actor = |mut random: Random| {
            let shared = Arc::clone(&shared);
            move || {
                for _ in 0..2_000 {
                    match random.below(5) {
                        0 | 1 => *shared.0.lock().unwrap() += 1,
                        2 => *shared.1.write().unwrap() += 1,
                        3 => drop(shared.1.read().unwrap()),
                        _ => drop(shared.2.acquire()),
                    }
                }
            }
        };
        let tasks: Vec<_> = (0..8).map(|_| runtime.spawn(actor(random.fork()))).collect();
        let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(actor(random.fork()))).collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(shared.0.try_lock().is_ok() && shared.1.try_write().is_ok());
        assert!(shared.2.try_acquire().is_some());
    });
}

/// Timeouts that end about when they are no longer needed.
#[test]
fn close_timeouts() {
    stress(|runtime, random| {
        let shared = Arc::new((Mutex::new(0_usize), Condvar::new(), Semaphore::new(0)));
        let count = 1 + random.below(8) as usize;
        let takers: Vec<_> = (0..count)
            .map(|_| {
                let (shared, mut random) = (Arc::clone(&shared), random.fork());
                runtime.spawn(move || {
                    let mut permits = 0;
                    let mut tickets = shared.0.lock().unwrap();
                    while *tickets < count {
                        let timeout = random.micros(60);
                        tickets = shared.1.wait_timeout(tickets, timeout).unwrap().0;
                        if random.one_in(2) {
                            drop(tickets);
                            let timeout = Duration::from_micros(random.below(40));
                            if let Some(permit) = shared.2.acquire_timeout(timeout) {
                                permit.forget();
                                permits += 1;
                            }
                            tickets = shared.0.lock().unwrap();
                        }
                    }
                    permits
                })
            })
            .collect();
        for _ in 0..count {
            std::thread::sleep(random.micros(50));
            *shared.0.lock().unwrap() += 1;
            shared.1.notify_one();
            shared.2.add_permits(1);
        }
        shared.1.notify_all();
        let taken: usize = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        assert_eq!(taken + shared.2.available_permits(), count);
    });
}
