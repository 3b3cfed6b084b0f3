//! A workload that is asked for, and how it is repeated until its time can be told.

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::report::Report;

/// How many samples are taken; their median is reported.
const SAMPLES: usize = 5;

/// A workload: its name in the protocol, and what runs it.
pub type Workload = (&'static str, fn(&Job) -> Report);

/// What the command line asks for.
#[derive(Debug)]
pub struct Job {
    /// OS threads that run the workload.
    pub workers: usize,
    /// How large it is; what that means is the workload's.
    pub size: usize,
    /// How long one sample should take.
    pub sample: Duration,
}

/// Time taken, and what was computed meanwhile.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// The time.
    pub taken: Duration,
    /// A number that only correct runs give.
    pub checksum: u64,
}

impl Timed {
    /// What was computed since then.
    pub fn since(start: Instant, checksum: u64) -> Self {
        Self { taken: start.elapsed(), checksum }
    }
}

/// Times `f`, which gives a checksum.
pub fn time(f: impl FnOnce() -> u64) -> Timed {
    let start = Instant::now();
    let checksum = f();
    Timed::since(start, checksum)
}

impl Job {
    /// Runs `repetitions(n)`, which repeats the workload `n` times, with an `n` that makes it take about as
    /// long as a sample should, and reports the time of one repetition.
    ///
    /// # Panics
    ///
    /// If the checksums of two samples differ.
    pub fn repeat(&self, mut repetitions: impl FnMut(u64) -> Timed) -> Report {
        // Finding the number warms up as well.
        let mut n = 1;
        loop {
            let taken = repetitions(n).taken.max(Duration::from_nanos(1));
            if taken > self.sample / 2 {
                break;
            }
            let growth = self.sample.as_secs_f64() / taken.as_secs_f64();
            n = (n as f64 * growth.clamp(1.5, 10.0)).ceil() as u64;
        }

        let first = repetitions(n);
        let mut times = vec![first.taken];
        // What cannot be repeated faster than this has few samples.
        while times.len() < SAMPLES && times.iter().sum::<Duration>() < self.sample * 10 {
            let next = repetitions(n);
            assert_eq!(next.checksum, first.checksum, "two samples differ");
            times.push(next.taken);
        }
        times.sort();
        let each = |time: Duration| time.as_secs_f64() * 1e9 / n as f64;
        Report::new(n, first.checksum)
            .with("ns", each(times[times.len() / 2]))
            .with("min", each(times[0]))
    }
}

/// The whole of a contestant: does what the command line asks for.
pub fn main(workloads: &[Workload]) -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => workloads.iter().for_each(|(name, _)| println!("{name}")),
        [workload, workers, size, millis] => {
            let number = |word: &str| {
                word.parse::<usize>().unwrap_or_else(|_| panic!("{word} is not a number"))
            };
            let job = Job {
                workers: number(workers),
                size: number(size),
                sample: Duration::from_millis(number(millis) as u64),
            };
            let Some((_, run)) = workloads.iter().find(|(name, _)| *name == workload) else {
                eprintln!("there is no workload {workload}");
                return ExitCode::from(2);
            };
            println!("{}", run(&job));
        }
        _ => {
            eprintln!("arguments: list, or WORKLOAD WORKERS SIZE MILLIS");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// The part of `n` that one of several has; the parts differ by one at most.
pub fn share(n: u64, of: u64, id: u64) -> u64 {
    n / of + u64::from(id < n % of)
}
