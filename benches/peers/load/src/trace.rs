//! Counts the system calls of a process, by strace.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A strace that is attached to a process.
#[derive(Debug)]
pub(crate) struct Trace {
    strace: Child,
    errors: BufReader<ChildStderr>,
}

/// How many system calls there were.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) all: u64,
    pub(crate) epoll_ctl: u64,
}

impl Trace {
    /// Attaches to all threads of a process, and to those that it will start.
    pub(crate) fn attach(process: u32) -> io::Result<Self> {
        let mut strace = Command::new("strace")
            .args(["-f", "-c", "-p", &process.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("strace: {error}")))?;
        let errors = strace.stderr.take().expect("it is piped");
        let mut trace = Self { strace, errors: BufReader::new(errors) };
        let mut line = String::new();
        trace.errors.read_line(&mut line)?;
        if line.contains(" attached") { Ok(trace) } else { Err(io::Error::other(line)) }
    }

    /// Detaches, and returns what was counted.
    pub(crate) fn end(mut self) -> io::Result<Calls> {
        let strace = Pid::from_child(&self.strace);
        kill_process(strace, Signal::INT)?;
        let mut text = String::new();
        self.errors.read_to_string(&mut text)?;
        self.strace.wait()?;
        parse(&text).ok_or_else(|| io::Error::other(format!("strace has printed {text:?}")))
    }
}

/// Reads the table at strace's end: `% time, seconds, usecs/call, calls`, `errors` if any, and the name.
fn parse(text: &str) -> Option<Calls> {
    let calls = |name: &str| {
        let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = words.into_iter().find(|words| words.last() == Some(&name))?;
        line.get(3)?.parse().ok()
    };
    Some(Calls { all: calls("total")?, epoll_ctl: calls("epoll_ctl").unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read() {
        let text = "\
strace: Process 12 detached
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           6       100           sendto
 40.00    0.000400           3       120        20 recvfrom
  0.00    0.000000           0         2           epoll_ctl
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           4       222        20 total
";
        assert_eq!(parse(text), Some(Calls { all: 222, epoll_ctl: 2 }));
        assert_eq!(parse("strace: attach: ptrace(PTRACE_SEIZE, 1): Operation not permitted"), None);
    }
}
