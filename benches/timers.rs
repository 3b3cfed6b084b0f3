//! Timers beside Go's: a million threads that sleep at once, how late a sleep ends, what a timeout costs
//! that does not come.
//!
//! Each contestant runs in a process of its own, one after the other, in rounds. The Go program is in
//! peers/timers. A plain `cargo bench` writes docs/timers.md. `--threads N` and `--rounds N` after `--`
//! make another measurement, which is only printed. As a test it does nothing. A run takes about 5 GB.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io, thread};

use gthread::{Runtime, channel};
use gthread_bench_page::{date, kernel, nanoseconds, options};
use gthread_benches::contest::{self, Column, Contestant, Options, whole};

/// How many threads sleep, unless `--threads` says otherwise.
const THREADS: usize = 1_000_000;
/// How many times each contestant runs, unless `--rounds` says otherwise.
const ROUNDS: usize = 3;
/// Bytes to touch before each run, for each thread: at least what a contestant takes.
const TOUCHED: usize = 5 << 10;
/// Before the first of them wakes, all must have begun to sleep: time for each.
const HEAD_START: Duration = Duration::from_micros(8);
/// The moments at which they wake in the second wave are so far apart, on average.
const APART: Duration = Duration::from_micros(2);
/// Sleeps of one thread alone.
const NAPS: u32 = 300;
/// Round trips with and without a timeout.
const TRIPS: u32 = 200_000;
/// A timeout that does not come.
const LONG: Duration = Duration::from_secs(10);

/// What a contestant measures, and how the table calls it.
const COLUMNS: [Column; 8] = [
    Column { title: "start, each", key: "start", write: time },
    Column { title: "wake, each", key: "wake", write: time },
    Column { title: "late, mean", key: "late", write: time },
    Column { title: "late, most", key: "latest", write: time },
    Column { title: "alone: late, mean", key: "nap_late", write: time },
    Column { title: "alone: late, most", key: "nap_latest", write: time },
    Column { title: "round trip", key: "trip", write: time },
    Column { title: "with timeouts", key: "timed_trip", write: time },
];

fn time(figure: Option<f64>) -> String {
    figure.map_or_else(|| whole(None), nanoseconds)
}

fn main() -> io::Result<()> {
    let Some(args) = options() else { return Ok(()) };
    let Some(options) = Options::read(&args, THREADS, ROUNDS) else { return Ok(()) };
    match options.contestant {
        // OS threads, and not a million of them.
        Some(0) => println!("{} {}", naps(thread::sleep), os_trips()),
        Some(workers) => contest(workers, options.threads),
        None => return compare(options),
    }
    Ok(())
}

// A contestant.

/// Measures green threads on so many workers, and prints it in one line.
fn contest(workers: usize, threads: usize) {
    let each = |time: Duration| time.as_nanos() as f64 / threads as f64;
    let runtime = Runtime::builder().workers(workers).build().expect("a runtime starts");
    runtime.run(|| {
        let (naps, trips) = (naps(gthread::sleep), trips());
        // All at one moment, and then each at a moment of its own.
        let (start, wake) = wave(threads, Duration::ZERO);
        let sum = LATE.swap(0, Ordering::Relaxed);
        assert!(sum > 0, "nobody was late");
        LATEST.store(0, Ordering::Relaxed);
        wave(threads, APART);
        let late = LATE.load(Ordering::Relaxed) as f64 / threads as f64;
        let latest = LATEST.load(Ordering::Relaxed);
        let (start, wake) = (each(start), each(wake));
        println!("start {start} wake {wake} late {late} latest {latest} {naps} {trips}");
    });
}

static SLEEPING: AtomicUsize = AtomicUsize::new(0);
/// How late they woke, in nanoseconds: the sum, and the most.
static LATE: AtomicU64 = AtomicU64::new(0);
static LATEST: AtomicU64 = AtomicU64::new(0);

/// Starts threads that sleep until moments that are so far apart on average, in no order. Gives how long
/// it took until all slept, and from the last moment until all had ended.
fn wave(threads: usize, apart: Duration) -> (Duration, Duration) {
    SLEEPING.store(0, Ordering::Relaxed);
    let start = Instant::now();
    let first = start + HEAD_START * threads as u32 + Duration::from_millis(50);
    let spread = apart * threads as u32;
    let mut random = 1_u64;
    let handles: Vec<_> = (0..threads)
        .map(|_| {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let at = first + spread.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64);
            gthread::spawn(move || {
                SLEEPING.fetch_add(1, Ordering::Relaxed);
                gthread::sleep_until(at);
                let late = at.elapsed().as_nanos() as u64;
                LATE.fetch_add(late, Ordering::Relaxed);
                LATEST.fetch_max(late, Ordering::Relaxed);
            })
        })
        .collect();
    while SLEEPING.load(Ordering::Relaxed) < threads {
        gthread::yield_now();
    }
    let started = start.elapsed();
    assert!(Instant::now() < first, "the first woke before all slept");
    handles.into_iter().for_each(|handle| handle.join().expect("none of them panics"));
    (started, (first + spread).elapsed())
}

/// Sleeps of 0.1 to 3 ms, one after the other: how late they end.
fn naps(sleep: fn(Duration)) -> String {
    let (mut sum, mut latest) = (0, 0);
    for n in 0..NAPS {
        let nap = Duration::from_micros(u64::from(100 + (n * 1237) % 2900));
        let start = Instant::now();
        sleep(nap);
        let late = (start.elapsed() - nap).as_nanos();
        sum += late;
        latest = latest.max(late);
    }
    format!("nap_late {} nap_latest {latest}", sum as f64 / f64::from(NAPS))
}

/// Round trips between two threads, which wait for each other with a timeout and without.
fn trips() -> String {
    let [plain, timed] = [None, Some(LONG)].map(|timeout| {
        let (ping, pinged) = channel::bounded(1);
        let (pong, ponged) = channel::bounded(1);
        let recv = move |rx: &channel::Receiver<()>| match timeout {
            None => rx.recv().expect("the other is there"),
            Some(timeout) => rx.recv_timeout(timeout).expect("the other is there"),
        };
        let other = gthread::spawn(move || {
            for _ in 0..TRIPS {
                recv(&pinged);
                pong.send(()).expect("the other is there");
            }
        });
        let start = Instant::now();
        for _ in 0..TRIPS {
            ping.send(()).expect("the other is there");
            recv(&ponged);
        }
        let time = start.elapsed();
        other.join().expect("it does not panic");
        time.as_nanos() as f64 / f64::from(TRIPS)
    });
    format!("trip {plain} timed_trip {timed}")
}

/// The same with OS threads and std's channels, a tenth of it.
fn os_trips() -> String {
    use std::sync::mpsc;
    const OS_TRIPS: u32 = TRIPS / 10;
    let [plain, timed] = [None, Some(LONG)].map(|timeout| {
        let (ping, pinged) = mpsc::sync_channel(1);
        let (pong, ponged) = mpsc::sync_channel(1);
        let recv = move |rx: &mpsc::Receiver<()>| match timeout {
            None => rx.recv().expect("the other is there"),
            Some(timeout) => rx.recv_timeout(timeout).expect("the other is there"),
        };
        let other = thread::spawn(move || {
            for _ in 0..OS_TRIPS {
                recv(&pinged);
                pong.send(()).expect("the other is there");
            }
        });
        let start = Instant::now();
        for _ in 0..OS_TRIPS {
            ping.send(()).expect("the other is there");
            recv(&ponged);
        }
        let time = start.elapsed();
        other.join().expect("it does not panic");
        time.as_nanos() as f64 / f64::from(OS_TRIPS)
    });
    format!("trip {plain} timed_trip {timed}")
}

// The comparison.

/// Runs the contestants, prints the table, and writes the page if it is to be written.
fn compare(options: Options) -> io::Result<()> {
    let threads = options.threads.to_string();
    let mut contestants = vec![
        Contestant::this("gthread, 1 worker", &["--threads", &threads, "--contestant", "1"])?,
        Contestant::this("gthread, 2 workers", &["--threads", &threads, "--contestant", "2"])?,
    ];
    let go = contest::add_go(&mut contestants, "timers", &[&threads]);
    contestants.push(Contestant::this("std::thread", &["--contestant", "0"])?);
    contest::run(&mut contestants, options.rounds, options.threads * TOUCHED);
    let table = contest::table(&contestants, &COLUMNS);
    print!("\n{table}\n");
    if !options.write {
        println!("not written to docs/timers.md: there were options");
        return Ok(());
    }
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs").join("timers.md");
    fs::write(&out, page(&table, &go))?;
    println!("written to {}", out.display());
    Ok(())
}

/// The whole page.
fn page(table: &str, go: &str) -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let (kernel, date) = (kernel(), date(SystemTime::now()));
    let spread = APART * THREADS as u32;
    format!(
        "\
# Timers

Written by `cargo bench --bench timers`; do not edit. Measured on {date}, {kernel}, {cores} processors.
{go}

{table}
The code is in [benches/timers.rs](../benches/timers.rs) and [timers.go](../benches/peers/timers/timers.go).
Figures are medians of {ROUNDS} processes.

- *Start*: {THREADS} threads start, and each sleeps until one moment that they share. *Wake*: from that
  moment until all have ended.
- *Late*: as many again sleep until moments of their own, spread over {spread:?}; how much later they run.
- *Alone*: one thread that sleeps 0.1 to 3 ms, {NAPS} times.
- *Round trip*: two threads send each other a token through channels of one place; *with timeouts* each
  waits no longer than {LONG:?}, so that each round trip sets and withdraws two timers.
"
    )
}
