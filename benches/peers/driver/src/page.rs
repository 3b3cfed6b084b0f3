//! The page: docs/benchmarks.md and its plots.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use gthread_bench_page::Machine;

use crate::contestant::Peer;
use crate::plot;
use crate::results::Session;
use crate::tables;
use crate::workload::Workload;

/// A workload with what was measured of it.
pub(crate) struct Measured {
    pub(crate) workload: &'static Workload,
    pub(crate) session: Session,
}

/// Writes it into a directory.
pub(crate) fn write(docs: &Path, measured: &[Measured]) -> io::Result<()> {
    if measured.is_empty() {
        println!("nothing was measured yet");
        return Ok(());
    }
    let plots = docs.join("plots");
    fs::create_dir_all(&plots)?;
    let (times, waits) = (times(measured), waits(measured));
    for workers in workers(measured) {
        fs::write(plots.join(format!("times-{workers}.svg")), plot::times(&times, workers))?;
        fs::write(plots.join(format!("waits-{workers}.svg")), plot::waits(&waits, workers))?;
    }
    let page = docs.join("benchmarks.md");
    fs::write(&page, text(measured))?;
    println!("written to {}", page.display());
    Ok(())
}

fn text(measured: &[Measured]) -> String {
    let (times, waits) = (times(measured), waits(measured));
    let workers = workers(measured);
    let counts = listed(&workers, " / ");
    let plots = |kind: &str| {
        let plot = |n: &usize| match n {
            1 => format!("![{kind}, one worker](plots/{kind}-1.svg)\n"),
            n => format!("![{kind}, {n} workers](plots/{kind}-{n}.svg)\n"),
        };
        workers.iter().map(plot).collect::<String>()
    };
    let quick = if measured.iter().any(|one| one.session.quick) {
        "\n**A quick run**: one round, short samples, small sizes. Believe the order of magnitude.\n"
    } else {
        ""
    };

    let mut page = format!(
        "\
# Benchmarks

Written by `cargo peers`; do not edit. The same programs on gthread and on its peers, each in its own
idiom, run in turn on one machine in one session, a process for each, in rounds; figures are medians over
the rounds. Every result was checked. [benches/peers](../benches/peers/README.md) has the programs and what
they have in common, [benchmarks-std](benchmarks-std.md) the comparison with `std::thread` in detail.
{quick}
## Times

For one operation, with {counts} workers. ✗ is what crashed, hung or computed something wrong, as told
below the table; – is what a contestant does not have. The target is what gthread is meant to reach, on
the machine that it was set for.

{}
{}
Relative to gthread's time, on a logarithmic scale, with one worker and with more; to the right is slower. The
black bar is the target.

{}
",
        tables::times(&times),
        failed(&times),
        plots("times"),
    );

    let forks = chosen(measured, |one| FORKS.contains(&one.workload.name));
    if workers.contains(&1) && workers.contains(&2) && !forks.is_empty() {
        let table = tables::speed_ups(&forks);
        write!(page, "## Two workers against one\n\n{table}\n").expect("a string takes all");
    }

    write!(
        page,
        "\
## Waits

How long it takes until something is woken or has its turn. From the median to the longest, with dots at p99
and p99.9, on a logarithmic scale. A *turn* is what a thread waits that yields: it is runnable all the time.

{}
",
        plots("waits"),
    )
    .expect("a string takes all");
    for Measured { workload, session } in waits {
        let (title, table) = (workload.title, tables::one(workload, session));
        write!(page, "### {title}\n\n{table}\n").expect("a string takes all");
    }

    let floors = chosen(measured, |one| one.workload.is_floor());
    if !floors.is_empty() {
        let table = tables::floors(&floors);
        write!(
            page,
            "\
## Floors

What the parts cost that a runtime of this kind is made of, each alone on one thread.

{table}
"
        )
        .expect("a string takes all");
    }
    page + &how(measured)
}

/// Workloads that are faster with more workers if a runtime is good at it.
const FORKS: [&str; 5] = ["fib", "skynet", "queens", "quicksort", "matmul"];

/// Where, when and with what it was measured.
fn how(measured: &[Measured]) -> String {
    let Machine { processor, cores, memory, kernel } = Machine::this();
    let mut dates: Vec<&str> = measured.iter().map(|one| one.session.date.as_str()).collect();
    dates.sort_unstable();
    dates.dedup();
    let dates = match dates[..] {
        [first, .., last] => format!("{first} to {last}"),
        _ => dates.concat(),
    };
    let rounds = measured.iter().map(|one| one.session.rounds).min().unwrap_or(0);

    let mut text = format!(
        "\
## How

| measured | {dates} |
|---|---|
| processor | {processor}, {cores} |
| memory | {memory} |
| system | {kernel} |
| rounds | {rounds} |
"
    );
    let mut versions: BTreeMap<&str, &str> = BTreeMap::new();
    for one in measured {
        versions.extend(one.session.versions.iter().map(|(name, version)| (&**name, &**version)));
    }
    for peer in Peer::ALL {
        match versions.get(peer.name) {
            Some(version) => writeln!(text, "| {} | {version} |", peer.title),
            None => {
                writeln!(text, "| {} | not measured: its toolchain was not there |", peer.title)
            }
        }
        .expect("a string takes all");
    }
    text + "\nTo measure again, on a machine that does nothing else: `cargo peers`.\n"
}

fn times(measured: &[Measured]) -> Vec<&Measured> {
    chosen(measured, |one| one.workload.is_time() && !one.workload.is_floor())
}

fn waits(measured: &[Measured]) -> Vec<&Measured> {
    chosen(measured, |one| !one.workload.is_time())
}

fn chosen(measured: &[Measured], is: impl Fn(&Measured) -> bool) -> Vec<&Measured> {
    measured.iter().filter(|one| is(one)).collect()
}

/// The numbers of workers that were measured anywhere.
fn workers(measured: &[Measured]) -> Vec<usize> {
    let mut workers: Vec<usize> = measured.iter().flat_map(|one| one.session.workers()).collect();
    workers.sort_unstable();
    workers.dedup();
    workers
}

/// What failed in any of these, with the workload's name.
fn failed(measured: &[&Measured]) -> String {
    let mut text = String::new();
    for Measured { workload, session } in measured {
        for line in tables::failures(session).lines().filter(|line| !line.is_empty()) {
            writeln!(text, "- {}: {line}", workload.name).expect("a string takes all");
        }
    }
    text
}

fn listed(numbers: &[usize], between: &str) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}
