//! Runs the contestants in turn, in rounds, and keeps what they printed.

use std::time::Duration;

use crate::contestant::Contestant;
use crate::options::Options;
use crate::run::{self, Failure, Line};
use crate::workload::Workload;

/// How long one process may take.
const LIMIT: Duration = Duration::from_secs(60);

/// All rounds of one contestant with so many workers.
pub(crate) struct Cell {
    pub(crate) contestant: &'static str,
    pub(crate) workers: usize,
    pub(crate) rounds: Vec<Result<Line, Failure>>,
}

impl Cell {
    /// The median of a figure over the rounds, if none failed.
    pub(crate) fn median(&self, figure: &str) -> Result<f64, &Failure> {
        let lines = self.rounds.iter().map(Result::as_ref).collect::<Result<Vec<_>, _>>()?;
        let mut figures: Vec<f64> =
            lines.iter().filter_map(|line| line.figures.get(figure).copied()).collect();
        figures.sort_by(f64::total_cmp);
        let middle = |at: usize| figures.get(at).copied().unwrap_or(f64::NAN);
        Ok(f64::midpoint(middle(figures.len().saturating_sub(1) / 2), middle(figures.len() / 2)))
    }
}

/// Runs a workload on every contestant that has it.
pub(crate) fn measure(
    workload: &Workload,
    contestants: &[Contestant],
    options: &Options,
) -> Vec<Cell> {
    let size = if options.quick { workload.quick } else { workload.size };
    let mut cells = Vec::new();
    for &workers in &options.workers {
        for contestant in contestants.iter().filter(|contestant| contestant.has(workload.name)) {
            cells.push(Cell { contestant: contestant.name, workers, rounds: Vec::new() });
        }
    }
    for round in 1..=options.rounds {
        eprintln!("{}: round {round} of {}", workload.name, options.rounds);
        for cell in &mut cells {
            // What failed once is not tried again: it may have taken long to fail.
            if cell.rounds.iter().any(Result::is_err) {
                continue;
            }
            let contestant = contestants.iter().find(|c| c.name == cell.contestant);
            let mut command = contestant.expect("cells are for contestants").command(cell.workers);
            command.arg(workload.name);
            command.args([cell.workers as u64, size, options.millis].map(|n| n.to_string()));
            cell.rounds.push(run::run(&mut command, LIMIT).and_then(|line| {
                let expected = (workload.checksum)(size, line.repetitions);
                if line.checksum == expected {
                    Ok(line)
                } else {
                    Err(Failure::Wrong { expected, got: line.checksum })
                }
            }));
        }
    }
    cells
}
