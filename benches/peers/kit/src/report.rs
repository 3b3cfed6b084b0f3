//! The line that a contestant prints.

use std::fmt;

/// The figures of one workload.
#[must_use]
#[derive(Debug)]
pub struct Report {
    repetitions: u64,
    checksum: u64,
    figures: Vec<(&'static str, f64)>,
}

impl Report {
    /// A report without figures yet.
    pub fn new(repetitions: u64, checksum: u64) -> Self {
        Self { repetitions, checksum, figures: Vec::new() }
    }

    /// Adds a figure.
    pub fn with(mut self, name: &'static str, figure: f64) -> Self {
        self.figures.push((name, figure));
        self
    }

    /// Adds the percentiles of waits, in nanoseconds. Sorts them.
    pub fn with_percentiles(self, waits: &mut [u64]) -> Self {
        waits.sort_unstable();
        let at = |share: f64| match waits.len() {
            0 => f64::NAN,
            len => waits[((len - 1) as f64 * share).round() as usize] as f64,
        };
        self.with("p50", at(0.5))
            .with("p99", at(0.99))
            .with("p99.9", at(0.999))
            .with("worst", at(1.0))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reps {} checksum {}", self.repetitions, self.checksum)?;
        self.figures.iter().try_for_each(|(name, figure)| write!(f, " {name} {figure}"))
    }
}
