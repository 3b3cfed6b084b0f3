//! What a process takes of the machine.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// Its memory, page tables too, in bytes.
pub fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the kernel says what we have");
    memory_in(&status).expect("the kernel says it in kB")
}

/// Returns the memory of another process, like [`memory`].
///
/// # Errors
///
/// If there is no such process.
pub fn memory_of(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    memory_in(&status).ok_or_else(|| io::Error::other(format!("process {process} has ended")))
}

fn memory_in(status: &str) -> Option<u64> {
    let kib = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    kib("VmRSS:").zip(kib("VmPTE:")).map(|(resident, tables)| (resident + tables) << 10)
}

/// How many maps of memory it has.
pub fn maps() -> usize {
    fs::read_to_string("/proc/self/maps").expect("the kernel lists maps").lines().count()
}

/// The time that processors have spent on it.
pub fn cpu_time() -> Duration {
    read(libc::CLOCK_PROCESS_CPUTIME_ID).expect("there is a clock of the process")
}

/// Returns the time that processors have spent on another process: user and system time, as in
/// /proc/PID/stat, but not rounded to hundredths of a second.
///
/// # Errors
///
/// If there is no such process.
pub fn cpu_time_of(process: u32) -> io::Result<Duration> {
    let mut clock = libc::CLOCK_PROCESS_CPUTIME_ID;
    // SAFETY: `clock` is a clock's id to be written.
    match unsafe { libc::clock_getcpuclockid(process as libc::pid_t, &mut clock) } {
        0 => read(clock),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn read(clock: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec to be written.
    match unsafe { libc::clock_gettime(clock, &mut time) } {
        0 => Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Looks how long memory takes to go back to the system.
#[derive(Debug)]
pub struct GiveBack {
    before: u64,
    peak: u64,
    start: Instant,
    millis: f64,
}

impl GiveBack {
    /// How long to wait between looks.
    pub const INTERVAL: Duration = Duration::from_millis(5);
    const LIMIT: Duration = Duration::from_secs(5);

    /// Now begins the time, with memory before it was used and at its peak.
    pub fn begin(before: u64, peak: u64) -> Self {
        Self { before, peak, start: Instant::now(), millis: f64::INFINITY }
    }

    /// Looks once, and says whether looking is over.
    pub fn look(&mut self) -> bool {
        let now = memory();
        self.peak = self.peak.max(now);
        let given_back = now.saturating_sub(self.before) < (self.peak - self.before) / 20;
        if given_back {
            self.millis = self.start.elapsed().as_secs_f64() * 1e3;
        }
        given_back || self.start.elapsed() > Self::LIMIT
    }

    /// The milliseconds until memory was under a twentieth of the peak, or infinity.
    pub fn millis(&self) -> f64 {
        self.millis
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, id};

    #[test]
    fn another_process_is_measured_like_this_one() {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {}
        let (one, other) = (cpu_time(), cpu_time_of(id()).unwrap());
        assert!(other >= one && other < one + Duration::from_secs(10), "{one:?}, {other:?}");
        assert!(memory_of(id()).unwrap() > 0);
    }

    #[test]
    fn a_process_that_has_ended_has_nothing() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(cpu_time_of(child.id()).is_err() && memory_of(child.id()).is_err());
    }
}
