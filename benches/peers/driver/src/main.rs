//! Runs the same workloads on gthread and on its peers, and compares. README.md in the directory above
//! says how to use it, and the protocol between this program and the contestants.

mod contestant;
mod expected;
mod options;
mod run;
mod session;
mod table;
mod workload;

use std::io;

fn main() -> io::Result<()> {
    let options = options::Options::from_command_line();
    let contestants = contestant::build(&options);
    for workload in workload::ALL.iter().filter(|workload| options.wants(workload.name)) {
        let results = session::measure(workload, &contestants, &options);
        println!("{}", table::of(workload, &contestants, &results, &options));
    }
    Ok(())
}
