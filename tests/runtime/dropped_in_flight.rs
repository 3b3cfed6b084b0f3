//! Runtimes that are dropped while wakes are in flight, at random, for a while (`GTHREAD_STRESS_SECS`). Nobody who lives
//! waits in vain because of it: each live actor has a number of things to do, and does them all.
//!
//! What the doomed own is leaked with them, so they never suspend while they have a lock or a permit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use gthread::channel::{Receiver, Sender, bounded, select, unbounded};
use gthread::sync::{Condvar, Mutex, RwLock, Semaphore};
use gthread::{Leaks, Runtime};
use gthread_tests::{Flag, Random, stress};

const PERMITS: usize = 2;
/// What each live actor does of each kind, and the most that a doomed one does in all.
const STEPS: usize = 12;
const DOOMED_STEPS: usize = 30;

const LIVES: usize = 4;

/// Each leaks address space, of which there is an end.
const MOST_DROPPED: usize = 5000;
static DROPPED: AtomicUsize = AtomicUsize::new(0);

type Ends = (Sender<usize>, Receiver<usize>);

/// What all share.
struct World {
    mutex: Mutex<usize>,
    lock: RwLock<usize>,
    permits: Semaphore,
    tickets: Mutex<usize>,
    added: Condvar,
    channels: [Ends; 4],
    over: Flag,
}

impl World {
    fn new() -> Self {
        Self {
            mutex: Mutex::new(0),
            lock: RwLock::new(0),
            permits: Semaphore::new(PERMITS),
            tickets: Mutex::new(0),
            added: Condvar::new(),
            channels: [bounded(0), bounded(1), bounded(3), unbounded()],
            over: Flag::new(),
        }
    }

    fn use_locks(&self, random: &mut Random) {
        match random.below(6) {
            0 | 1 => *self.mutex.lock().unwrap() += 1,
            2 => drop(self.lock.read()),
            3 => *self.lock.write().unwrap() += 1,
            n => drop(self.permits.acquire_many(n as usize - 3)),
        }
    }

    fn take_ticket(&self) {
        let tickets = self.tickets.lock().unwrap();
        *self.added.wait_while(tickets, |tickets| *tickets == 0).unwrap() -= 1;
    }

    /// Uses up a notification, and passes it on.
    fn see_ticket(&self) {
        let tickets = self.tickets.lock().unwrap();
        drop(self.added.wait_while(tickets, |tickets| *tickets == 0));
        self.added.notify_one();
    }

    fn add_ticket(&self) {
        *self.tickets.lock().unwrap() += 1;
        self.added.notify_one();
    }

    fn receive(&self, random: &mut Random) {
        let (_, rx) = &self.channels[random.below(4) as usize];
        let (_, other) = &self.channels[random.below(4) as usize];
        match random.below(3) {
            0 | 1 => drop(rx.recv()),
            _ => select! {
                recv(rx) -> _ => {}
                recv(other) -> _ => {}
            },
        }
    }

    /// Sends, if there is not a crowd of messages already: false once the channel was closed.
    fn send(&self, channel: usize, random: &mut Random) -> bool {
        let (tx, _) = &self.channels[channel];
        if tx.len() > 100 {
            gthread::sleep(random.micros(100));
            return !self.over.is_up();
        }
        match random.below(3) {
            0 | 1 => tx.send(channel).is_ok(),
            _ => select! { send(tx, channel) -> sent => sent.is_ok() },
        }
    }
}

/// One that may wait wherever it is, and is left there.
fn doomed(world: &World, mut random: Random) {
    for _ in 0..random.below(DOOMED_STEPS as u64) {
        match random.below(8) {
            0..3 => world.use_locks(&mut random),
            3 => world.see_ticket(),
            4 | 5 => world.receive(&mut random),
            6 => drop(world.send(random.below(4) as usize, &mut random)),
            _ => gthread::yield_now(),
        }
    }
}

fn live(world: &World, mut random: Random) {
    for _ in 0..STEPS {
        world.use_locks(&mut random);
        world.take_ticket();
        world.use_locks(&mut random);
        world.receive(&mut random);
    }
}

/// Has `runtime` or an OS thread run it.
fn start(runtime: &Runtime, green: bool, f: impl FnOnce() + Send + 'static) -> impl FnOnce() {
    let (green, os) = match green {
        true => (Some(runtime.spawn(f)), None),
        false => (None, Some(thread::spawn(f))),
    };
    move || {
        green.into_iter().for_each(|thread| thread.join().unwrap());
        os.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn round(living: &Runtime, random: &mut Random) {
    let world = Arc::new(World::new());
    let running = Arc::new(AtomicUsize::new(LIVES));
    let lives = (0..LIVES).map(|n| {
        let (world, random, running) = (Arc::clone(&world), random.fork(), Arc::clone(&running));
        start(living, n % 2 == 0, move || {
            live(&world, random);
            running.fetch_sub(1, SeqCst);
        })
    });
    let lives: Vec<_> = lives.collect();
    // They send as long as anybody may receive.
    let senders = (0..world.channels.len()).map(|channel| {
        let (world, mut random) = (Arc::clone(&world), random.fork());
        start(living, channel % 2 == 0, move || while world.send(channel, &mut random) {})
    });
    let senders: Vec<_> = senders.collect();
    let tickets = {
        let (world, mut random) = (Arc::clone(&world), random.fork());
        start(living, random.one_in(2), move || {
            for _ in 0..LIVES * STEPS {
                world.add_ticket();
                if random.one_in(3) {
                    gthread::sleep(random.micros(50));
                }
            }
        })
    };
    while running.load(SeqCst) > 0 {
        if DROPPED.fetch_add(1, SeqCst) >= MOST_DROPPED {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let workers = 1 + random.below(2) as usize;
        let ending =
            Runtime::builder().workers(workers).report_leaks(Leaks::Ignore).build().unwrap();
        for _ in 0..1 + random.below(12) {
            let (world, random) = (Arc::clone(&world), random.fork());
            ending.spawn(move || doomed(&world, random));
        }
        thread::sleep(random.micros(300));
        drop(ending);
    }
    lives.into_iter().for_each(|join| join());
    tickets();
    world.over.raise();
    world.channels.iter().for_each(|(tx, _)| _ = tx.close());
    senders.into_iter().for_each(|join| join());
}

#[test]
fn whoever_lives_gets_on() {
    stress(round);
}
