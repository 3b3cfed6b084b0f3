//! Channels that one OS thread alone uses for a while, and mutexes that nobody waits for, until others come at any
//! moment: `GTHREAD_STRESS_SECS`, one second if not set. Prints its seed; `GTHREAD_TEST_SEED` runs it again with the
//! same choices (not the same timing).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread::channel::{self, Receiver, Sender};
use gthread::sync::Mutex;
use gthread_tests::{Flag, Random, stress, yield_until};

/// What one thread has sent and received.
#[derive(Clone, Copy, Default)]
struct Count {
    sent: u64,
    received: u64,
}

impl Count {
    /// Sends and receives what does not keep it waiting.
    fn try_both(&mut self, tx: &Sender<u64>, rx: &Receiver<u64>, times: u64) {
        for n in 0..times {
            self.sent += u64::from(tx.try_send(n).is_ok());
            self.received += u64::from(rx.try_recv().is_ok());
        }
    }

    fn send(&mut self, tx: &Sender<u64>, mut random: Random) {
        for n in 0..random.below(100) {
            if random.one_in(4) {
                // A green thread that yields may go on elsewhere.
                gthread::yield_now();
            }
            tx.send(n).unwrap();
            self.sent += 1;
        }
    }
}

fn spin(times: u64) {
    (0..times).for_each(|_| std::hint::spin_loop());
}

/// Nothing that was sent is lost, and nobody who waits is forgotten: those who come are at any point of what the
/// first user does.
#[test]
fn others_come_at_any_moment() {
    stress(|runtime, random| {
        let capacity = [Some(0), Some(1), Some(3), None][random.below(4) as usize];
        // Often enough to be alone, most often; and then and now so often as it takes where that was in vain.
        let alone = if random.one_in(16) { 40_000 } else { random.below(600) };
        let delays = [(); 3].map(|()| random.below(500));
        let randoms = [(); 3].map(|()| random.fork());
        let first = runtime.spawn(move || {
            // Made here: whoever makes it is its first user.
            let (tx, rx) = capacity.map_or_else(channel::unbounded, channel::bounded);
            let mut count = Count::default();
            let [mine, green, os] = randoms;
            let start = Flag::new();
            let receive = |delay: u64| {
                let (rx, start) = (rx.clone(), start.clone());
                move || {
                    yield_until(|| start.is_up());
                    spin(delay);
                    rx.iter().count() as u64
                }
            };
            let send = |random: Random, delay: u64| {
                let (tx, start, mut count) = (tx.clone(), start.clone(), Count::default());
                move || {
                    yield_until(|| start.is_up());
                    spin(delay);
                    count.send(&tx, random);
                    count.sent
                }
            };
            let os_receiver = std::thread::spawn(receive(delays[0]));
            let os_sender = std::thread::spawn(send(os, delays[1]));
            let green_receiver = gthread::spawn(receive(delays[2]));
            let green_sender = gthread::spawn(send(green, 0));
            count.try_both(&tx, &rx, alone);
            start.raise();
            count.try_both(&tx, &rx, 100);
            count.send(&tx, mine);
            // Nothing is closed until all has arrived: one that was forgotten hangs.
            count.sent += green_sender.join().unwrap();
            count.sent += gthread::blocking(|| os_sender.join().unwrap());
            yield_until(|| rx.is_empty());
            drop((tx, rx));
            count.received += green_receiver.join().unwrap();
            count.received += gthread::blocking(|| os_receiver.join().unwrap());
            count
        });
        let count = first.join().unwrap();
        assert_eq!(count.sent, count.received);
    });
}

/// The first who ever waits for a mutex is not forgotten, whatever its holder is about to do.
#[test]
fn the_first_waits_at_any_moment() {
    stress(|runtime, random| {
        // Each has its turn, and the mutex of that turn.
        let mutexes: Arc<[Mutex<u64>; 20]> = Arc::default();
        let (turn, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        // Often enough to be unlocked without a fence, in release too (8,192) or in debug (8); or not.
        let often = if random.one_in(2) { 8_191 + random.below(4) } else { random.below(20) };
        let mut delays = random.fork();
        let waiter = {
            let (mutexes, turn, over) = (mutexes.clone(), turn.clone(), over.clone());
            move || {
                for (n, mutex) in mutexes.iter().enumerate() {
                    yield_until(|| turn.load(Ordering::Acquire) > n);
                    *mutex.lock().unwrap() += 1;
                    over.store(n + 1, Ordering::Release);
                }
            }
        };
        let holder = move || {
            for (n, mutex) in mutexes.iter().enumerate() {
                (0..often).for_each(|_| *mutex.lock().unwrap() += 1);
                let mut held = mutex.lock().unwrap();
                turn.store(n + 1, Ordering::Release);
                spin(delays.below(200));
                *held += 1;
                drop(held);
                // Nobody unlocks it again: one that was forgotten waits for ever.
                yield_until(|| over.load(Ordering::Acquire) > n);
            }
            mutexes.iter().for_each(|mutex| assert_eq!(*mutex.lock().unwrap(), often + 2));
        };
        let holder = runtime.spawn(holder);
        if random.one_in(2) {
            runtime.spawn(waiter).join().unwrap();
        } else {
            waiter();
        }
        holder.join().unwrap();
    });
}
