//! A tour of Go's classic concurrency patterns, as green threads and channels.
//!
//! Each pattern is a heading in the output and a few functions here. All of them assert what they
//! print, and all end what they start: no green thread outlives its pattern.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gthread::JoinHandle;
use gthread::channel::{Receiver, RecvError, Sender, TryRecvError, bounded};
use gthread::go;
use gthread::sync::WaitGroup;

fn main() {
    let patterns: [(&str, fn()); 7] = [
        ("generator with a done channel", generator),
        ("fan-out, fan-in", fan_out_fan_in),
        ("pipeline", pipeline),
        ("WaitGroup", wait_group),
        ("fork-join", fork_join),
        ("prime sieve", prime_sieve),
        ("ping-pong", ping_pong),
    ];
    // All of it would run on this OS thread as well, which would then block where a green thread
    // parks.
    gthread::run(|| {
        for (heading, pattern) in patterns {
            println!("{heading}");
            pattern();
        }
    });
}

// -------------------------------------------------------------------------------- generator

/// A stream of random numbers that ends when `done` is closed.
///
/// Go: `func random(done <-chan struct{}) <-chan uint64`, a function that starts a goroutine and
/// returns the channel it feeds. Nobody ever sends on `done`: its closing is the message.
fn random_numbers(seed: u64, done: Receiver<()>) -> Receiver<u64> {
    let (numbers, stream) = bounded(0);
    go!(move || {
        let mut state = seed;
        while done.try_recv() == Err(TryRecvError::Empty) {
            state = xorshift(state);
            if numbers.send(state).is_err() {
                return; // The reader has dropped the stream: the other way to end it.
            }
        }
    });
    stream
}

fn xorshift(mut x: u64) -> u64 {
    x ^= x << 13;
    x ^= x >> 7;
    x ^ (x << 17)
}

fn generator() {
    let (close, done) = bounded(0);
    let stream = random_numbers(1, done);
    let drawn: Vec<u64> = stream.iter().take(4).collect();
    println!("  drew {drawn:?}");
    assert!(drawn.windows(2).all(|pair| pair[1] == xorshift(pair[0])));

    drop(close);
    // A number may have been on its way already, but the stream does end.
    let late = stream.iter().count();
    assert!(late <= 1);
    assert_eq!(stream.recv(), Err(RecvError));
    println!("  closed done, and the stream ended");
}

// -------------------------------------------------------------------------- fan-out, fan-in

/// Starts a worker that squares the numbers it gets hold of.
///
/// Go: fan-out, several goroutines that range over one channel until it is closed.
fn squarer(numbers: Receiver<u64>, squares: Sender<u64>) {
    go!(move || {
        for n in numbers {
            squares.send(n * n).expect("the merged stream is read to its end");
        }
    });
}

/// Go: fan-in. Go's workers share the output channel and a `sync.WaitGroup` tells when to close
/// it; here each worker has a `Sender` of its own, and the last to drop closes the channel.
fn fan_out_fan_in() {
    const WORKERS: usize = 4;
    let (jobs, numbers) = bounded(8);
    let (squares, merged) = bounded(8);
    for _ in 0..WORKERS {
        squarer(numbers.clone(), squares.clone());
    }
    drop(squares); // Else this one would keep the merged stream open.

    go!(move || (1..=100).for_each(|n| jobs.send(n).expect("the workers are alive")));

    let sum: u64 = merged.iter().sum();
    println!("  {WORKERS} workers: 1² + … + 100² = {sum}");
    assert_eq!(sum, 338_350);
}

// --------------------------------------------------------------------------------- pipeline

/// The first stage: sends the numbers from 1 to `last`.
///
/// Go: `func gen(nums ...int) <-chan int`.
fn count_to(last: u64) -> Receiver<u64> {
    let (sender, numbers) = bounded(0);
    go!(move || (1..=last).try_for_each(|n| sender.send(n)));
    numbers
}

/// A middle stage: sends `f(x)` for each `x` received, in order.
///
/// Go: `func sq(in <-chan int) <-chan int`, here for any function. The closing of the input ends
/// the `for` loop, and the end of the closure closes the output: so the end of the stream passes
/// down the pipeline.
fn stage<A, B>(input: Receiver<A>, f: impl Fn(A) -> B + Send + 'static) -> Receiver<B>
where
    A: Send + 'static,
    B: Send + 'static,
{
    let (sender, output) = bounded(0);
    go!(move || input.into_iter().try_for_each(|x| sender.send(f(x))));
    output
}

fn pipeline() {
    let squares = stage(count_to(5), |n| n * n);
    let words = stage(squares, |n| format!("<{n}>"));
    let line = words.iter().collect::<Vec<_>>().join(" ");
    println!("  {line}");
    assert_eq!(line, "<1> <4> <9> <16> <25>");
}

// -------------------------------------------------------------------------------- WaitGroup

/// Go: `sync.WaitGroup`, first with `wg.Go(f)`, then with the older `wg.Add`, `wg.Done`.
fn wait_group() {
    let sum = Arc::new(AtomicU64::new(0));
    let group = WaitGroup::new();
    for n in 1..=100 {
        let sum = Arc::clone(&sum);
        group.go(move || _ = sum.fetch_add(n, Ordering::Relaxed));
    }

    group.add(1);
    go!({
        let (sum, group) = (Arc::clone(&sum), group.clone());
        move || {
            sum.fetch_add(1000, Ordering::Relaxed);
            group.done();
        }
    });

    group.wait();
    let sum = sum.load(Ordering::Relaxed);
    println!("  101 green threads counted to {sum}");
    assert_eq!(sum, 6050);
}

// -------------------------------------------------------------------------------- fork-join

/// Go has no word for this but a WaitGroup around two goroutines. `gthread::join` may borrow, and
/// costs next to nothing unless an idle worker steals the second half.
fn parallel_sum(numbers: &[u64]) -> u64 {
    if numbers.len() <= 1000 {
        return numbers.iter().sum();
    }
    let (left, right) = numbers.split_at(numbers.len() / 2);
    let (left, right) = gthread::join(|| parallel_sum(left), || parallel_sum(right));
    left + right
}

/// Quicksort as in the textbook, but with both sides at the same time.
fn quicksort(numbers: &mut [u64]) {
    if numbers.len() <= 1000 {
        return numbers.sort_unstable(); // Too little to share with anybody.
    }
    let middle = partition(numbers);
    let (left, right) = numbers.split_at_mut(middle);
    gthread::join(|| quicksort(left), || quicksort(&mut right[1..]));
}

/// Moves the last number to where it belongs, behind all smaller ones; returns that place.
fn partition(numbers: &mut [u64]) -> usize {
    let last = numbers.len() - 1;
    let mut middle = 0;
    for i in 0..last {
        if numbers[i] < numbers[last] {
            numbers.swap(i, middle);
            middle += 1;
        }
    }
    numbers.swap(middle, last);
    middle
}

fn fork_join() {
    let numbers: Vec<u64> = (1..=100_000).collect();
    let sum = parallel_sum(&numbers);
    println!("  1 + … + 100000 = {sum}");
    assert_eq!(sum, 5_000_050_000);

    let mut shuffled: Vec<u64> = numbers.iter().map(|&n| n * 7919 % 100_003).collect();
    quicksort(&mut shuffled);
    println!("  quicksort: {:?} … {:?}", &shuffled[..3], &shuffled[shuffled.len() - 3..]);
    assert!(shuffled.is_sorted());
}

// ------------------------------------------------------------------------------ prime sieve

/// Go: the sieve from the language's own tour, a chain of goroutines that grows by a filter with
/// each prime found. Go's never ends; here each filter ends when nobody receives from it.
struct Sieve {
    survivors: Receiver<u64>,
    chain: Vec<JoinHandle<()>>,
}

impl Sieve {
    fn new() -> Self {
        let (sender, survivors) = bounded(0);
        let source = go!(move || _ = (2..).try_for_each(|n| sender.send(n)));
        Sieve { survivors, chain: vec![source] }
    }

    /// What comes first out of the last filter is prime; its multiples are filtered from now on.
    fn next_prime(&mut self) -> u64 {
        let prime = self.survivors.recv().expect("there is always a larger prime");
        let (sender, survivors) = bounded(0);
        let input = std::mem::replace(&mut self.survivors, survivors);
        let filter = go!(move || {
            _ = input.iter().filter(|n| n % prime != 0).try_for_each(|n| sender.send(n));
        });
        self.chain.push(filter);
        prime
    }

    /// Drops the receiving end of the last filter, whose next send fails, so that it drops its
    /// own receiver, and so on up to the source; then waits for all of them.
    fn stop(self) -> usize {
        drop(self.survivors);
        self.chain.into_iter().map(|link| link.join().expect("no link panics")).count()
    }
}

fn prime_sieve() {
    let mut sieve = Sieve::new();
    let primes: Vec<u64> = (0..25).map(|_| sieve.next_prime()).collect();
    println!("  {primes:?}");
    assert_eq!(primes[..5], [2, 3, 5, 7, 11]);
    assert_eq!(primes[24], 97);

    let ended = sieve.stop();
    println!("  dropped the receiver, and all {ended} links of the chain ended");
    assert_eq!(ended, 26);
}

// -------------------------------------------------------------------------------- ping-pong

/// Returns every ball, one hit up, until the other side stops playing.
fn player(incoming: Receiver<u64>, outgoing: Sender<u64>) -> JoinHandle<u64> {
    go!(move || {
        let mut hits = 0;
        for ball in incoming {
            hits += 1;
            if ball == RALLY || outgoing.send(ball + 1).is_err() {
                break;
            }
        }
        hits
    })
}

const RALLY: u64 = 10_000;

/// Go: two goroutines and two unbuffered channels. Each send hands the ball, and the worker,
/// straight to the other player.
fn ping_pong() {
    let (to_ping, ping_side) = bounded(0);
    let (to_pong, pong_side) = bounded(0);
    let ping = player(ping_side, to_pong);
    let pong = player(pong_side, to_ping.clone());

    to_ping.send(1).expect("ping is waiting");
    drop(to_ping); // Now only the players hold the channels: when one leaves, the other notices.

    let (pings, pongs) = (ping.join().expect("no panic"), pong.join().expect("no panic"));
    println!("  {pings} pings, {pongs} pongs");
    assert_eq!((pings, pongs), (RALLY / 2, RALLY / 2));
}
