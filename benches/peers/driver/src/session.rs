//! Runs the contestants in turn, in rounds.

use std::time::{Duration, SystemTime};

use gthread_bench_page::date;

use crate::contestant::{Contestant, Peer};
use crate::memory;
use crate::options::Options;
use crate::results::Session;
use crate::run::{self, Line};
use crate::workload::Workload;

/// How long one process may take.
const LIMIT: Duration = Duration::from_secs(90);

/// Builds those that are wanted; says which cannot be built, and why, and goes on without them.
pub(crate) fn build(options: &Options) -> Vec<Contestant> {
    let mut contestants = Vec::new();
    for peer in Peer::ALL.iter().filter(|peer| options.wants_peer(peer.name)) {
        eprintln!("building {}", peer.name);
        match Contestant::build(peer) {
            Ok(contestant) => contestants.push(contestant),
            Err(why) => eprintln!("{} is left out: {why}", peer.name),
        }
    }
    contestants
}

/// Runs a workload on every contestant that has it.
pub(crate) fn measure(
    workload: &Workload,
    contestants: &[Contestant],
    options: &Options,
) -> Session {
    let contestants: Vec<&Contestant> =
        contestants.iter().filter(|contestant| contestant.has(workload.name)).collect();
    let version =
        |contestant: &&Contestant| (contestant.peer.name.to_owned(), contestant.version.clone());
    let mut session = Session {
        date: date(SystemTime::now()),
        quick: options.quick,
        rounds: options.rounds,
        versions: contestants.iter().map(version).collect(),
        cells: Vec::new(),
    };
    for round in 1..=options.rounds {
        eprintln!("{}: round {round} of {}", workload.name, options.rounds);
        for (nth, &workers) in options.workers.iter().enumerate() {
            for contestant in &contestants {
                let peer = contestant.peer;
                let failed = session
                    .cell(peer.name, workers)
                    .is_some_and(|cell| cell.rounds.iter().any(Result::is_err));
                // What failed is not tried again: it may take long to fail.
                if failed || (nth > 0 && !peer.workers_count) {
                    continue;
                }
                let size = workload.size(options.quick, !peer.workers_count);
                memory::touch(workload.memory(size));
                let mut command = contestant.command(workload.name, workers, size, options.millis);
                let line = run::run(&mut command, LIMIT);
                let checked = line.and_then(|line| check(workload, size, line));
                session.add(peer, workers, size, checked);
            }
        }
    }
    session
}

/// Fails what computed something else.
fn check(workload: &Workload, size: u64, line: Line) -> Result<Line, String> {
    let expected = (workload.checksum)(size, line.repetitions);
    if line.checksum == expected {
        Ok(line)
    } else {
        Err(format!("computed {}, not {expected}", line.checksum))
    }
}
