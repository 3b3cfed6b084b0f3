//! Random programs of all that the public API has, against a model that runs them one step after the other.
//!
//! A program is a tree of steps. Each gives a number that must not depend on the schedule, and those of a
//! block are hashed in order; what threads add to a common sum under a lock must be the model's sum, and
//! what each thread owns is dropped once. The programs run on runtimes of 1, 2 and 8 workers and, with
//! threads of the default runtime, on this OS thread.
//!
//! One second long; `GTHREAD_STRESS_SECS` and `GTHREAD_TEST_SEED` as in the stress tests. A failure prints
//! the smallest program that fails, and its seed is kept in `proptest-regressions`: it is tried first from
//! then on.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gthread::channel::{select, unbounded};
use gthread::sync::{Mutex, RwLock, Semaphore, WaitGroup};
use gthread::{Builder, blocking, go, yield_now};
use gthread_tests::{Drops, LIMIT, LONG, Random, Watchdog, make, runtime, seed, stress_time};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestRng, TestRunner,
};

type Block = Vec<Step>;

#[derive(Clone, Debug)]
enum Step {
    /// Adds to the common sum, under the lock; suspends in between if told to.
    Add(u64, bool),
    Yield,
    Sleep(u8),
    Blocking(Block),
    /// Started now, joined when the block ends; queued or not, pinned or not.
    Spawn(Block, bool, bool),
    /// Started, and joined at once, as is one that panics with its number.
    Await(Block, bool),
    Scope(Vec<Block>),
    Join(Block, Block),
    /// So many numbers from each sender, to so many receivers.
    Pipe {
        capacity: Option<usize>,
        senders: usize,
        receivers: usize,
        each: u64,
    },
    /// Two channels, and one thread that selects from both until both are at their end.
    Select([Option<usize>; 2], [u64; 2]),
    /// A message that never comes, and one that does.
    Timeout(u8, Option<usize>),
    /// So many threads that count behind a semaphore of so many permits, and read a lock.
    Crowd(usize, usize),
}

/// What a program runs in.
struct World {
    sum: Mutex<u64>,
    made: AtomicUsize,
    drops: Drops,
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

/// A sequence sent by one sender arrives in order: its hash.
fn in_order(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(7, mix)
}

/// What sender `n` of a pipe sends.
fn numbers(n: usize, each: u64) -> impl Iterator<Item = u64> {
    (0..each).map(move |i| n as u64 * 1000 + i)
}

// ---- the model --------------------------------------------------------------------------------

/// What a block gives, and what it adds to the sum.
fn expect(block: &[Step], sum: &mut u64) -> u64 {
    let mut hash = 0;
    let mut pending = Vec::new();
    for step in block {
        let value = match step {
            Step::Add(n, _) => {
                *sum += n;
                *n
            }
            Step::Yield | Step::Sleep(_) => 1,
            Step::Blocking(block) | Step::Await(block, _) => expect(block, sum),
            Step::Spawn(block, ..) => {
                pending.push(expect(block, sum));
                2
            }
            Step::Scope(blocks) => blocks.iter().map(|block| expect(block, sum)).fold(3, mix),
            Step::Join(a, b) => mix(expect(a, sum), expect(b, sum)),
            Step::Pipe { senders, receivers, each, .. } => {
                let all = (0..*senders).flat_map(|n| numbers(n, *each));
                if (*senders, *receivers) == (1, 1) { in_order(all) } else { all.sum() }
            }
            Step::Select(_, counts) => {
                let [a, b] = [0, 1].map(|n| in_order(numbers(n, counts[n])));
                mix(a, b)
            }
            Step::Timeout(n, _) => u64::from(*n),
            Step::Crowd(threads, _) => *threads as u64,
        };
        hash = mix(hash, value);
    }
    pending.into_iter().fold(hash, mix)
}

// ---- the real thing ---------------------------------------------------------------------------

impl World {
    /// A thread's body, which owns a value while it runs.
    fn thread(self: &std::sync::Arc<Self>, block: Block) -> impl FnOnce() -> u64 + Send + 'static {
        self.made.fetch_add(1, Ordering::SeqCst);
        let (world, token) = (std::sync::Arc::clone(self), self.drops.token());
        move || {
            let _token = token;
            world.run(&block)
        }
    }

    fn run(self: &std::sync::Arc<Self>, block: &[Step]) -> u64 {
        let mut hash = 0;
        let mut pending = Vec::new();
        for step in block {
            let value = match step {
                Step::Add(n, suspends) => {
                    let mut sum = self.sum.lock().unwrap();
                    let before = *sum;
                    if *suspends {
                        yield_now();
                    }
                    *sum = before + n;
                    *n
                }
                Step::Yield => {
                    yield_now();
                    1
                }
                Step::Sleep(micros) => {
                    let (time, start) = (Duration::from_micros(u64::from(*micros)), Instant::now());
                    gthread::sleep(time);
                    u64::from(start.elapsed() >= time)
                }
                Step::Blocking(block) => blocking(|| self.run(block)),
                Step::Spawn(block, queued, pinned) => {
                    let builder = Builder::new().queued(*queued).pinned(*pinned);
                    pending.push(builder.spawn(self.thread(block.clone())).unwrap());
                    2
                }
                Step::Await(block, false) => go!(self.thread(block.clone())).join().unwrap(),
                Step::Await(block, true) => {
                    let body = self.thread(block.clone());
                    let panics = move || resume_unwind(Box::new(body()));
                    *go!(panics).join().unwrap_err().downcast().unwrap()
                }
                Step::Scope(blocks) => gthread::scope(|scope| {
                    let threads: Vec<_> =
                        blocks.iter().map(|block| scope.spawn(move || self.run(block))).collect();
                    threads.into_iter().map(|thread| thread.join().unwrap()).fold(3, mix)
                }),
                Step::Join(a, b) => {
                    let (a, b) = gthread::join(|| self.run(a), || self.run(b));
                    mix(a, b)
                }
                Step::Pipe { capacity, senders, receivers, each } => {
                    pipe(*capacity, *senders, *receivers, *each)
                }
                Step::Select(capacities, counts) => select_from(*capacities, *counts),
                Step::Timeout(n, capacity) => timeout(*n, *capacity),
                Step::Crowd(threads, permits) => crowd(*threads, *permits),
            };
            hash = mix(hash, value);
        }
        pending.into_iter().map(|thread| thread.join().unwrap()).fold(hash, mix)
    }
}

fn pipe(capacity: Option<usize>, senders: usize, receivers: usize, each: u64) -> u64 {
    let (tx, rx) = make(capacity);
    gthread::scope(|scope| {
        for n in 0..senders {
            let tx = tx.clone();
            scope.spawn(move || numbers(n, each).for_each(|number| tx.send(number).unwrap()));
        }
        drop(tx);
        if (senders, receivers) == (1, 1) {
            return in_order(rx);
        }
        let receive = |_| {
            let rx = rx.clone();
            scope.spawn(move || rx.iter().sum::<u64>())
        };
        let threads: Vec<_> = (0..receivers).map(receive).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

fn select_from(capacities: [Option<usize>; 2], counts: [u64; 2]) -> u64 {
    let [(tx_a, a), (tx_b, b)] = capacities.map(make);
    gthread::scope(|scope| {
        for (n, tx) in [tx_a, tx_b].into_iter().enumerate() {
            scope.spawn(move || numbers(n, counts[n]).for_each(|number| tx.send(number).unwrap()));
        }
        let (mut received, mut open) = ([Vec::new(), Vec::new()], [true, true]);
        let never = gthread::channel::never();
        while open != [false, false] {
            let from = |n: usize, rx| if open[n] { rx } else { &never };
            let (from_a, from_b) = (from(0, &a), from(1, &b));
            let (n, number) = select! {
                recv(from_a) -> number => (0, number),
                recv(from_b) -> number => (1, number),
                default(LONG) => panic!("nothing came"),
            };
            match number {
                Ok(number) => received[n].push(number),
                Err(_) => open[n] = false,
            }
        }
        let [a, b] = received.map(in_order);
        mix(a, b)
    })
}

fn timeout(n: u8, capacity: Option<usize>) -> u64 {
    let (tx, rx) = make::<u64>(capacity);
    let (time, start) = (Duration::from_micros(u64::from(n)), Instant::now());
    assert!(rx.recv_timeout(time).unwrap_err().is_timeout());
    assert!(start.elapsed() >= time);
    gthread::scope(|scope| {
        scope.spawn(move || tx.send_timeout(u64::from(n), LONG).unwrap());
        rx.recv_timeout(LONG).unwrap()
    })
}

fn crowd(threads: usize, permits: usize) -> u64 {
    let (count, semaphore) = (std::sync::Arc::new(RwLock::new(0_u64)), Semaphore::new(permits));
    let semaphore = std::sync::Arc::new(semaphore);
    let (group, (tx, rx)) = (WaitGroup::new(), unbounded());
    for _ in 0..threads {
        let (count, semaphore, tx) = (count.clone(), semaphore.clone(), tx.clone());
        group.go(move || {
            let _permit = semaphore.acquire();
            let before = *count.read().unwrap();
            yield_now();
            let mut count = count.write().unwrap();
            *count += 1;
            tx.send(*count > before).unwrap();
        });
    }
    drop(tx);
    group.wait();
    assert!(rx.iter().all(|grew| grew));
    *count.read().unwrap()
}

// ---- programs ---------------------------------------------------------------------------------

fn capacity() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![Just(Some(0)), Just(Some(1)), Just(Some(3)), Just(None)]
}

/// Programs with threads that are pinned, or with blocking calls. Not both: a call that waits for a thread
/// which is pinned to the worker that the call blocks would wait for ever.
fn program() -> impl Strategy<Value = Block> {
    prop_oneof![block(true), block(false)]
}

fn block(pins: bool) -> impl Strategy<Value = Block> {
    let leaf = prop_oneof![
        4 => (0_u64..1000, any::<bool>()).prop_map(|(n, suspends)| Step::Add(n, suspends)),
        2 => Just(Step::Yield),
        1 => any::<u8>().prop_map(Step::Sleep),
        2 => (capacity(), 1_usize..4, 1_usize..4, 0_u64..12).prop_map(
            |(capacity, senders, receivers, each)| {
                Step::Pipe { capacity, senders, receivers, each }
            }
        ),
        1 => ([capacity(), capacity()], [0_u64..8, 0_u64..8])
            .prop_map(|(capacities, counts)| Step::Select(capacities, counts)),
        1 => (any::<u8>(), capacity()).prop_map(|(n, capacity)| Step::Timeout(n, capacity)),
        1 => (0_usize..6, 1_usize..3).prop_map(|(threads, permits)| Step::Crowd(threads, permits)),
    ];
    let step = leaf.prop_recursive(4, 60, 4, move |step| {
        let block = || vec(step.clone(), 0..5);
        prop_oneof![
            3 => (block(), any::<bool>(), any::<bool>())
                .prop_map(move |(block, queued, pinned)| Step::Spawn(block, queued, pinned && pins)),
            2 => (block(), any::<bool>()).prop_map(|(block, panics)| Step::Await(block, panics)),
            2 => vec(block(), 0..4).prop_map(Step::Scope),
            2 => (block(), block()).prop_map(|(a, b)| Step::Join(a, b)),
            1 => block().prop_map(move |block| match pins {
                true => Step::Await(block, false),
                false => Step::Blocking(block),
            }),
        ]
    });
    vec(step, 1..8)
}

/// Where a program runs.
fn check(
    program: &Block,
    run: impl FnOnce(&(dyn Fn() -> u64 + Sync)) -> u64,
) -> Result<(), TestCaseError> {
    let world = std::sync::Arc::new(World {
        sum: Mutex::new(0),
        made: AtomicUsize::new(0),
        drops: Drops::new(),
    });
    let value = run(&|| world.run(program));
    let mut sum = 0;
    prop_assert_eq!(value, expect(program, &mut sum), "the value");
    prop_assert_eq!(*world.sum.lock().unwrap(), sum, "the sum");
    prop_assert_eq!(world.drops.count(), world.made.load(Ordering::SeqCst), "values dropped");
    Ok(())
}

#[test]
fn programs_do_what_the_model_does() {
    let mut random = Random::new(seed());
    let _watchdog = Watchdog::new(LIMIT + stress_time(), "did not end");
    let end = Instant::now() + stress_time();
    let runtimes = [1, 2, 8].map(runtime);
    let programs = std::cell::Cell::new(0);
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/proptest-regressions/random_programs.txt");
    loop {
        let seed: Vec<u8> = (0..4).flat_map(|_| random.next().to_le_bytes()).collect();
        let config = Config {
            cases: 20,
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(kept))),
            ..Config::default()
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let result = TestRunner::new_with_rng(config, rng).run(&program(), |program| {
            programs.set(programs.get() + 1);
            for runtime in &runtimes {
                check(&program, |run| runtime.run(run))?;
            }
            check(&program, |run| run())
        });
        if let Err(failure) = result {
            panic!("{failure}");
        }
        if Instant::now() >= end {
            break;
        }
    }
    println!("{} programs", programs.get());
}
