//! One process of a contestant: start it, wait, read the line that it prints.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How much of an error message is kept.
const REASON: usize = 120;

/// What a contestant printed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) repetitions: u64,
    pub(crate) checksum: u64,
    pub(crate) figures: BTreeMap<String, f64>,
}

/// Runs a command to its end or to the limit of time, and reads the line that it prints, or says what went
/// wrong.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Line, String> {
    let output = output(command, limit)?;
    output.parse().map_err(|()| shortened(&format!("printed {output:?}")))
}

/// What a command printed that ended well.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<String, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        format!("{} does not start: {error}", command.get_program().to_string_lossy())
    })?;
    // Read on threads, so that one who prints a lot does not wait for us.
    let output = collect(child.stdout.take().expect("it is piped"));
    let errors = collect(child.stderr.take().expect("it is piped"));
    let status = wait(&mut child, limit)
        .map_err(|error| format!("cannot be waited for: {error}"))?
        .ok_or_else(|| format!("not done in {} s", limit.as_secs()))?;
    if status.success() {
        return Ok(text(output).trim().to_owned());
    }
    Err(how(status, errors))
}

/// Returns how a process ended, with the reason that it told.
pub(crate) fn how(status: ExitStatus, errors: JoinHandle<String>) -> String {
    let how = match status.signal() {
        Some(libc::SIGSEGV) => "segmentation fault".to_owned(),
        Some(libc::SIGABRT) => "aborted".to_owned(),
        Some(libc::SIGKILL) => "killed".to_owned(),
        Some(signal) => format!("signal {signal}"),
        None => status.to_string(),
    };
    match reason(&text(errors)) {
        Some(reason) => format!("{how}: {reason}"),
        None => how,
    }
}

fn text(reader: JoinHandle<String>) -> String {
    reader.join().expect("reading does not panic")
}

/// The line of an error message that says why: the first, but after Rust's and Java's that say where.
fn reason(errors: &str) -> Option<String> {
    let mut lines = errors.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next()?;
    let reason = if first.contains("panicked at") { lines.next()? } else { first };
    Some(shortened(reason))
}

fn shortened(message: &str) -> String {
    let short: String = message.chars().take(REASON).collect();
    if short.len() < message.len() { format!("{short}…") } else { short }
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

/// Reads all that a process prints, on a thread.
pub(crate) fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until an error is all there is.
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// `reps N checksum N` and then figures, each a name and a number.
impl FromStr for Line {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (head, figures) = words.split_at_checked(4).ok_or(())?;
        let ["reps", repetitions, "checksum", checksum] = head else { return Err(()) };
        let pairs = figures.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err(());
        }
        let figure = |pair: &[&str]| Some((pair[0].to_owned(), pair[1].parse().ok()?));
        Ok(Self {
            repetitions: repetitions.parse().map_err(drop)?,
            checksum: checksum.parse().map_err(drop)?,
            figures: pairs.map(figure).collect::<Option<_>>().ok_or(())?,
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reps {} checksum {}", self.repetitions, self.checksum)?;
        self.figures.iter().try_for_each(|(name, figure)| write!(f, " {name} {figure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<Line, String> {
        run(Command::new("sh").args(["-c", script]), limit)
    }

    fn told(script: &str) -> String {
        shell(script, Duration::from_secs(60)).unwrap_err()
    }

    #[test]
    fn a_line_is_read() {
        let line =
            shell("echo reps 3 checksum 18446744073709551615 ns 1.5", Duration::MAX).unwrap();
        assert_eq!((line.repetitions, line.checksum), (3, u64::MAX));
        assert_eq!(line.figures["ns"], 1.5);
    }

    #[test]
    fn what_goes_wrong_is_told() {
        assert_eq!(told("echo why >&2; echo more >&2; exit 3"), "exit status: 3: why");
        assert_eq!(
            told("echo thread panicked at x >&2; echo why >&2; exit 1"),
            "exit status: 1: why"
        );
        assert_eq!(told("kill -SEGV $$"), "segmentation fault");
        assert_eq!(told("kill -TERM $$"), "signal 15");
        assert_eq!(told("echo reps"), "printed \"reps\"");
        assert!(told("echo $(seq 1000) >&2; exit 1").ends_with('…'));
        let nothing = run(&mut Command::new("no such program"), Duration::MAX).unwrap_err();
        assert!(nothing.starts_with("no such program does not start"), "{nothing}");
    }

    #[test]
    fn one_that_hangs_is_ended() {
        let hung = shell("exec sleep 600", Duration::from_millis(100));
        assert_eq!(hung.unwrap_err(), "not done in 0 s");
    }
}
