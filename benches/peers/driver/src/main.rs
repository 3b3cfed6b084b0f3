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
mod session;
mod tables;
mod workload;

use std::io;

use options::Options;
use results::Session;
use workload::ALL;

fn main() -> io::Result<()> {
    let options = Options::from_command_line();
    if options.measure {
        measure(&options)?;
    }
    match options.page() {
        Some(docs) => page::write(&docs, &ALL.iter().filter_map(kept).collect::<Vec<_>>()),
        None => Ok(()),
    }
}

/// Measures what is wanted, and prints each table when it is there.
fn measure(options: &Options) -> io::Result<()> {
    let contestants = session::build(options);
    for workload in ALL.iter().filter(|workload| options.wants(workload.name)) {
        let session = session::measure(workload, &contestants, options);
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
fn kept(workload: &'static workload::Workload) -> Option<page::Measured> {
    Session::load(workload).map(|session| page::Measured { workload, session })
}
