//! The command line, read by hand: three options do not need a parser crate.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::threads::Threads;

pub(crate) const USAGE: &str = "usage: digest [--in-flight N] [--compare] [--] PATH";

pub(crate) const HELP: &str = "\
usage: digest [--in-flight N] [--compare] [--] PATH

Prints the SHA-256 of every regular file below PATH, sorted by path, in the
format of sha256sum: `digest . | sha256sum -c` checks it. PATH may be a file.
Symbolic links below PATH are not followed. Each file has a green thread.

  --in-flight N  at most N files at a time, 1 to 1000000 (default 64); they may
                 all be open at once, so mind `ulimit -n`
  --compare      also run with one std::thread per file, and report the wall
                 time and peak memory of both on stderr
  -h, --help     print this help

Exit status: 0 if all went well, 1 if something could not be read or written,
2 for a wrong command line, 130 after Ctrl-C, 141 if stdout was closed.
";

const MAX_IN_FLIGHT: usize = 1_000_000;

/// What the user asked for.
pub(crate) enum Command {
    Help,
    Digest(Job),
    Compare(Job),
}

/// What to digest, and how.
pub(crate) struct Job {
    pub(crate) path: PathBuf,
    pub(crate) in_flight: usize,
    pub(crate) threads: Threads,
    pub(crate) progress: bool,
}

/// Reads the arguments, without the program's name. The error is a line for the user.
pub(crate) fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut paths = Vec::new();
    let mut in_flight = 64;
    let mut threads = Threads::Green;
    let mut progress = true;
    let mut compare = false;

    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("-h" | "--help") => return Ok(Command::Help),
            Some("--compare") => compare = true,
            Some("--in-flight") => in_flight = parse_in_flight(&value_of(&arg, &mut args)?)?,
            // Not in the help: this is how `--compare` starts its variants.
            Some("--threads") => {
                threads = Threads::from_name(&value_of(&arg, &mut args)?)?;
                progress = false;
            }
            Some("--") => paths.extend(args.by_ref()),
            Some("-") => paths.push(arg),
            _ if arg.as_encoded_bytes().starts_with(b"-") => {
                return Err(format!("unrecognized option {arg:?}"));
            }
            _ => paths.push(arg),
        }
    }

    let mut paths = paths.into_iter();
    let path = paths.next().ok_or("PATH is missing")?;
    if let Some(extra) = paths.next() {
        return Err(format!("extra operand {extra:?}"));
    }
    let job = Job { path: path.into(), in_flight, threads, progress };
    Ok(if compare { Command::Compare(job) } else { Command::Digest(job) })
}

fn value_of(option: &OsStr, args: &mut impl Iterator<Item = OsString>) -> Result<OsString, String> {
    args.next().ok_or(format!("option {option:?} requires an argument"))
}

fn parse_in_flight(value: &OsStr) -> Result<usize, String> {
    match value.to_string_lossy().parse() {
        Ok(n) if (1..=MAX_IN_FLIGHT).contains(&n) => Ok(n),
        _ => Err(format!("--in-flight takes a number from 1 to {MAX_IN_FLIGHT}, not {value:?}")),
    }
}
