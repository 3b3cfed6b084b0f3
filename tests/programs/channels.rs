//! Whole programs of channels, as Go is known for them.

use gthread_tests::channel::{self, Receiver, Sender, bounded};
use gthread_tests::{CAPACITIES, Way, every_way, make};

every_way!(
    a_sieve_of_primes,
    a_ring,
    channels_go_through_channels,
    a_binary_tree_of_merges,
    a_channel_as_a_lock,
    a_channel_as_a_semaphore,
    a_pool_of_workers,
    power_series,
);

/// A filter for each prime, that many in a row.
fn a_sieve_of_primes(on: Way) {
    const PRIMES: usize = 30;
    for capacity in [0, 1] {
        let (tx, mut numbers) = bounded(capacity);
        let mut threads = vec![on.spawn(move || _ = (2_u32..).find(|&n| tx.send(n).is_err()))];
        let mut primes = Vec::new();
        while primes.len() < PRIMES {
            let prime = numbers.recv().unwrap();
            primes.push(prime);
            let (tx, rx) = bounded(capacity);
            let from = std::mem::replace(&mut numbers, rx);
            threads.push(on.spawn(move || {
                _ = from.iter().filter(|n| n % prime != 0).find(|&n| tx.send(n).is_err());
            }));
        }
        assert_eq!((primes[0], primes[9], primes[PRIMES - 1]), (2, 29, 113));
        // The end falls back through all filters.
        drop(numbers);
        threads.into_iter().for_each(|thread| thread.join());
    }
}

fn a_ring(on: Way) {
    for capacity in [0, 1] {
        let (first, mut previous) = bounded(capacity);
        let mut threads = Vec::new();
        for _ in 0..50 {
            let (tx, rx) = bounded(capacity);
            let from = std::mem::replace(&mut previous, rx);
            threads.push(on.spawn(move || from.iter().for_each(|n: u32| tx.send(n + 1).unwrap())));
        }
        // One value, several times around.
        for round in 0..10 {
            first.send(round * 50).unwrap();
            assert_eq!(previous.recv(), Ok((round + 1) * 50));
        }
        drop(first);
        assert!(previous.recv().is_err());
        threads.into_iter().for_each(|thread| thread.join());
    }
}

fn channels_go_through_channels(on: Way) {
    for capacity in CAPACITIES {
        let (tx, requests) = make::<(u32, Sender<u32>)>(capacity);
        let server = on.spawn(move || requests.iter().for_each(|(n, to)| to.send(n * 2).unwrap()));
        let clients: Vec<_> = (0..30)
            .map(|n| {
                let tx = tx.clone();
                on.spawn(move || {
                    let (to, answer) = bounded(1);
                    tx.send((n, to)).unwrap();
                    assert_eq!(answer.recv(), Ok(2 * n));
                    // The server let go of its end.
                    assert!(answer.recv().is_err());
                })
            })
            .collect();
        drop(tx);
        clients.into_iter().for_each(|client| client.join());
        server.join();
    }
}

/// Sorted streams are merged two by two.
fn a_binary_tree_of_merges(on: Way) {
    fn merge(on: Way, a: Receiver<u32>, b: Receiver<u32>) -> Receiver<u32> {
        let (tx, rx) = bounded(0);
        drop(on.spawn(move || {
            let (mut next_a, mut next_b) = (a.recv().ok(), b.recv().ok());
            while let Some(least) = next_a.into_iter().chain(next_b).min() {
                if tx.send(least).is_err() {
                    return;
                }
                if next_a == Some(least) {
                    next_a = a.recv().ok();
                } else {
                    next_b = b.recv().ok();
                }
            }
        }));
        rx
    }
    let mut streams: Vec<_> = (0..8)
        .map(|first| {
            let (tx, rx) = bounded(0);
            drop(on.spawn(move || (0..20).all(|n| tx.send(first + 8 * n).is_ok())));
            rx
        })
        .collect();
    while streams.len() > 1 {
        let (a, b) = (streams.remove(0), streams.remove(0));
        streams.push(merge(on, a, b));
    }
    assert!(streams.remove(0).iter().eq(0..160));
}

fn a_channel_as_a_lock(on: Way) {
    let (put, take) = bounded(1);
    put.send(0_u32).unwrap();
    on.scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let n = take.recv().unwrap();
                    on.yield_now();
                    put.send(n + 1).unwrap();
                }
            });
        }
    });
    assert_eq!(take.recv(), Ok(300));
}

fn a_channel_as_a_semaphore(on: Way) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (enter, leave) = bounded(3);
    let inside = AtomicUsize::new(0);
    on.scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                for _ in 0..10 {
                    enter.send(()).unwrap();
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                    on.yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    leave.recv().unwrap();
                }
            });
        }
    });
    assert!(leave.is_empty());
}

fn a_pool_of_workers(on: Way) {
    type Job = Box<dyn FnOnce() -> u32 + Send>;
    let (jobs, from_jobs) = channel::unbounded::<Job>();
    let (results, from_results) = bounded(2);
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (jobs, results) = (from_jobs.clone(), results.clone());
            on.spawn(move || jobs.iter().for_each(|job| results.send(job()).unwrap()))
        })
        .collect();
    drop(results);
    (0..200).for_each(|n| jobs.send(Box::new(move || n * n)).unwrap());
    drop(jobs);
    let mut squares: Vec<_> = from_results.iter().collect();
    squares.sort_unstable();
    assert!(squares.into_iter().eq((0..200).map(|n| n * n)));
    workers.into_iter().for_each(|worker| worker.join());
}

/// Series of coefficients as channels that are asked for each term: 1/(1-x) squared is 1 + 2x + 3x² …
fn power_series(on: Way) {
    type Series = Receiver<i64>;
    fn series(on: Way, make: impl FnOnce(Sender<i64>) + Send + 'static) -> Series {
        let (tx, rx) = bounded(0);
        drop(on.spawn(move || make(tx)));
        rx
    }
    fn constant(on: Way, value: i64) -> Series {
        series(on, move |to| while to.send(value).is_ok() {})
    }
    fn product(on: Way, a: Series, b: Series) -> Series {
        series(on, move |to| {
            let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
            while let (Ok(next_a), Ok(next_b)) = (a.recv(), b.recv()) {
                of_a.push(next_a);
                of_b.push(next_b);
                if to.send(of_a.iter().zip(of_b.iter().rev()).map(|(a, b)| a * b).sum()).is_err() {
                    return;
                }
            }
        })
    }
    let square = product(on, constant(on, 1), constant(on, 1));
    let cube = product(on, square, constant(on, 1));
    assert!(cube.iter().take(20).eq((1..=20).map(|n| n * (n + 1) / 2)));
}
