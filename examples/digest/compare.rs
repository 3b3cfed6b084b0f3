//! `--compare`: the same work on green threads and on OS threads, each in a process of its own, so
//! that one's memory does not count for the other.

use std::env;
use std::io::{self, Read, Write};
use std::mem;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::args::Job;
use crate::done::{self, Done, Stopped};
use crate::hash::Digest;
use crate::output::{self, complain};
use crate::threads::Threads;

/// What is known of a variant that ran.
struct Run {
    status: ExitStatus,
    wall_time: Duration,
    peak_memory: u64,
    output: Digest,
}

impl Run {
    /// Whether it ran to its end, though some file may have been unreadable (status 1).
    fn has_finished(&self) -> bool {
        matches!(self.status.code(), Some(0 | 1))
    }
}

/// Prints the digests on stdout and the figures on stderr; says whether all went well.
pub(crate) fn compare(job: &Job, interrupt: &Done) -> Result<bool, Stopped> {
    // The first run is the one that the user sees. It is not measured, as it may find a cold disk
    // cache, which is warm for those after it.
    let first = run(job, Threads::Green, interrupt, Stdio::inherit(), io::stdout())?;
    let os = run(job, Threads::Std, interrupt, Stdio::null(), io::sink())?;
    let green = run(job, Threads::Green, interrupt, Stdio::null(), io::sink())?;

    if let Some(bad) = [&first, &os, &green].into_iter().find(|run| !run.has_finished()) {
        complain(&format!("a variant failed: {}", bad.status));
        return Ok(false);
    }
    report(Threads::Std, &os);
    report(Threads::Green, &green);
    if first.output != os.output || first.output != green.output {
        complain("the variants do not agree");
        return Ok(false);
    }
    Ok([first, os, green].iter().all(|run| run.status.success()))
}

fn report(threads: Threads, run: &Run) {
    let seconds = run.wall_time.as_secs_f64();
    let mebibytes = run.peak_memory as f64 / f64::from(1 << 20);
    complain(&format!("{:<11} {seconds:9.3} s {mebibytes:9.1} MiB at peak", threads.name()));
}

/// Runs one variant. The thread that waits for it is no green one: that would start a runtime in
/// this process, which is to stay small (see [`wait`]).
fn run(
    job: &Job,
    threads: Threads,
    interrupt: &Done,
    stderr: Stdio,
    copy: impl Write + Send + 'static,
) -> Result<Run, Stopped> {
    let (path, in_flight) = (job.path.clone(), job.in_flight);
    let work = move || measure(path, in_flight, threads, stderr, copy);
    Ok(done::attended(Threads::Std, interrupt, work)??)
}

fn measure(
    path: PathBuf,
    in_flight: usize,
    threads: Threads,
    stderr: Stdio,
    mut copy: impl Write,
) -> io::Result<Run> {
    let start = Instant::now();
    let mut child = Command::new(env::current_exe()?)
        .args(["--threads", threads.name(), "--in-flight", &in_flight.to_string(), "--"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        // Ctrl-C at the terminal is for this process alone; the child sees its stdout close then.
        .process_group(0)
        .spawn()?;

    let mut stdout = child.stdout.take().expect("stdout is piped");
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match stdout.read(&mut chunk)? {
            0 => break,
            n => {
                hasher.update(&chunk[..n]);
                copy.write_all(&chunk[..n]).map_err(output::write_error)?;
            }
        }
    }
    copy.flush().map_err(output::write_error)?;
    let (status, peak_memory) = wait(child)?;
    Ok(Run { status, wall_time: start.elapsed(), peak_memory, output: hasher.finalize().into() })
}

/// Waits for the child to end; returns its exit status and its peak memory in bytes.
///
/// Until it starts its program, a child counts its parent's memory as its own. So the figure is
/// right only as long as this process is smaller.
fn wait(child: Child) -> io::Result<(ExitStatus, u64)> {
    let pid = libc::pid_t::try_from(child.id()).expect("the standard library got it as a pid_t");
    let mut status = 0;
    // SAFETY: `rusage` consists of integers only, for which all-zero bytes are a value.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: both pointers come from live, exclusive borrows, and `wait4` writes nothing else. No
    // other process is meant than this child: it keeps its pid until it is waited for, and only
    // methods of `child` could have done that, none of which was called.
    if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    Ok((ExitStatus::from_raw(status), usage.ru_maxrss as u64 * unit))
}
