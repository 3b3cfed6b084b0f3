//! Runs test suites of other crates: see the build script.
//!
//! A runner of its own, because those suites sleep most of their time and libtest would run as many tests at
//! once as there are processors, which takes minutes. It understands what cargo and people give to libtest:
//! words that names have to contain, `--exact`, `--skip` and `--list`; other options it takes and ignores.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use gthread_tests::{is_chaos, watchdog};

pub mod green;
mod rand;

pub use rand::{thread_rng, Rng};

/// Tests that run at once. They sleep most of the time.
const AT_ONCE: usize = 32;

/// How long a test may take. Long: some start ten thousand OS threads, which a busy machine is slow to do.
const LIMIT: Duration = Duration::from_secs(150);

/// A test of a suite.
#[derive(Clone, Copy)]
pub struct Test {
    name: &'static str,
    body: Result<fn(), &'static str>,
    /// It passes if it panics.
    should_panic: bool,
    /// No other runs beside it.
    alone: bool,
}

impl Test {
    pub const fn new(name: &'static str, body: fn()) -> Self {
        Self { name, body: Ok(body), should_panic: false, alone: false }
    }

    /// A test that is not run, and why.
    pub const fn left_out(name: &'static str, why: &'static str) -> Self {
        Self { name, body: Err(why), should_panic: false, alone: false }
    }

    pub const fn that_panics(self) -> Self {
        Self { should_panic: true, ..self }
    }

    pub const fn alone(self) -> Self {
        Self { alone: true, ..self }
    }
}

/// Where bodies run.
#[derive(Clone, Copy)]
pub enum On {
    /// Each on an OS thread of its own.
    OsThreads,
    /// Each as a green thread of a runtime of its own, which has so many workers.
    Workers(usize),
}

impl On {
    fn run(self, body: fn()) {
        match self {
            Self::OsThreads => body(),
            Self::Workers(workers) => gthread_tests::runtime(workers).run(body),
        }
    }

    /// What stands before a test's name.
    fn prefix(self) -> String {
        match self {
            Self::OsThreads => "os::".into(),
            Self::Workers(workers) => format!("workers_{workers}::"),
        }
    }
}

/// Runs the tests of one way after those of another.
pub fn main(ways: &[(On, &'static [Test])]) -> ExitCode {
    let asked = Asked::from_arguments();
    let (began, mut total) = (Instant::now(), Count::default());
    for &(on, tests) in ways {
        let wanted = |test: &&Test| asked.for_test(&(on.prefix() + test.name));
        let tests: Vec<_> = tests.iter().filter(wanted).collect();
        if asked.list {
            tests.iter().for_each(|test| println!("{}{}: test", on.prefix(), test.name));
        } else {
            total.add(run_tests(on, &tests));
        }
    }
    if asked.list {
        return ExitCode::SUCCESS;
    }
    let (Count { passed, failed, left_out }, took) = (&total, began.elapsed().as_secs_f32());
    println!(
        "\ntest result: {}. {passed} passed; {} failed; {left_out} ignored; 0 measured; {} filtered out; finished in {took:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len(),
        ways.iter().map(|(_, tests)| tests.len()).sum::<usize>() - passed - failed.len() - left_out,
    );
    failed.iter().for_each(|name| println!("    {name}"));
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[derive(Default)]
struct Count {
    passed: usize,
    failed: Vec<String>,
    left_out: usize,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.left_out += other.left_out;
    }
}

fn run_tests(on: On, tests: &[&Test]) -> Count {
    let count = Mutex::new(Count::default());
    let (alone, together): (Vec<_>, Vec<_>) = tests.iter().partition(|test| test.alone);
    // Most of those ask how late something is, and chaos makes it late.
    let alone = if is_chaos() { Vec::new() } else { alone };
    alone.into_iter().for_each(|test| run_test(on, test, &count));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(together.len()) {
            scope.spawn(|| {
                while let Some(test) = together.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run_test(on, test, &count);
                }
            });
        }
    });
    count.into_inner().expect("no test panics there")
}

/// Runs a test on an OS thread of its own, which its thread-locals end with.
fn run_test(on: On, test: &Test, count: &Mutex<Count>) {
    let name = on.prefix() + test.name;
    let body = match test.body {
        Ok(body) => body,
        Err(why) => {
            println!("test {name} ... ignored, {why}");
            count.lock().unwrap().left_out += 1;
            return;
        }
    };
    let run = move || catch_unwind(AssertUnwindSafe(|| watchdog(LIMIT, || on.run(body)))).is_err();
    let began = Instant::now();
    let thread = std::thread::Builder::new().name(name.clone()).spawn(run);
    let panicked = thread.expect("an OS thread can be had").join().unwrap_or(true);
    let passed = panicked == test.should_panic;
    let took = began.elapsed().as_secs_f32();
    println!("test {name} ... {} ({took:.2} s)", if passed { "ok" } else { "FAILED" });
    let mut count = count.lock().unwrap();
    if passed {
        count.passed += 1;
    } else {
        count.failed.push(name);
    }
}

/// What the command line asks for.
#[derive(Default)]
struct Asked {
    words: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
}

impl Asked {
    fn from_arguments() -> Self {
        let mut asked = Self::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => asked.exact = true,
                "--list" => asked.list = true,
                "--skip" => asked.skip.extend(arguments.next()),
                "--test-threads" | "--format" | "--color" | "-Z" => drop(arguments.next()),
                option if option.starts_with('-') => {}
                _ => asked.words.push(argument),
            }
        }
        asked
    }

    fn for_test(&self, name: &str) -> bool {
        let is = |word: &String| if self.exact { name == word } else { name.contains(word) };
        (self.words.is_empty() || self.words.iter().any(is)) && !self.skip.iter().any(is)
    }
}
