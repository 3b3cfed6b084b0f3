//! The table of one workload, as plain text.

use std::fmt::Write as _;

use crate::contestant::Contestant;
use crate::options::Options;
use crate::session::Cell;
use crate::workload::Workload;

/// A line for each number of workers, a column for each contestant.
pub(crate) fn of(
    workload: &Workload,
    contestants: &[Contestant],
    cells: &[Cell],
    options: &Options,
) -> String {
    let mut text = String::new();
    let mut failures = Vec::new();
    let size = if options.quick { workload.quick } else { workload.size };
    for figure in workload.figures {
        for &workers in &options.workers {
            write!(text, "{} {} w{workers}:", workload.name, figure.title).unwrap();
            for contestant in contestants {
                let cell =
                    cells.iter().find(|c| c.contestant == contestant.name && c.workers == workers);
                match cell.map(|cell| cell.median(figure.name)) {
                    None => {}
                    Some(Ok(median)) => {
                        write!(text, "  {} {:.1}", contestant.name, median / (figure.per)(size))
                            .unwrap();
                    }
                    Some(Err(why)) => {
                        failures.push(format!("  {}, {workers}: {why}", contestant.name));
                        write!(text, "  {} ✗", contestant.name).unwrap();
                    }
                }
            }
            if let Some(target) = figure.target.and_then(|t| t.get(workers - 1).copied()) {
                write!(text, "  (target {target})").unwrap();
            }
            text.push('\n');
        }
    }
    for failure in failures {
        text += &failure;
        text.push('\n');
    }
    text
}
