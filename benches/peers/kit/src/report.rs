//! The line that a contestant prints.

use std::fmt;

use crate::waits::Waits;

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

    /// Adds what is to be known about waits, in nanoseconds.
    pub fn with_waits(self, waits: &Waits) -> Self {
        let at = |share| waits.percentile(share) as f64;
        self.with("p50", at(0.5))
            .with("p99", at(0.99))
            .with("p99.9", at(0.999))
            .with("worst", waits.worst() as f64)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reps {} checksum {}", self.repetitions, self.checksum)?;
        self.figures.iter().try_for_each(|(name, figure)| write!(f, " {name} {figure}"))
    }
}
