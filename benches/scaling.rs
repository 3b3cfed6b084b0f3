//! What more workers cost, on however few processors: figures for `docs/scaling.md`.
//!
//! `cargo run --release -p gthread-benches --example scaling [PART]`, PART one of `wake`, `spread`, `spawn`,
//! `barrier`, `simulate`; all without. What depends on processors that are not there is simulated, and said to be.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use gthread::{Metrics, Runtime, channel, go};

const WORKERS: [usize; 5] = [2, 16, 64, 128, 256];

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    let parts: [(&str, fn()); 5] = [
        ("wake", wake),
        ("spread", spread),
        ("spawn", spawn),
        ("barrier", barrier),
        ("simulate", simulate),
    ];
    for (name, run) in parts {
        if part.is_empty() || part == name {
            println!("## {name}");
            run();
        }
    }
}

fn runtime(workers: usize) -> Runtime {
    let runtime = Runtime::builder().workers(workers).build().unwrap();
    settle(&runtime);
    runtime
}

/// Until all workers sleep: nobody has gone to sleep for some time.
fn settle(runtime: &Runtime) {
    let mut before = None;
    while before != Some(runtime.metrics().sleeps) {
        before = Some(runtime.metrics().sleeps);
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let own = stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
    // The main thread's; the others' are under task.
    let mut all = 0_u64;
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        all += stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(all.max(own))
}

fn since(after: &Metrics, before: &Metrics, of: fn(&Metrics) -> u64, rounds: u64) -> f64 {
    (of(after) - of(before)) as f64 / rounds as f64
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// An OS thread wakes one green thread and waits for its answer, while all workers sleep.
fn wake() {
    println!("workers | round trip (median) | CPU per round | wakes | searches | sleeps per round");
    for workers in WORKERS {
        let runtime = runtime(workers);
        let (tx, rx) = channel::unbounded::<()>();
        let (answer, answers) = channel::unbounded();
        let thread = runtime.spawn(move || rx.iter().for_each(|()| answer.send(()).unwrap()));
        let rounds = 300;
        let (before, used) = (runtime.metrics(), cpu());
        let times = (0..rounds).map(|_| {
            // So long that everybody sleeps again.
            std::thread::sleep(Duration::from_millis(3));
            let start = Instant::now();
            tx.send(()).unwrap();
            answers.recv().unwrap();
            start.elapsed()
        });
        let time = median(times.collect());
        let (after, used) = (runtime.metrics(), cpu() - used);
        let per = |of| since(&after, &before, of, rounds);
        println!(
            "{workers:7} | {time:?} | {:?} | {:.2} | {:.2} | {:.2}",
            used / rounds as u32,
            per(|m| m.wakes),
            per(|m| m.searches),
            per(|m| m.sleeps)
        );
        drop(tx);
        thread.join().unwrap();
    }
}

/// As many threads as workers, each of which holds its OS thread until all run.
fn spread() {
    println!(
        "workers | until all run (median) | CPU | wakes | steals | takeovers | searches per round"
    );
    for workers in WORKERS {
        let runtime = runtime(workers);
        let rounds = 7;
        let (before, used) = (runtime.metrics(), cpu());
        let times = (0..rounds).map(|_| {
            settle(&runtime);
            runtime.run(|| {
                let meet = Arc::new(Barrier::new(workers));
                let start = Instant::now();
                let threads: Vec<_> = (0..workers)
                    .map(|_| {
                        let meet = Arc::clone(&meet);
                        go!(move || {
                            meet.wait();
                            start.elapsed()
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).min().unwrap()
            })
        });
        let time = median(times.collect());
        let (after, used) = (runtime.metrics(), cpu() - used);
        let per = |of| since(&after, &before, of, rounds);
        println!(
            "{workers:7} | {time:?} | {:?} | {:.1} | {:.1} | {:.1} | {:.1}",
            used / rounds as u32,
            per(|m| m.wakes),
            per(|m| m.steals),
            per(|m| m.takeovers),
            per(|m| m.searches)
        );
    }
}

/// One thread that spawns and joins, alone among sleeping workers: all of them are hungry for ever.
fn spawn() {
    println!("workers | spawn+join | publications | wakes | searches per thousand");
    for workers in WORKERS {
        let runtime = runtime(workers);
        let pass = || {
            runtime.run(|| {
                let start = Instant::now();
                (0..100_000).for_each(|n| assert_eq!(go!(move || n).join().unwrap(), n));
                start.elapsed() / 100_000
            })
        };
        let before = runtime.metrics();
        let time = median((0..7).map(|_| pass()).collect());
        let after = runtime.metrics();
        let per = |of| since(&after, &before, of, 700);
        println!(
            "{workers:7} | {time:?} | {:.2} | {:.2} | {:.2}",
            per(|m| m.publications),
            per(|m| m.wakes),
            per(|m| m.searches)
        );
    }
}

/// What a heavy barrier costs that must interrupt so many other processors: here, none or one.
fn barrier() {
    const PRIVATE_EXPEDITED: i32 = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
    // SAFETY: membarrier reads and writes no memory of ours.
    let membarrier = |command: i32| unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    assert_eq!(membarrier(REGISTER_PRIVATE_EXPEDITED), 0);
    let time = |what: &str| {
        let start = Instant::now();
        (0..20_000).for_each(|_| assert_eq!(membarrier(PRIVATE_EXPEDITED), 0));
        println!("{what}: {:?}", start.elapsed() / 20_000);
    };
    time("nobody else runs");
    let end = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&end);
    let other = std::thread::spawn(move || {
        let mut turns = 0_u64;
        while !ends.load(Relaxed) {
            turns = black_box(turns + 1);
        }
    });
    std::thread::sleep(Duration::from_millis(20));
    time("one other runs");
    end.store(true, Relaxed);
    other.join().unwrap();
}

// ---- simulation -------------------------------------------------------------------------------

/// How a burst of tasks in one place reaches `workers` sleepers. Time is in microseconds: a woken worker
/// takes `WAKE` to arrive, and probes a victim in `PROBE`, in a random order, until it finds work.
fn simulate() {
    println!(
        "workers | wake one at a time: time, steals tried per won | each finder wakes two | all at once"
    );
    for workers in WORKERS {
        let columns: Vec<_> = [1, 2, usize::MAX]
            .map(|fan| {
                let runs: Vec<_> = (0..50).map(|seed| spread_of(workers, fan, seed)).collect();
                let time = runs.iter().map(|run| run.0).sum::<f64>() / 50.0;
                let tried = runs.iter().map(|run| run.1).sum::<f64>() / 50.0;
                format!("{time:7.0} µs, {tried:5.1}")
            })
            .into();
        println!("{workers:7} | {}", columns.join(" | "));
    }
}

const WAKE: f64 = 20.0;
const PROBE: f64 = 0.1;

/// Every task is long, and each worker runs one. The one with the queue exposes half of it to each thief, as
/// crossbeam-deque gives at most 32 tasks at a time. Gives the time until all have one, and probes per theft.
fn spread_of(workers: usize, fan: usize, seed: u64) -> (f64, f64) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n as u64) as usize
    };
    // How many tasks each has queued, and when the thief that arrives next does.
    let mut queued = vec![0_usize; workers];
    queued[0] = workers - 1;
    let mut arrivals = std::collections::BinaryHeap::new();
    // In nanoseconds, the earliest first.
    let at = |time: f64| std::cmp::Reverse((time * 1000.0) as u64);
    let (mut woken, mut last, mut probes) = (1, 0.0_f64, 0);
    let mut summon = |arrivals: &mut std::collections::BinaryHeap<_>, now: f64, most: usize| {
        let more = most.min(workers - woken);
        for _ in 0..more {
            arrivals.push((at(now + WAKE), woken));
            woken += 1;
        }
    };
    summon(&mut arrivals, 0.0, fan);
    while let Some((std::cmp::Reverse(time), thief)) = arrivals.pop() {
        let mut now = time as f64 / 1000.0;
        let start = below(workers);
        let victim = (0..workers).map(|n| (start + n) % workers).find(|&victim| {
            if victim != thief {
                probes += 1;
                now += PROBE;
            }
            queued[victim] > 0
        });
        let Some(victim) = victim else { unreachable!("there is a task for everybody") };
        let loot = queued[victim].div_ceil(2).min(32);
        queued[victim] -= loot;
        queued[thief] += loot - 1;
        last = last.max(now);
        summon(&mut arrivals, now, fan);
    }
    (last, probes as f64 / (workers - 1) as f64)
}
