//! The command line.

use std::time::Duration;

pub(crate) const USAGE: &str = "usage: proxy [OPTION]... LISTEN TARGET   (proxy --help)";

pub(crate) const HELP: &str = "\
usage: proxy [OPTION]... LISTEN TARGET

Accepts TCP connections at the address LISTEN, connects each to the address
TARGET, and passes on what comes from either side. The end of one direction is
passed on, and the other one goes on. Ctrl-C or SIGTERM ends the proxy: it waits
for the connections to end. A second one ends it at once.

  --connections N   at most N connections at once (1000); others wait. Lowered
                    if `ulimit -n` does not allow as many
  --connect-time SECONDS  for the target to accept a connection (5)
  --idle SECONDS    end a connection if nothing comes from either side for so
                    long (300)
  --drain SECONDS   for connections to end when the proxy is to end (10)
  --splice          let the kernel move the bytes: faster for large amounts
  --quiet           do not print a line for each connection that has ended
  -h, --help        print this help

Exit status: 0 if it ended in an orderly way, 1 if it could not listen or had to
cut off connections, 2 for a wrong command line, 130 after a second Ctrl-C.
";

/// What the user asked for.
pub(crate) enum Command {
    Help,
    Proxy(Config),
}

/// What to pass on, and how.
pub(crate) struct Config {
    pub(crate) listen: String,
    pub(crate) target: String,
    pub(crate) connections: usize,
    pub(crate) connect_time: Duration,
    pub(crate) idle: Duration,
    pub(crate) drain: Duration,
    pub(crate) splice: bool,
    pub(crate) quiet: bool,
}

/// Reads the arguments, without the program's name. The error is a line for the user.
pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut config = Config {
        listen: String::new(),
        target: String::new(),
        connections: 1000,
        connect_time: Duration::from_secs(5),
        idle: Duration::from_secs(300),
        drain: Duration::from_secs(10),
        splice: false,
        quiet: false,
    };
    let mut addresses = Vec::new();
    while let Some(arg) = args.next() {
        let option = arg.as_str();
        let mut value = || args.next().ok_or(format!("option {option} requires an argument"));
        match option {
            "-h" | "--help" => return Ok(Command::Help),
            "--connections" => config.connections = number(option, &value()?)?,
            "--connect-time" => config.connect_time = seconds(option, &value()?)?,
            "--idle" => config.idle = seconds(option, &value()?)?,
            "--drain" => config.drain = seconds(option, &value()?)?,
            "--splice" => config.splice = true,
            "--quiet" => config.quiet = true,
            _ if arg.starts_with('-') => return Err(format!("unrecognized option {arg:?}")),
            _ => addresses.push(arg),
        }
    }
    let mut addresses = addresses.into_iter();
    config.listen = addresses.next().ok_or("LISTEN is missing")?;
    config.target = addresses.next().ok_or("TARGET is missing")?;
    if let Some(extra) = addresses.next() {
        return Err(format!("extra operand {extra:?}"));
    }
    Ok(Command::Proxy(config))
}

fn number(option: &str, value: &str) -> Result<usize, String> {
    const MOST: usize = 1_000_000;
    match value.parse() {
        Ok(n) if (1..=MOST).contains(&n) => Ok(n),
        _ => Err(format!("{option} takes a number from 1 to {MOST}, not {value:?}")),
    }
}

fn seconds(option: &str, value: &str) -> Result<Duration, String> {
    let time = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| !time.is_zero() && *time < Duration::from_secs(1 << 30))
        .ok_or(format!("{option} takes a number of seconds, not {value:?}"))
}
