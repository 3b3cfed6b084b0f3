//! What was measured, kept in a file for each workload, so that a page can be made of several runs.
//!
//! A file has lines of words: `key rest`. It holds one session of a workload, which is replaced as a whole:
//! figures of different sessions are never compared with each other.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::contestant::Peer;
use crate::run::Line;
use crate::workload::{Figure, Workload};

/// One session of a workload.
#[derive(Default)]
pub(crate) struct Session {
    /// The day, in UTC.
    pub(crate) date: String,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// By the contestants' names.
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) cells: Vec<Cell>,
}

/// All rounds of one contestant with so many workers.
pub(crate) struct Cell {
    pub(crate) peer: &'static Peer,
    pub(crate) workers: usize,
    pub(crate) size: u64,
    pub(crate) rounds: Vec<Result<Line, String>>,
}

impl Cell {
    /// The median of a figure over the rounds, or how it failed in one.
    pub(crate) fn figure(&self, figure: &Figure) -> Result<f64, &str> {
        let lines = self.rounds.iter().map(|round| round.as_ref().map_err(String::as_str));
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        let mut figures: Vec<f64> =
            lines.iter().filter_map(|line| line.figures.get(figure.name).copied()).collect();
        figures.sort_by(f64::total_cmp);
        let (Some(low), Some(high)) =
            (figures.get(figures.len().saturating_sub(1) / 2), figures.get(figures.len() / 2))
        else {
            return Err("not measured");
        };
        Ok(f64::midpoint(*low, *high) / (figure.per)(self.size))
    }
}

impl Session {
    /// A contestant's cell.
    pub(crate) fn cell(&self, peer: &str, workers: usize) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.peer.name == peer && cell.workers == workers)
    }

    /// The numbers of workers that were measured.
    pub(crate) fn workers(&self) -> Vec<usize> {
        let mut workers: Vec<usize> = self.cells.iter().map(|cell| cell.workers).collect();
        workers.sort_unstable();
        workers.dedup();
        workers
    }

    /// Keeps it as the workload's only session.
    pub(crate) fn save(&self, workload: &Workload) -> io::Result<()> {
        let mut text =
            format!("date {}\nquick {}\nrounds {}\n", self.date, self.quick, self.rounds);
        for (peer, version) in &self.versions {
            writeln!(text, "version {peer} {version}").expect("a string takes all");
        }
        for cell in &self.cells {
            for round in &cell.rounds {
                let (kind, what) = match round {
                    Ok(line) => ("measured", line.to_string()),
                    Err(why) => ("failed", why.clone()),
                };
                writeln!(text, "{kind} {} {} {} {what}", cell.peer.name, cell.workers, cell.size)
                    .expect("a string takes all");
            }
        }
        let file = file_of(workload);
        fs::create_dir_all(file.parent().expect("it is in a directory"))?;
        fs::write(file, text)
    }

    /// The last that was kept.
    pub(crate) fn load(workload: &Workload) -> Option<Self> {
        Self::parse(&fs::read_to_string(file_of(workload)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut session = Self::default();
        for line in text.lines() {
            let (key, rest) = line.split_once(' ')?;
            match key {
                "date" => session.date = rest.into(),
                "quick" => session.quick = rest.parse().ok()?,
                "rounds" => session.rounds = rest.parse().ok()?,
                "version" => {
                    let (peer, version) = rest.split_once(' ')?;
                    session.versions.insert(peer.into(), version.into());
                }
                "measured" | "failed" => {
                    let mut words = rest.splitn(4, ' ');
                    let (peer, workers) = (Peer::by_name(words.next()?)?, words.next()?);
                    let (workers, size) = (workers.parse().ok()?, words.next()?.parse().ok()?);
                    let what = words.next()?;
                    let round =
                        if key == "failed" { Err(what.into()) } else { Ok(what.parse().ok()?) };
                    session.add(peer, workers, size, round);
                }
                _ => return None,
            }
        }
        Some(session)
    }

    /// Adds a round.
    pub(crate) fn add(
        &mut self,
        peer: &'static Peer,
        workers: usize,
        size: u64,
        round: Result<Line, String>,
    ) {
        let same = |cell: &&mut Cell| cell.peer.name == peer.name && cell.workers == workers;
        match self.cells.iter_mut().find(same) {
            Some(cell) => cell.rounds.push(round),
            None => self.cells.push(Cell { peer, workers, size, rounds: vec![round] }),
        }
    }
}

/// Beside this program, which cargo keeps with other things that can be made again.
fn file_of(workload: &Workload) -> PathBuf {
    let this = env::current_exe().expect("this program is a file");
    this.with_file_name("results").join(format!("{}.txt", workload.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::ALL;

    const TEXT: &str = "\
date 2026-11-24
quick false
rounds 3
version gthread gthread 0.1.0, rustc 1.95.0
measured gthread 1 1000 reps 5 checksum 10 min 2000 ns 3000
measured gthread 1 1000 reps 5 checksum 10 min 2000 ns 9000
measured gthread 1 1000 reps 5 checksum 10 min 2000 ns 4000
failed may 2 1000 aborted: out of maps
";

    #[test]
    fn what_is_kept_is_found_again() {
        let session = Session::parse(TEXT).unwrap();
        let spawn_many = ALL.iter().find(|workload| workload.name == "spawn-many").unwrap();
        let figure = spawn_many.headline();
        assert_eq!(session.cell("gthread", 1).unwrap().figure(figure), Ok(4.0));
        assert_eq!(session.cell("may", 2).unwrap().figure(figure), Err("aborted: out of maps"));
        assert!(session.cell("may", 1).is_none());
        assert_eq!(session.workers(), [1, 2]);
        assert_eq!(session.versions["gthread"], "gthread 0.1.0, rustc 1.95.0");
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for line in
            ["", "reps 1", "reps 1 checksum x", "reps 1 checksum 2 ns", "reps 1 checksum 2 ns x"]
        {
            assert_eq!(line.parse::<Line>(), Err(()), "{line}");
        }
    }
}
