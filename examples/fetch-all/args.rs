//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str =
    "usage: fetch-all [--in-flight N] [--timeout SECONDS] [--from FILE] [URL]...";

pub(crate) const HELP: &str = "\
usage: fetch-all [--in-flight N] [--timeout SECONDS] [--from FILE] [URL]...

Fetches all URLs, and prints a line for each as it is done: status, bytes of the
body, milliseconds, URL. Only http:// URLs; up to 5 redirections are followed.

  --in-flight N      at most N at a time, 1 to 100000 (16); mind `ulimit -n`
  --timeout SECONDS  for each URL, redirections included (30)
  --from FILE        also fetch the URLs in FILE, one on each line; - is stdin
  -h, --help         print this help

Exit status: 0 if all went well, 1 if a URL could not be fetched or its status
was 400 or above, 2 for a wrong command line, 130 after Ctrl-C, 141 if stdout
was closed.
";

/// What the user asked for.
pub(crate) enum Command {
    Help,
    Fetch(Job),
}

/// What to fetch, and how.
pub(crate) struct Job {
    pub(crate) urls: Vec<String>,
    pub(crate) from: Option<PathBuf>,
    pub(crate) in_flight: usize,
    pub(crate) timeout: Duration,
}

/// Reads the arguments, without the program's name. The error is a line for the user.
pub(crate) fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut job =
        Job { urls: Vec::new(), from: None, in_flight: 16, timeout: Duration::from_secs(30) };
    while let Some(arg) = args.next() {
        let option = arg.to_str().unwrap_or_default();
        let mut value = || args.next().ok_or(format!("option {option} requires an argument"));
        match option {
            "-h" | "--help" => return Ok(Command::Help),
            "--in-flight" => job.in_flight = number(option, &value()?)?,
            "--timeout" => job.timeout = seconds(option, &value()?)?,
            "--from" => job.from = Some(value()?.into()),
            _ if arg.as_encoded_bytes().starts_with(b"-") => {
                return Err(format!("unrecognized option {arg:?}"));
            }
            _ => job.urls.push(arg.into_string().map_err(|arg| format!("no URL: {arg:?}"))?),
        }
    }
    if job.urls.is_empty() && job.from.is_none() {
        return Err("there is no URL".into());
    }
    Ok(Command::Fetch(job))
}

fn number(option: &str, value: &OsStr) -> Result<usize, String> {
    const MOST: usize = 100_000;
    match value.to_string_lossy().parse() {
        Ok(n) if (1..=MOST).contains(&n) => Ok(n),
        _ => Err(format!("{option} takes a number from 1 to {MOST}, not {value:?}")),
    }
}

fn seconds(option: &str, value: &OsStr) -> Result<Duration, String> {
    let seconds = value.to_string_lossy().parse().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| !time.is_zero() && *time < Duration::from_secs(1 << 30))
        .ok_or(format!("{option} takes a number of seconds, not {value:?}"))
}
