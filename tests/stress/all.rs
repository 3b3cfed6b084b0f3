//! Everything at once, by chance, for a while: `GTHREAD_STRESS_SECS`, one second if not set. Each test
//! prints its seed; `GTHREAD_TEST_SEED` runs it again with the same choices (not the same timing).

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::time::{Duration, Instant};

use gthread::channel::{self, Sender};
use gthread::sync::WaitGroup;
use gthread::{Builder, Thread, go};
use gthread_tests::{Drops, Flag, Random, Token, runtime, stress, yield_until};

// ---- channels and timeouts --------------------------------------------------------------------

/// Each value is its sender's or its receiver's, whoever gives up when.
#[test]
fn timeouts_against_sends_and_receives() {
    stress(|runtime, random| {
        for capacity in [0, 1] {
            let (tx, rx) = channel::bounded(capacity);
            let drops = Drops::new();
            let (made, sent, received) = (Count::new(), Count::new(), Count::new());
            let ending = WaitGroup::new();
            let sender = |mut random: Random| {
                let (tx, drops, ending) = (tx.clone(), drops.clone(), ending.clone());
                let (made, sent) = (made.clone(), sent.clone());
                ending.add(1);
                move || {
                    for _ in 0..60 {
                        made.add(1);
                        let timeout = random.micros(40);
                        if tx.send_timeout(drops.token(), timeout).is_ok() {
                            sent.add(1);
                        }
                    }
                    ending.done();
                }
            };
            let receiver = |mut random: Random| {
                let (rx, received) = (rx.clone(), received.clone());
                move || {
                    loop {
                        match rx.recv_timeout(random.micros(40)) {
                            Ok(_) => received.add(1),
                            Err(channel::RecvTimeoutError::Timeout) => {}
                            Err(channel::RecvTimeoutError::Disconnected) => break,
                        }
                    }
                }
            };
            let mut green = Vec::new();
            for _ in 0..4 {
                green.push(runtime.spawn(sender(random.fork())));
                green.push(runtime.spawn(receiver(random.fork())));
            }
            let os = [
                std::thread::spawn(sender(random.fork())),
                std::thread::spawn(receiver(random.fork())),
            ];
            ending.wait();
            drop(tx);
            green.into_iter().for_each(|thread| thread.join().unwrap());
            os.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(sent.get(), received.get());
            assert_eq!(drops.count(), made.get());
        }
    });
}

#[derive(Clone)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(0)))
    }
    fn add(&self, n: usize) {
        self.0.fetch_add(n, SeqCst);
    }
    fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// Receivers without a timeout among others with one: if a value is swallowed, they wait for ever.
#[test]
fn patient_and_impatient_receivers() {
    stress(|runtime, random| {
        for capacity in [Some(0), Some(1), None] {
            let (tx, rx) = capacity.map_or_else(channel::unbounded, channel::bounded);
            let stop = Flag::new();
            let impatient: Vec<_> = (0..3)
                .map(|_| {
                    let (rx, stop, mut random) = (rx.clone(), stop.clone(), random.fork());
                    runtime.spawn(move || {
                        let mut count = 0;
                        while !stop.is_up() {
                            count += usize::from(rx.recv_timeout(random.micros(30)).is_ok());
                        }
                        count
                    })
                })
                .collect();
            let patient: Vec<_> = (0..3)
                .map(|_| {
                    let rx = rx.clone();
                    runtime.spawn(move || rx.iter().count())
                })
                .collect();
            for n in 0..200 {
                tx.send(n).unwrap();
                if random.one_in(8) {
                    std::thread::sleep(random.micros(40));
                }
            }
            // Nobody but those who wait can take what is left.
            gthread_tests::until(|| rx.is_empty());
            drop(tx);
            let patient: usize = patient.into_iter().map(|thread| thread.join().unwrap()).sum();
            stop.raise();
            let impatient: usize = impatient.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(patient + impatient, 200);
        }
    });
}

/// Both ends vanish at any time.
#[test]
fn disconnection_against_everything() {
    stress(|runtime, random| {
        for capacity in [Some(0), Some(1), None] {
            let (drops, made) = (Drops::new(), Count::new());
            let (tx, rx) = capacity.map_or_else(channel::unbounded, channel::bounded);
            let mut threads = Vec::new();
            for _ in 0..4 {
                let (tx, drops, made, mut own) =
                    (tx.clone(), drops.clone(), made.clone(), random.fork());
                threads.push(runtime.spawn(move || {
                    for _ in 0..own.below(40) {
                        made.add(1);
                        if tx.send(drops.token()).is_err() {
                            break;
                        }
                    }
                }));
                let (rx, mut own) = (rx.clone(), random.fork());
                threads.push(runtime.spawn(move || {
                    for _ in 0..own.below(40) {
                        let Ok(_) = rx.recv() else { break };
                    }
                }));
            }
            drop((tx, rx));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(drops.count(), made.get());
        }
    });
}

// ---- park and unpark --------------------------------------------------------------------------

/// Tickets are announced with `unpark`: who parks without a timeout hangs if one is lost.
#[test]
fn unpark_against_park_timeout() {
    stress(|runtime, random| {
        let rounds = 150;
        let waiter = |mut random: Random, tickets: Arc<AtomicUsize>| {
            move || {
                for _ in 0..rounds {
                    while tickets.load(Acquire) == 0 {
                        match random.below(3) {
                            0 => gthread::park(),
                            1 => gthread::park_timeout(random.micros(30)),
                            _ => gthread::park_timeout(Duration::from_secs(3600)),
                        }
                    }
                    tickets.fetch_sub(1, Relaxed);
                    // A wait in between must neither take the token nor be ended by it.
                    if random.one_in(10) {
                        gthread::sleep(random.micros(20));
                    }
                }
            }
        };
        let mut green = Vec::new();
        let mut wakers = Vec::new();
        let mut waker =
            |thread: Thread, tickets: Arc<AtomicUsize>, mut random: Random, os: bool| {
                let wake = move || {
                    for _ in 0..rounds {
                        tickets.fetch_add(1, Release);
                        thread.unpark();
                        if random.one_in(4) {
                            gthread::yield_now();
                        }
                        if random.one_in(20) {
                            gthread::sleep(random.micros(30));
                        }
                    }
                };
                if os {
                    wakers.push(std::thread::spawn(wake));
                } else {
                    green.push(runtime.spawn(wake));
                }
            };
        let mut waiters = Vec::new();
        for n in 0..4 {
            let tickets = Arc::new(AtomicUsize::new(0));
            let thread = runtime.spawn(waiter(random.fork(), Arc::clone(&tickets)));
            waker(thread.thread().clone(), tickets, random.fork(), n == 0);
            waiters.push(thread);
        }
        let tickets = Arc::new(AtomicUsize::new(0));
        let (tx, rx) = channel::bounded(1);
        let os = std::thread::spawn({
            let mut wait = waiter(random.fork(), Arc::clone(&tickets));
            move || {
                tx.send(gthread::current()).unwrap();
                wait();
            }
        });
        waker(rx.recv().unwrap(), tickets, random.fork(), false);
        waiters.into_iter().chain(green).for_each(|thread| thread.join().unwrap());
        wakers.into_iter().chain([os]).for_each(|thread| thread.join().unwrap());
    });
}

// ---- beginnings and ends ----------------------------------------------------------------------

/// Threads that end while they are joined, detached and looked at, by threads of every kind.
#[test]
fn join_and_detach_against_finish() {
    stress(|runtime, random| {
        let (drops, made) = (Drops::new(), Count::new());
        let (to_os, handles) = channel::bounded::<gthread::JoinHandle<Token>>(4);
        let settle = |handle: gthread::JoinHandle<Token>, choice: u64| match choice {
            0 => drop(handle.join().unwrap()),
            1 => drop(handle),
            2 => {
                let _ = handle.is_finished();
                let thread = handle.thread().clone();
                drop(handle);
                thread.unpark();
            }
            _ => {
                while !handle.is_finished() {
                    gthread::yield_now();
                }
                drop(handle);
            }
        };
        let os = std::thread::spawn({
            let mut random = random.fork();
            move || handles.iter().for_each(|handle| settle(handle, random.below(4)))
        });
        let spawners: Vec<_> = (0..4)
            .map(|_| {
                let (drops, made, to_os) = (drops.clone(), made.clone(), to_os.clone());
                let mut random = random.fork();
                runtime.spawn(move || {
                    for _ in 0..100 {
                        made.add(1);
                        let (token, yields) = (drops.token(), random.below(3));
                        let queued = Builder::new().queued(random.one_in(2));
                        let handle = queued.spawn(move || {
                            (0..yields).for_each(|_| gthread::yield_now());
                            token
                        });
                        match random.below(8) {
                            choice @ 0..=3 => settle(handle.unwrap(), choice),
                            4 | 5 => {
                                let settle_it = move || settle(handle.unwrap(), 0);
                                drop(go!(settle_it));
                            }
                            _ => to_os.send(handle.unwrap()).unwrap(),
                        }
                    }
                })
            })
            .collect();
        drop(to_os);
        spawners.into_iter().for_each(|thread| thread.join().unwrap());
        os.join().unwrap();
        gthread_tests::until(|| drops.count() == made.get());
    });
}

/// Runtimes end while others wake, send to and join what runs in them. Each round leaks a little, as
/// it should: so not for ever.
#[test]
fn the_end_of_a_runtime_against_wakes_from_outside() {
    let mut rounds = 0;
    stress(|outside, random| {
        rounds += 1;
        if rounds > 400 {
            std::thread::sleep(Duration::from_millis(20));
            return;
        }
        let inner = runtime(1 + random.below(3) as usize);
        let (tx, rx) = channel::bounded::<u32>(0);
        let (buffered, buffer) = channel::bounded::<u32>(1);
        let group = WaitGroup::new();
        group.add(1);
        let mut handles = Vec::new();
        for n in 0..8 {
            let (rx, buffer, group, mut random) =
                (rx.clone(), buffer.clone(), group.clone(), random.fork());
            handles.push(inner.spawn(move || match n {
                0 => drop(rx.recv()),
                1 => drop(buffer.recv()),
                2 => gthread::park(),
                3 => gthread::sleep(random.micros(300)),
                4 => drop(rx.recv_timeout(random.micros(300))),
                5 => group.wait(),
                6 => go!(gthread::park).join().unwrap(),
                _ => gthread::blocking(|| std::thread::sleep(random.micros(100))),
            }));
        }
        let threads: Vec<_> = handles.iter().map(|handle| handle.thread().clone()).collect();
        let mut own = random.fork();
        let wakes = std::thread::spawn(move || {
            std::thread::sleep(own.micros(200));
            threads.iter().for_each(Thread::unpark);
            let _ = tx.try_send(1);
            let _ = buffered.try_send(2);
            group.done();
            let _ = tx.send_timeout(3, own.micros(100));
        });
        // Joined by an OS thread and by threads of another runtime.
        let mut joiners = Vec::new();
        let mut left = Vec::new();
        for handle in handles {
            if random.one_in(2) {
                joiners.push(outside.spawn(move || drop(handle.join())));
            } else {
                left.push(handle);
            }
        }
        let joins =
            std::thread::spawn(move || left.into_iter().for_each(|handle| drop(handle.join())));
        std::thread::sleep(random.micros(200));
        drop(inner);
        wakes.join().unwrap();
        joins.join().unwrap();
        joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
    });
}

/// A scope's and a group's count reach zero and rise again.
#[test]
fn scopes_and_groups_do_not_end_early() {
    stress(|runtime, random| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (green, os) = (random.fork(), random.fork());
                let green = runtime.spawn(move || scopes(green));
                (green, std::thread::spawn(move || scopes(os)))
            })
            .collect();
        for (green, os) in threads {
            green.join().unwrap();
            os.join().unwrap();
        }
    });
}

fn scopes(mut random: Random) {
    for _ in 0..30 {
        let mut ended = [false; 4];
        let yields = [(); 4].map(|()| random.below(4));
        gthread::scope(|s| {
            for (ended, yields) in ended.iter_mut().zip(yields) {
                s.spawn(move || {
                    (0..yields).for_each(|_| gthread::yield_now());
                    *ended = true;
                });
                (0..yields % 2).for_each(|_| gthread::yield_now());
            }
        });
        assert_eq!(ended, [true; 4], "the scope ended early");
    }
}

// ---- timers -----------------------------------------------------------------------------------

/// Sleeps of all lengths, set and withdrawn, with the workers now idle, now busy or blocked.
#[test]
fn timers_against_everything() {
    stress(|runtime, random| {
        let (tx, rx) = channel::unbounded::<()>();
        let threads: Vec<_> = (0..20)
            .map(|n| {
                let (rx, mut random) = (rx.clone(), random.fork());
                runtime.spawn(move || {
                    for _ in 0..10 {
                        let pause = random.micros(400);
                        let start = Instant::now();
                        match (n + random.below(2)) % 5 {
                            0 | 1 => gthread::sleep(pause),
                            2 if rx.recv_timeout(pause).is_ok() => continue,
                            2 => {}
                            3 => gthread::blocking(|| std::thread::sleep(pause)),
                            _ => gthread_tests::hog_until(|| start.elapsed() >= pause),
                        }
                        assert!(start.elapsed() >= pause, "too early");
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            tx.send(()).unwrap();
            std::thread::sleep(random.micros(100));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

// ---- idle and awake ---------------------------------------------------------------------------

/// The runtime goes to sleep and is woken again and again, at the moment it falls asleep.
#[test]
fn work_against_falling_asleep() {
    stress(|runtime, random| {
        let (tx, rx) = channel::bounded::<Sender<()>>(0);
        let echo = runtime.spawn(move || rx.iter().for_each(|to| to.send(()).unwrap()));
        for _ in 0..150 {
            let (to, answer) = channel::bounded(1);
            match random.below(4) {
                0 => {
                    tx.send(to).unwrap();
                    answer.recv().unwrap();
                }
                1 => runtime.run(|| go!(|| {}).join().unwrap()),
                2 => runtime.run(|| {
                    let pinned = Builder::new().pinned(true).spawn(|| gthread::blocking(|| {}));
                    pinned.unwrap().join().unwrap();
                }),
                _ => {
                    let threads: Vec<_> =
                        (0..3).map(|_| runtime.spawn(gthread::yield_now)).collect();
                    threads.into_iter().for_each(|thread| thread.join().unwrap());
                }
            }
            for _ in 0..random.below(3000) {
                std::hint::spin_loop();
            }
        }
        drop(tx);
        echo.join().unwrap();
    });
}

/// Hogs, announced and not, come and go: spares start, retire and cover, and all counts must hold.
#[test]
fn hogs_against_the_counts() {
    stress(|runtime, random| {
        let hogs: Vec<_> = (0..random.below(5))
            .map(|_| {
                let (long, blocking) =
                    (Duration::from_micros(random.below(15_000)), random.one_in(2));
                runtime.spawn(move || match blocking {
                    true => gthread::blocking(|| std::thread::sleep(long)),
                    false => std::thread::sleep(long),
                })
            })
            .collect();
        let works: Vec<_> = (0..20)
            .map(|_| {
                let mut random = random.fork();
                runtime.spawn(move || {
                    for _ in 0..random.below(20) {
                        go!(gthread::yield_now).join().unwrap();
                    }
                })
            })
            .collect();
        works.into_iter().chain(hogs).for_each(|thread| thread.join().unwrap());
        let stop = Flag::new();
        let raise = stop.clone();
        let waits = runtime.spawn(move || yield_until(|| stop.is_up()));
        raise.raise();
        waits.join().unwrap();
    });
}
