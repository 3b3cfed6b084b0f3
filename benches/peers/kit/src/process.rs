//! What the process takes of the machine.

use std::fs;
use std::time::{Duration, Instant};

/// Its memory, page tables too, in bytes.
pub fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the kernel says what we have");
    let kib = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    let sum = kib("VmRSS:").zip(kib("VmPTE:")).map(|(resident, tables)| resident + tables);
    sum.expect("the kernel says it in kB") << 10
}

/// How many maps of memory it has.
pub fn maps() -> usize {
    fs::read_to_string("/proc/self/maps").expect("the kernel lists maps").lines().count()
}

/// The time that processors have spent on it.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec to be written.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "there is a clock of the process");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
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
