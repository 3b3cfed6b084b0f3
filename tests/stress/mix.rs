//! Actors that do anything to anything, by chance, for a while: `GTHREAD_STRESS_SECS`, one second if not
//! set. Prints its seed; `GTHREAD_TEST_SEED` runs it again with the same choices (not the same timing).

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use gthread::channel::{self, Receiver, Sender};
use gthread::{Builder, Thread};
use gthread_tests::{Drops, Random, Token, stress};

/// What all actors of a round share.
struct World {
    channels: Vec<(Sender<Value>, Receiver<Value>)>,
    /// Sums and counts of what went in and came out.
    sent: AtomicU64,
    received: AtomicU64,
    sum_sent: AtomicU64,
    sum_received: AtomicU64,
    made: AtomicUsize,
    drops: Drops,
    started: AtomicUsize,
    ended: AtomicUsize,
    /// Threads to unpark at any time, alive or not.
    threads: Mutex<Vec<Thread>>,
}

struct Value(u64, #[expect(dead_code, reason = "dropped with the value")] Token);

impl World {
    fn new() -> Arc<Self> {
        let channels = [Some(0), Some(0), Some(1), Some(3), None];
        Arc::new(Self {
            channels: channels.map(|c| c.map_or_else(channel::unbounded, channel::bounded)).into(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sum_sent: AtomicU64::new(0),
            sum_received: AtomicU64::new(0),
            made: AtomicUsize::new(0),
            drops: Drops::new(),
            started: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            threads: Mutex::new(Vec::new()),
        })
    }

    fn value(&self, random: &mut Random) -> (u64, Value) {
        self.made.fetch_add(1, Relaxed);
        let n = random.below(1 << 20);
        (n, Value(n, self.drops.token()))
    }

    fn note_sent(&self, n: u64, ok: bool) {
        if ok {
            self.sent.fetch_add(1, Relaxed);
            self.sum_sent.fetch_add(n, Relaxed);
        }
    }

    fn note_received(&self, value: Option<Value>) {
        if let Some(Value(n, _)) = value {
            self.received.fetch_add(1, Relaxed);
            self.sum_received.fetch_add(n, Relaxed);
        }
    }

    /// One random thing. Nothing here waits without a limit for what may not come.
    fn step(self: &Arc<Self>, random: &mut Random, depth: u32) {
        let (tx, rx) = &self.channels[random.below(self.channels.len() as u64) as usize];
        match random.below(if depth == 0 { 12 } else { 17 }) {
            0 => {
                let (n, value) = self.value(random);
                self.note_sent(n, tx.try_send(value).is_ok());
            }
            1 | 2 => {
                let (n, value) = self.value(random);
                self.note_sent(n, tx.send_timeout(value, random.micros(80)).is_ok());
            }
            3 => self.note_received(rx.try_recv().ok()),
            4 | 5 => self.note_received(rx.recv_timeout(random.micros(80)).ok()),
            6 => gthread::yield_now(),
            7 => gthread::sleep(random.micros(60)),
            8 => gthread::park_timeout(random.micros(80)),
            9 => {
                let threads = self.threads.lock().unwrap();
                if let Some(thread) = threads.get(random.below(threads.len() as u64 + 1) as usize) {
                    thread.unpark();
                }
            }
            10 => {
                let mut threads = self.threads.lock().unwrap();
                if threads.len() < 40 {
                    threads.push(gthread::current());
                } else {
                    let place = random.below(40) as usize;
                    threads[place] = gthread::current();
                }
            }
            11 => {
                for _ in 0..random.below(200) {
                    std::hint::spin_loop();
                }
            }
            12 | 13 => {
                let handle = self.actor(random, depth - 1);
                if !random.one_in(3) {
                    handle.join().unwrap();
                }
            }
            14 => {
                let (mut a, mut b) = (random.fork(), random.fork());
                gthread::join(
                    || self.steps(&mut a, 3, depth - 1),
                    || self.steps(&mut b, 3, depth - 1),
                );
            }
            15 => {
                let seeds: Vec<_> = (0..random.below(4)).map(|_| random.fork()).collect();
                let ended = AtomicUsize::new(0);
                let count = seeds.len();
                gthread::scope(|s| {
                    for mut random in seeds {
                        let ended = &ended;
                        s.spawn(move || {
                            self.steps(&mut random, 4, depth - 1);
                            ended.fetch_add(1, Relaxed);
                        });
                        gthread::yield_now();
                    }
                });
                assert_eq!(ended.load(Relaxed), count, "a scope ended early");
            }
            _ => {
                let pause = random.micros(50);
                gthread::blocking(|| {
                    std::thread::sleep(pause);
                    self.step(random, 0);
                });
            }
        }
    }

    fn steps(self: &Arc<Self>, random: &mut Random, count: u64, depth: u32) {
        (0..count).for_each(|_| self.step(random, depth));
    }

    fn actor(self: &Arc<Self>, random: &mut Random, depth: u32) -> gthread::JoinHandle<()> {
        self.started.fetch_add(1, Relaxed);
        let (world, mut own) = (Arc::clone(self), random.fork());
        let count = random.below(30);
        let builder = Builder::new().pinned(random.one_in(8)).queued(random.one_in(4));
        let thread = builder.spawn(move || {
            world.steps(&mut own, count, depth);
            world.ended.fetch_add(1, Release);
        });
        thread.unwrap()
    }
}

#[test]
fn everything_at_once() {
    stress(|runtime, random| {
        let world = World::new();
        let os: Vec<_> = (0..2)
            .map(|_| {
                let (world, mut random) = (Arc::clone(&world), random.fork());
                // On an OS thread what is spawned goes to the default runtime.
                std::thread::spawn(move || world.steps(&mut random, 40, 1))
            })
            .collect();
        let actors: Vec<_> = (0..12)
            .map(|_| {
                let (world, mut random) = (Arc::clone(&world), random.fork());
                runtime.spawn(move || world.actor(&mut random, 3).join().unwrap())
            })
            .collect();
        actors.into_iter().for_each(|actor| actor.join().unwrap());
        os.into_iter().for_each(|thread| thread.join().unwrap());
        // The detached ones too.
        gthread_tests::until(|| world.ended.load(Acquire) == world.started.load(Relaxed));
        gthread_tests::until(|| Arc::strong_count(&world) == 1);
        for (_, rx) in &world.channels {
            rx.try_iter().for_each(|value| world.note_received(Some(value)));
        }
        assert_eq!(world.received.load(Relaxed), world.sent.load(Relaxed));
        assert_eq!(world.sum_received.load(Relaxed), world.sum_sent.load(Relaxed));
        assert_eq!(world.drops.count(), world.made.load(Relaxed));
    });
}
