//! Runs the same workloads on gthread and on its peers, and compares. README.md in the directory above
//! says how to use it, and has the protocol between this program and the contestants.

mod contestant;
mod expected;
mod memory;
mod options;
mod page;
mod plot;
mod results;
mod run;
mod server;
mod session;
mod tables;
mod workload;

use std::io;

use contestant::Program;
use options::Options;
use results::Session;
use server::Bench;
use workload::{ALL, SERVERS, Workload};

fn main() -> io::Result<()> {
    let options = Options::from_command_line();
    if options.measure {
        measure(&options)?;
    }
    match options.page() {
        Some(docs) => {
            let measured: Vec<_> = ALL.iter().chain(SERVERS).filter_map(kept).collect();
            page::write(&docs, &measured)
        }
        None => Ok(()),
    }
}

/// Measures what is wanted, and prints each table when it is there.
fn measure(options: &Options) -> io::Result<()> {
    let bench = match options.program {
        Program::Workloads => None,
        Program::Server => Some(Bench::new().map_err(io::Error::other)?),
    };
    let contestants = session::build(options);
    for workload in options.workloads().iter().filter(|one| options.wants(one.name)) {
        let session = match (&bench, &workload.load) {
            (Some(bench), Some(load)) if !bench.can(load) => continue,
            (Some(bench), _) => session::measure_servers(workload, &contestants, options, bench),
            (None, _) => session::measure(workload, &contestants, options),
        };
        if session.cells.is_empty() {
            continue;
        }
        println!("{}\n\n{}", workload.title, tables::one(workload, &session));
        // A session without some of the peers is not to replace one that has them.
        if options.has_all_peers() {
            session.save(workload)?;
        }
    }
    Ok(())
}

/// A workload that was measured, now or earlier.
fn kept(workload: &'static Workload) -> Option<page::Measured> {
    Session::load(workload).map(|session| page::Measured { workload, session })
}
