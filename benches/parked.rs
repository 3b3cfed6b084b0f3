//! A million green threads that wait at once, beside a million goroutines.
//!
//! Each contestant runs in a process of its own, one after the other, in rounds: it starts the threads,
//! which all wait to receive from one unbuffered channel, looks at what memory they take, and wakes them by
//! dropping the sender. Then it does so again, now with stacks that were used before, and looks how long
//! the memory takes to go back to the system. The Go program is in peers/parked.
//!
//! A plain `cargo bench` writes docs/parked.md. `--threads N` and `--rounds N` after `--` make another
//! measurement, which is only printed. As a test it does nothing. A run takes about 5 GB.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io, thread};

use gthread::{JoinHandle, Runtime, channel};
use gthread_benches::contest::{self, Column, Contestant, Options, whole};
use gthread_benches::page::{date, field, kernel, options};

/// How many threads, unless `--threads` says otherwise.
const THREADS: usize = 1_000_000;
/// How many times each contestant runs, unless `--rounds` says otherwise.
const ROUNDS: usize = 3;
/// Bytes to touch before each run, for each thread: at least what a contestant takes.
const TOUCHED: usize = 5 << 10;
/// How long memory may take to be given back.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(3);

/// What a contestant measures, and how the table calls it.
const COLUMNS: [Column; 6] = [
    Column { title: "start, ns each", key: "start", write: whole },
    Column { title: "wake, ns each", key: "wake", write: whole },
    Column { title: "bytes each", key: "bytes", write: whole },
    Column { title: "memory maps", key: "maps", write: whole },
    Column {
        title: "ms until memory is under 5 % of its peak",
        key: "given_back",
        write: |figure| match figure {
            Some(f64::INFINITY) => format!("not within {} s", GIVE_BACK_LIMIT.as_secs()),
            figure => whole(figure),
        },
    },
    Column { title: "start again, ns each", key: "start_again", write: whole },
];

fn main() -> io::Result<()> {
    let Some(args) = options() else { return Ok(()) };
    let Some(options) = Options::read(&args, THREADS, ROUNDS) else { return Ok(()) };
    if let Some(workers) = options.contestant {
        contest(workers, options.threads);
        return Ok(());
    }
    compare(options)
}

// A contestant.

/// How many of the threads have run.
static PARKED: AtomicUsize = AtomicUsize::new(0);

/// Measures green threads on so many workers, and prints it in one line.
fn contest(workers: usize, threads: usize) {
    let each = |time: Duration| time.as_nanos() as f64 / threads as f64;
    let runtime = Runtime::builder().workers(workers).build().expect("a runtime starts");
    runtime.run(|| {
        let before = memory();
        let first = Wave::begin(threads);
        let parked = memory();
        let bytes = parked.saturating_sub(before) as f64 / threads as f64;
        let maps = maps();
        let start = each(first.start);
        let wake = each(first.end());

        let again = Wave::begin(threads);
        let peak = parked.max(memory());
        let start_again = each(again.start);
        again.end();
        let given_back = given_back(before, peak);

        println!(
            "start {start} wake {wake} bytes {bytes} maps {maps} given_back {given_back} \
             start_again {start_again}"
        );
    });
}

/// Green threads that wait for a channel to be disconnected.
struct Wave {
    sender: channel::Sender<()>,
    handles: Vec<JoinHandle<()>>,
    /// From the first's start until all have run.
    start: Duration,
}

impl Wave {
    /// Starts them, and returns when all wait.
    fn begin(threads: usize) -> Self {
        PARKED.store(0, Ordering::Relaxed);
        let (sender, receiver) = channel::bounded::<()>(0);
        let start = Instant::now();
        let handles = (0..threads)
            .map(|_| {
                let receiver = receiver.clone();
                gthread::spawn(move || {
                    PARKED.fetch_add(1, Ordering::Relaxed);
                    receiver.recv().expect_err("nothing is sent");
                })
            })
            .collect();
        while PARKED.load(Ordering::Relaxed) < threads {
            gthread::yield_now();
        }
        Self { sender, handles, start: start.elapsed() }
    }

    /// Wakes them, and gives how long it took until all had ended.
    fn end(self) -> Duration {
        let start = Instant::now();
        drop(self.sender);
        for handle in self.handles {
            handle.join().expect("none of them panics");
        }
        start.elapsed()
    }
}

/// What the process has of the machine's memory, page tables too, in bytes.
fn memory() -> u64 {
    let kib = |name| {
        let value = field("/proc/self/status", name)?;
        value.trim_end_matches(" kB").parse::<u64>().ok()
    };
    let sum = kib("VmRSS").zip(kib("VmPTE")).map(|(resident, tables)| resident + tables);
    sum.expect("the kernel says what a process has") << 10
}

fn maps() -> usize {
    fs::read_to_string("/proc/self/maps").expect("the kernel lists maps").lines().count()
}

/// The milliseconds until memory is under a twentieth of the peak, or infinity.
fn given_back(before: u64, mut peak: u64) -> f64 {
    let start = Instant::now();
    while start.elapsed() < GIVE_BACK_LIMIT {
        let now = memory();
        peak = peak.max(now);
        if now.saturating_sub(before) < (peak - before) / 20 {
            return start.elapsed().as_millis() as f64;
        }
        gthread::sleep(Duration::from_millis(5));
    }
    f64::INFINITY
}

// The comparison.

/// Runs the contestants, prints the table, and writes the page if it is to be written.
fn compare(options: Options) -> io::Result<()> {
    let threads = options.threads.to_string();
    let mut contestants = vec![
        Contestant::this("gthread, 1 worker", &["--threads", &threads, "--contestant", "1"])?,
        Contestant::this("gthread, 2 workers", &["--threads", &threads, "--contestant", "2"])?,
    ];
    let go = contest::add_go(&mut contestants, "parked", &[&threads]);
    contest::run(&mut contestants, options.rounds, options.threads * TOUCHED);
    let table = contest::table(&contestants, &COLUMNS);
    print!("\n{table}\n");
    if !options.write {
        println!("not written to docs/parked.md: there were options");
        return Ok(());
    }
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs").join("parked.md");
    fs::write(&out, page(&table, &go))?;
    println!("written to {}", out.display());
    Ok(())
}

/// The whole page.
fn page(table: &str, go: &str) -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let (kernel, date) = (kernel(), date(SystemTime::now()));
    format!(
        "\
# A million parked threads

Written by `cargo bench --bench parked`; do not edit. Measured on {date}, {kernel}, {cores} processors.
{go}

{table}
All threads wait to receive from one unbuffered channel, and wake when it is closed; the code is in
[benches/parked.rs](../benches/parked.rs) and [parked.go](../benches/peers/parked/parked.go). Each run is a
process of its own, right after another has used and freed as much memory; figures are medians of {ROUNDS}.
*Start* ends when all threads have run, *wake* when all have ended. Bytes are resident memory and page
tables. *Start again* is for a second wave right after the first has ended; the time until memory is given
back counts from the second's end.
"
    )
}
