//! `digest PATH`: the SHA-256 of every file below PATH, as GNU `sha256sum` prints it.
//!
//! A pipeline of green threads in the manner of Go: a walker, a thread per file, a collector, and
//! a *done* channel that stops them all. `stages` is the place to start reading.

mod args;
mod compare;
mod done;
mod hash;
mod output;
mod stages;
mod threads;

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use gthread::fs;

use args::{Command, Job};
use done::{Done, Stopped};
use output::{complain, complain_about, reason};

/// What a shell reports for a program that ended by SIGINT or SIGPIPE: 128 plus the signal.
const STATUS_INTERRUPTED: u8 = 130;
const STATUS_OUTPUT_CLOSED: u8 = 141;
const STATUS_USAGE: u8 = 2;

fn main() -> ExitCode {
    match args::parse(env::args_os().skip(1)) {
        Ok(Command::Help) => {
            // Nobody left to read the help is no reason to panic, as `print!` would.
            let _ = io::stdout().write_all(args::HELP.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Command::Digest(job)) => attend(&job, digest),
        Ok(Command::Compare(job)) => attend(&job, compare::compare),
        Err(mistake) => {
            complain(&format!("{mistake}\n{}", args::USAGE));
            ExitCode::from(STATUS_USAGE)
        }
    }
}

/// Does `work`, which says whether all went well, and turns its outcome into an exit status.
fn attend(job: &Job, work: fn(&Job, &Done) -> Result<bool, Stopped>) -> ExitCode {
    if let Err(error) = check_root(&job.path) {
        complain_about(&job.path, &error);
        return ExitCode::FAILURE;
    }
    match work(job, &done::on_ctrl_c()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Stopped::Interrupted) => {
            complain("interrupted");
            ExitCode::from(STATUS_INTERRUPTED)
        }
        Err(Stopped::OutputClosed) => ExitCode::from(STATUS_OUTPUT_CLOSED),
        Err(Stopped::Failed(error)) => {
            complain(&reason(&error));
            ExitCode::FAILURE
        }
    }
}

fn check_root(path: &Path) -> io::Result<()> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() || kind.is_dir() {
        Ok(())
    } else {
        Err(io::Error::other("Not a regular file or directory"))
    }
}

fn digest(job: &Job, interrupt: &Done) -> Result<bool, Stopped> {
    job.threads.run(|| {
        let tally = stages::digest_tree(job, interrupt)?;
        let complete = tally.is_complete();
        done::attended(job.threads, interrupt, || output::print(tally.lines))??;
        Ok(complete)
    })
}
