//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "usage: http [OPTION]... [ADDRESS]   (http --help)";

pub(crate) const HELP: &str = "\
usage: http [OPTION]... [ADDRESS]

Serves HTTP/1.1 at ADDRESS (default 127.0.0.1:8080): GET /plaintext, GET /json,
POST /echo, and the files below a directory. Ctrl-C or SIGTERM ends the server:
it finishes the requests that it has begun. A second one ends it at once.

  --root DIR          serve the files below DIR
  --log FILE          write an access log, in the common log format; - is stdout
  --connections N     at most N connections at once, others get a 503 (as many
                      as `ulimit -n` allows)
  --max-head BYTES    of a request's head, else 431 (8192)
  --max-body BYTES    of a request's body, else 413 (1048576)
  --idle SECONDS      close a connection that is not used for so long (60)
  --head-time SECONDS   for a request's head to arrive, else 408 (10)
  --body-time SECONDS   for a request's body to arrive, else 408 (60)
  --write-time SECONDS  give up a client that takes nothing for so long (30)
  --drain SECONDS     for requests to finish when the server is to end (10)
  -h, --help          print this help

Exit status: 0 if it ended in an orderly way, 1 if it could not listen or had to
cut off requests, 2 for a wrong command line, 130 after a second Ctrl-C.
";

/// What the user asked for.
pub(crate) enum Command {
    Help,
    Serve(Config),
}

/// How to serve.
pub(crate) struct Config {
    pub(crate) address: String,
    pub(crate) root: Option<PathBuf>,
    pub(crate) log: Option<PathBuf>,
    /// If there is a limit beyond that on descriptors.
    pub(crate) connections: Option<usize>,
    pub(crate) limits: Limits,
    pub(crate) drain: Duration,
}

/// How much one client may ask for, and for how long.
pub(crate) struct Limits {
    pub(crate) head: usize,
    pub(crate) body: usize,
    pub(crate) idle: Duration,
    pub(crate) head_time: Duration,
    pub(crate) body_time: Duration,
    pub(crate) write_time: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:8080".into(),
            root: None,
            log: None,
            connections: None,
            limits: Limits {
                head: 8 << 10,
                body: 1 << 20,
                idle: Duration::from_secs(60),
                head_time: Duration::from_secs(10),
                body_time: Duration::from_secs(60),
                write_time: Duration::from_secs(30),
            },
            drain: Duration::from_secs(10),
        }
    }
}

/// Reads the arguments, without the program's name. The error is a line for the user.
pub(crate) fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut config = Config::default();
    let mut addresses = Vec::new();
    while let Some(arg) = args.next() {
        let option = arg.to_str().unwrap_or_default();
        let mut value = || args.next().ok_or(format!("option {option} requires an argument"));
        match option {
            "-h" | "--help" => return Ok(Command::Help),
            "--root" => config.root = Some(value()?.into()),
            "--log" => config.log = Some(value()?.into()),
            "--connections" => config.connections = Some(number(option, &value()?, 1, 1_000_000)?),
            "--max-head" => config.limits.head = number(option, &value()?, 64, 1 << 20)?,
            "--max-body" => config.limits.body = number(option, &value()?, 0, 1 << 30)?,
            "--idle" => config.limits.idle = seconds(option, &value()?)?,
            "--head-time" => config.limits.head_time = seconds(option, &value()?)?,
            "--body-time" => config.limits.body_time = seconds(option, &value()?)?,
            "--write-time" => config.limits.write_time = seconds(option, &value()?)?,
            "--drain" => config.drain = seconds(option, &value()?)?,
            _ if arg.as_encoded_bytes().starts_with(b"-") => {
                return Err(format!("unrecognized option {arg:?}"));
            }
            _ => addresses.push(arg),
        }
    }
    let mut addresses = addresses.into_iter();
    if let Some(address) = addresses.next() {
        config.address =
            address.into_string().map_err(|address| format!("no address: {address:?}"))?;
    }
    if let Some(extra) = addresses.next() {
        return Err(format!("extra operand {extra:?}"));
    }
    Ok(Command::Serve(config))
}

fn number(option: &str, value: &OsStr, least: usize, most: usize) -> Result<usize, String> {
    match value.to_string_lossy().parse() {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        _ => Err(format!("{option} takes a number from {least} to {most}, not {value:?}")),
    }
}

fn seconds(option: &str, value: &OsStr) -> Result<Duration, String> {
    let seconds = value.to_string_lossy().parse().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| !time.is_zero() && *time < Duration::from_secs(1 << 30))
        .ok_or(format!("{option} takes a number of seconds, not {value:?}"))
}
