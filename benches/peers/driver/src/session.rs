//! Runs the contestants in turn, in rounds.

use std::time::{Duration, SystemTime};

use gthread_bench_page::date;

use crate::contestant::{Contestant, Peer};
use crate::memory;
use crate::options::Options;
use crate::results::Session;
use crate::run::{self, Line};
use crate::server::{Bench, Turn};
use crate::workload::Workload;

/// How long one process may take.
const LIMIT: Duration = Duration::from_secs(90);

/// Builds those that are wanted; says which cannot be built, and why, and goes on without them.
pub(crate) fn build(options: &Options) -> Vec<Contestant> {
    let mut contestants = Vec::new();
    for peer in Peer::with(options.program).filter(|peer| options.wants_peer(peer.name)) {
        eprintln!("building {}", peer.name);
        match Contestant::build(peer, options.program) {
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
    // Once is enough for what means nothing by the number of workers.
    let again = |peer: &Peer, nth| nth == 0 || peer.workers_count;
    rounds(workload, workload.name, contestants, options, again, |contestant, turn| {
        memory::touch(workload.memory(turn.size));
        let Turn { workers, size, millis, .. } = turn;
        run::run(&mut contestant.command(workload.name, workers, size, millis), LIMIT)
    })
}

/// Puts a load on the server of every contestant that has it. With another number of workers, other
/// processes have other cores, so all of them run again.
pub(crate) fn measure_servers(
    workload: &Workload,
    contestants: &[Contestant],
    options: &Options,
    bench: &Bench,
) -> Session {
    let load = workload.load.as_ref().expect("it is a server's");
    rounds(
        workload,
        load.server,
        contestants,
        options,
        |_, _| true,
        |contestant, turn| bench.measure(contestant, load, turn),
    )
}

/// Runs those that have something, in turn, in rounds, with each number of workers: the `nth` only if
/// they are to run `again`.
fn rounds(
    workload: &Workload,
    something: &str,
    contestants: &[Contestant],
    options: &Options,
    again: impl Fn(&Peer, usize) -> bool,
    run: impl Fn(&Contestant, Turn) -> Result<Line, String>,
) -> Session {
    let contestants: Vec<&Contestant> =
        contestants.iter().filter(|contestant| contestant.has(something)).collect();
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
                if failed || !again(peer, nth) {
                    continue;
                }
                let size = workload.size(options.quick, !peer.workers_count);
                let line = run(contestant, Turn { round, workers, size, millis: options.millis });
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
