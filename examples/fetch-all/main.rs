//! Fetches many URLs at once: a green thread for each, and a limit on how many run.
//!
//! ```console
//! $ cargo run --release --example fetch-all -- http://127.0.0.1:8080/json http://localhost:8080/
//! $ cargo run --release --example fetch-all -- --from urls.txt --in-flight 100 --timeout 5
//! ```
//!
//! `fetch_all` below is the place to start reading: a semaphore limits, a context cancels, a
//! channel gathers the results.

mod args;
mod client;
mod list;
mod output;
mod url;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gthread::channel::{self, Receiver, Sender, bounded, select};
use gthread::context::Context;
use gthread::io::{self, ErrorKind, Write};
use gthread::sync::Semaphore;
use gthread::{Builder, go, signal};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use args::{Command, Job};
use client::Fetched;
use output::{Progress, complain, reason};

/// What a shell reports for a program that ended by SIGINT or SIGPIPE: 128 plus the signal.
const STATUS_INTERRUPTED: u8 = 130;
const STATUS_OUTPUT_CLOSED: u8 = 141;
const STATUS_USAGE: u8 = 2;

/// Descriptors for other things than connections: the standard streams, the list, look-ups, the
/// runtime's own.
const RESERVED: usize = 16;

/// How long the requests in flight may take to end once they are cancelled.
const CANCEL_TIME: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let job = match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Fetch(job)) => job,
        Ok(Command::Help) => {
            // A closed stdout is no reason to panic, as `print!` would.
            let _ = io::stdout().write_all(args::HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            complain(&format!("{mistake}\n{}", args::USAGE));
            return ExitCode::from(STATUS_USAGE);
        }
    };
    match gthread::run(|| fetch_all(job)) {
        Ok(tally) if tally.failed == 0 && !tally.list_is_unreadable => ExitCode::SUCCESS,
        Ok(tally) => {
            if tally.failed > 0 {
                complain(&format!("{} of {} failed", tally.failed, tally.found));
            }
            ExitCode::FAILURE
        }
        Err(Stopped::Interrupted(tally)) => {
            complain(&format!("interrupted after {} URLs", tally.done));
            ExitCode::from(STATUS_INTERRUPTED)
        }
        Err(Stopped::OutputClosed) => ExitCode::from(STATUS_OUTPUT_CLOSED),
        Err(Stopped::Failed(error)) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Why the program stopped before its work was done.
enum Stopped {
    Interrupted(Tally),
    OutputClosed,
    Failed(String),
}

/// How many URLs there are so far, how many of them are done with, and how many have failed.
#[derive(Clone, Copy, Default)]
struct Tally {
    found: usize,
    done: usize,
    failed: usize,
    list_is_unreadable: bool,
}

/// What the threads report.
enum Event {
    /// There is one more URL to fetch.
    Found,
    /// A URL as it was given, and what became of it.
    Done(String, Duration, Result<Fetched, String>),
    /// The list of URLs cannot be read.
    Unreadable(String),
}

fn fetch_all(mut job: Job) -> Result<Tally, Stopped> {
    limit_in_flight(&mut job);
    let interrupts = signal::ctrl_c()
        .map_err(|error| Stopped::Failed(format!("cannot wait for Ctrl-C: {}", reason(&error))))?;
    let bar = Progress::new();
    let (ctx, cancel) = Context::background().with_cancel();
    // No more results than this wait to be printed.
    let (events, results) = bounded(job.in_flight);
    go!({
        let ctx = ctx.clone();
        move || start_all(&ctx, job, &events)
    });
    let mut tally = Tally::default();
    loop {
        select! {
            recv(results) -> event => match event {
                Ok(event) => take(event, &bar, &mut tally)?,
                Err(_) => return Ok(tally),
            },
            recv(interrupts) -> _ => break,
        }
    }
    cancel.cancel();
    await_cancelled(tally, &results, &interrupts);
    Err(Stopped::Interrupted(tally))
}

/// Allows this process as many descriptors as it may have, and has no more requests in flight than
/// these are enough for.
fn limit_in_flight(job: &mut Job) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let Some(descriptors) = current.and_then(|limit| usize::try_from(limit).ok()) else { return };
    // A connection, and an attempt at another address.
    let possible = (descriptors.saturating_sub(RESERVED) / 2).max(1);
    if possible < job.in_flight {
        job.in_flight = possible;
        complain(&format!("at most {possible} at a time: ulimit -n is {descriptors}"));
    }
}

/// Waits a moment for the requests in flight to end, so that their servers see them end in order. A
/// second Ctrl-C ends the wait.
fn await_cancelled(mut tally: Tally, results: &Receiver<Event>, interrupts: &Receiver<()>) {
    let end = channel::after(CANCEL_TIME);
    while tally.done < tally.found {
        select! {
            recv(results) -> event => match event {
                Ok(Event::Found) => tally.found += 1,
                Ok(_) => tally.done += 1,
                Err(_) => return,
            },
            recv(interrupts) -> _ => return,
            recv(end) -> _ => return,
        }
    }
}

/// Prints a result, and counts it.
fn take(event: Event, bar: &Progress, tally: &mut Tally) -> Result<(), Stopped> {
    match event {
        Event::Found => {
            tally.found += 1;
            bar.one_more_found();
        }
        Event::Done(url, time, result) => {
            tally.done += 1;
            bar.one_more_finished();
            match result {
                Ok(fetched) => {
                    tally.failed += usize::from(!fetched.is_success());
                    bar.print(&url, time, &fetched).map_err(|error| match error.kind() {
                        ErrorKind::BrokenPipe => Stopped::OutputClosed,
                        _ => Stopped::Failed(format!("write error: {}", reason(&error))),
                    })?;
                }
                Err(error) => {
                    tally.failed += 1;
                    bar.complain(&format!("{url}: {error}"));
                }
            }
        }
        Event::Unreadable(error) => {
            tally.list_is_unreadable = true;
            bar.complain(&error);
        }
    }
    Ok(())
}

/// Starts a thread for each URL, and at most so many at a time.
fn start_all(ctx: &Context, job: Job, events: &Sender<Event>) {
    let limit = Arc::new(Semaphore::new(job.in_flight));
    for url in list::urls(job.urls, job.from) {
        let event = match &url {
            Ok(_) => Event::Found,
            Err(error) => Event::Unreadable(error.clone()),
        };
        // If nobody receives, the program is at its end.
        if ctx.err().is_some() || events.send(event).is_err() {
            return;
        }
        let Ok(url) = url else { continue };
        let permit = Arc::clone(&limit).acquire_owned();
        let (ctx, sender, timeout) = (ctx.clone(), events.clone(), job.timeout);
        let fetch = {
            let url = url.clone();
            move || {
                let start = Instant::now();
                let result = client::fetch(&ctx, &url, timeout);
                drop(permit);
                let _ = sender.send(Event::Done(url, start.elapsed(), result));
            }
        };
        if let Err(error) = Builder::new().spawn(fetch) {
            let error = format!("cannot start a thread: {}", reason(&error));
            let _ = events.send(Event::Done(url, Duration::ZERO, Err(error)));
        }
    }
}
