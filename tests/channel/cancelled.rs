//! Ten thousand threads wait at channels whose other ends are dropped at random moments: each of them is
//! told, none waits on, and every message is dropped once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread::JoinHandle;
use gthread::channel::{Receiver, Select, Sender};
use gthread_tests::{CAPACITIES, Drops, LIMIT, LONG, Random, Token, Watchdog, make, runtime, seed};

/// How many waits are cancelled in all.
const CANCELLATIONS: usize = 10_000;
/// How many threads wait at a time.
const AT_ONCE: usize = 100;

/// Messages, counted when they are made and when they are dropped.
#[derive(Clone, Default)]
struct Mint {
    made: Arc<AtomicUsize>,
    drops: Drops,
}

impl Mint {
    fn token(&self) -> Token {
        self.made.fetch_add(1, Ordering::SeqCst);
        self.drops.token()
    }

    fn counts(&self) -> (usize, usize) {
        (self.made.load(Ordering::SeqCst), self.drops.count())
    }
}

/// One end of a channel.
enum End {
    Sender(Sender<Token>),
    Receiver(Receiver<Token>),
}

impl End {
    /// Uses it, once, without waiting.
    fn poke(&self, mint: &Mint) {
        match self {
            End::Sender(to) => drop(to.try_send(mint.token())),
            End::Receiver(from) => drop(from.try_recv()),
        }
    }
}

/// A channel: one end, and the other.
fn pair(random: &mut Random) -> (End, End) {
    let capacity = CAPACITIES[random.below(CAPACITIES.len() as u64) as usize];
    let (tx, rx) = make(capacity);
    // Without a limit no send waits.
    if capacity.is_some() && random.one_in(2) {
        (End::Sender(tx), End::Receiver(rx))
    } else {
        (End::Receiver(rx), End::Sender(tx))
    }
}

/// Waits at its ends until it is told of each that the other end is gone: so often.
fn wait_at(ends: Vec<End>, mint: &Mint, mut random: Random) -> usize {
    let mut told = 0;
    if let [end] = &ends[..] {
        while told == 0 {
            let cancelled = match (end, random.below(2)) {
                (End::Sender(to), 0) => to.send(mint.token()).is_err(),
                (End::Receiver(from), 0) => from.recv().is_err(),
                (End::Sender(to), _) => match to.send_timeout(mint.token(), LONG) {
                    Ok(()) => false,
                    Err(error) => {
                        assert!(error.is_disconnected());
                        true
                    }
                },
                (End::Receiver(from), _) => match from.recv_timeout(LONG) {
                    Ok(_) => false,
                    Err(error) => {
                        assert!(error.is_disconnected());
                        true
                    }
                },
            };
            told += usize::from(cancelled);
        }
        return told;
    }
    let mut select = Select::new();
    for end in &ends {
        match end {
            End::Sender(to) => select.send(to),
            End::Receiver(from) => select.recv(from),
        };
    }
    while told < ends.len() {
        let chosen = select.select();
        let place = chosen.index();
        let cancelled = match &ends[place] {
            End::Sender(to) => chosen.send(to, mint.token()).is_err(),
            End::Receiver(from) => chosen.recv(from).is_err(),
        };
        if cancelled {
            told += 1;
            select.remove(place);
        }
    }
    told
}

/// Drops the ends one by one, at random moments.
fn cancel(ends: Vec<End>, mint: &Mint, mut random: Random) {
    for end in ends {
        for _ in 0..random.below(3) {
            match random.below(4) {
                0 => end.poke(mint),
                1 => gthread::yield_now(),
                2 => (0..random.below(2000)).for_each(|_| std::hint::spin_loop()),
                _ => {}
            }
        }
        drop(end);
    }
}

#[test]
fn ten_thousand_waits_are_cancelled() {
    let mut random = Random::new(seed());
    let _watchdog = Watchdog::new(LIMIT, "a wait was not cancelled");
    let runtimes = [1, 2, 8].map(runtime);
    let mut cancelled = 0;
    for runtime in runtimes.iter().cycle() {
        let mint = Mint::default();
        let (mut others, mut waits) = (Vec::new(), 0);
        let waiters: Vec<JoinHandle<usize>> = (0..AT_ONCE)
            .map(|_| {
                let mut ends = Vec::new();
                for _ in 0..=random.below(3) {
                    let (end, other) = pair(&mut random);
                    ends.push(end);
                    others.push(other);
                    waits += 1;
                }
                let (mint, random) = (mint.clone(), random.fork());
                runtime.spawn(move || wait_at(ends, &mint, random))
            })
            .collect();
        for place in (1..others.len()).rev() {
            others.swap(place, random.below(place as u64 + 1) as usize);
        }
        // Half of them by a green thread among those that wait, half by this OS thread.
        let half = others.split_off(others.len() / 2);
        let (mints, randoms) = (mint.clone(), random.fork());
        let inside = runtime.spawn(move || cancel(half, &mints, randoms));
        cancel(others, &mint, random.fork());
        inside.join().unwrap();
        let told: usize = waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum();
        assert_eq!(told, waits);
        let (made, dropped) = mint.counts();
        assert_eq!(made, dropped, "messages made and dropped");
        cancelled += told;
        if cancelled >= CANCELLATIONS {
            break;
        }
    }
    println!("{cancelled} waits were cancelled");
}
