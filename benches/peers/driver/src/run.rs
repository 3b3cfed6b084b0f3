//! One process of a contestant: start it, wait, read the line that it prints.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a contestant printed.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) repetitions: u64,
    pub(crate) checksum: u64,
    pub(crate) figures: BTreeMap<String, f64>,
}

/// Why there is none.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// Not done in time.
    Hung(Duration),
    /// It ended otherwise than it should; the last line of what it had to say.
    Crashed { how: String, message: String },
    /// It computed something else.
    Wrong { expected: u64, got: u64 },
    /// It printed what is no line of the protocol.
    Garbled(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hung(limit) => write!(f, "not done in {} s", limit.as_secs()),
            Self::Crashed { how, message } if message.is_empty() => write!(f, "{how}"),
            Self::Crashed { how, message } => write!(f, "{how}: {message}"),
            Self::Wrong { expected, got } => write!(f, "checksum {got}, not {expected}"),
            Self::Garbled(line) => write!(f, "printed {line:?}"),
        }
    }
}

/// Runs a command to its end or to the limit of time.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Line, Failure> {
    let output = output(command, limit)?;
    parse(&output).ok_or(Failure::Garbled(output))
}

/// What a command printed that ended well.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<String, Failure> {
    let crashed = |how: &str, message: String| Failure::Crashed { how: how.into(), message };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| crashed("does not start", error.to_string()))?;
    // Read on threads, so that one who prints a lot does not wait for us.
    let output = collect(child.stdout.take().expect("it is piped"));
    let errors = collect(child.stderr.take().expect("it is piped"));
    let status = wait(&mut child, limit)
        .map_err(|error| crashed("cannot be waited for", error.to_string()))?
        .ok_or(Failure::Hung(limit))?;
    let text = |reader: JoinHandle<String>| reader.join().expect("reading does not panic");
    if status.success() {
        return Ok(text(output).trim().to_owned());
    }
    // The first line says what is wrong, in Rust the second: what panicked comes after where.
    let errors = text(errors);
    let mut lines = errors.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let message = if first.contains("panicked at") { lines.next().unwrap_or(first) } else { first };
    let how = match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => status.to_string(),
    };
    Err(crashed(&how, message.trim().to_owned()))
}

/// Waits for a process; kills it after the limit.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until an error is all there is.
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Reads `reps N checksum N` and then figures, each a name and a number.
fn parse(line: &str) -> Option<Line> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (head, figures) = words.split_at_checked(4)?;
    let ["reps", repetitions, "checksum", checksum] = head else { return None };
    let pairs = figures.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    let figure = |pair: &[&str]| Some((pair[0].to_owned(), pair[1].parse().ok()?));
    Some(Line {
        repetitions: repetitions.parse().ok()?,
        checksum: checksum.parse().ok()?,
        figures: pairs.map(figure).collect::<Option<_>>()?,
    })
}
