//! The page: docs/benchmarks.md and its plots.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use gthread_bench_page::Machine;

use crate::contestant::{Peer, Program};
use crate::plot;
use crate::results::Session;
use crate::server::is_pinned;
use crate::tables;
use crate::workload::{P99, PER_CPU_SECOND, PER_SECOND, Workload};

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
    let (times, waits, servers) = (times(measured), waits(measured), servers(measured));
    let write = |kind: &str, workers: usize, plot: String| {
        fs::write(plots.join(format!("{kind}-{workers}.svg")), plot)
    };
    for workers in workers(&times) {
        write("times", workers, plot::times(&times, workers))?;
    }
    for workers in workers(&waits) {
        write("waits", workers, plot::waits(&waits, workers))?;
    }
    for workers in workers(&servers) {
        write("servers", workers, plot::costs(&servers, workers))?;
        write("answers", workers, plot::answers(&servers, workers))?;
    }
    if times.is_empty() {
        eprintln!("no workloads were measured here: the page has none");
    }
    let page = docs.join("benchmarks.md");
    fs::write(&page, text(measured))?;
    println!("written to {}", page.display());
    Ok(())
}

fn text(measured: &[Measured]) -> String {
    let quick = if measured.iter().any(|one| one.session.quick) {
        "\n**A quick run**: one round, short samples, small sizes. Believe the order of magnitude.\n"
    } else {
        ""
    };
    let head = format!(
        "\
# Benchmarks

Written by `cargo peers`; do not edit. The same programs on gthread and on its peers, each in its own
idiom, run in turn on one machine in one session, a process for each, in rounds; figures are medians over
the rounds. Every result was checked. [benches/peers](../benches/peers/README.md) has the programs and what
they have in common, [benchmarks-std](benchmarks-std.md) the comparison with `std::thread` in detail.
{quick}
"
    );
    let sections = [of_times, of_waits, of_servers, of_floors, how];
    head + &sections.map(|section| section(measured)).concat()
}

/// The section of the times, if any were measured.
fn of_times(measured: &[Measured]) -> String {
    let times = times(measured);
    let workers = workers(&times);
    if times.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\
## Times

For one operation, with {} workers. ✗ is what crashed, hung or computed something wrong, as told
below the table; – is what a contestant does not have. The target is what gthread is meant to reach, on
the machine that it was set for.

{}
{}
Relative to gthread's time, on a logarithmic scale, with one worker and with more; to the right is slower. The
black bar is the target.

{}
",
        listed(&workers, " / "),
        tables::times(&times),
        failed(&times),
        plots("times", &workers),
    );
    let forks = chosen(measured, |one| FORKS.contains(&one.workload.name));
    if workers.contains(&1) && workers.contains(&2) && !forks.is_empty() {
        let table = tables::speed_ups(&forks);
        write!(text, "## Two workers against one\n\n{table}\n").expect("a string takes all");
    }
    text
}

/// The section of the waits, if any were measured.
fn of_waits(measured: &[Measured]) -> String {
    let waits = waits(measured);
    if waits.is_empty() {
        return String::new();
    }
    let head = format!(
        "\
## Waits

How long it takes until something is woken or has its turn. From the median to the longest, with dots at p99
and p99.9, on a logarithmic scale. A *turn* is what a thread waits that yields: it is runnable all the time.

{}
",
        plots("waits", &workers(&waits)),
    );
    head + &each(&waits)
}

/// A table for each workload.
fn each(measured: &[&Measured]) -> String {
    let one = |Measured { workload, session }: &&Measured| {
        format!("### {}\n\n{}\n", workload.title, tables::one(workload, session))
    };
    measured.iter().map(one).collect()
}

/// The section of the floors, if any were measured.
fn of_floors(measured: &[Measured]) -> String {
    let floors = chosen(measured, |one| one.workload.is_floor());
    if floors.is_empty() {
        return String::new();
    }
    let table = tables::floors(&floors);
    format!(
        "\
## Floors

What the parts cost that a runtime of this kind is made of, each alone on one thread.

{table}
"
    )
}

/// The section of the servers, if any were measured.
fn of_servers(measured: &[Measured]) -> String {
    let servers = servers(measured);
    if servers.is_empty() {
        return String::new();
    }
    let workers = workers(&servers);
    let mut text = format!(
        "\
## Servers

The same servers on gthread and on its peers, each in its own idiom, under the same loads: echo of 64 bytes,
and HTTP/1.1 plaintext. The client asks again on each connection as soon as it is answered. *Pinned*, a server
has one worker on a core of its own, and the client another core. Otherwise it has {}, and
the kernel places all threads. The bare epoll loop, which has one thread and nothing else, is the ceiling;
`std::thread` has a thread for each connection. In HTTP, tokio is hyper, Go net/http and may may_minihttp,
and the client is wrk; the others parse with httparse. System calls are counted by strace in a run of their own.

",
        match &workers.iter().filter(|n| !is_pinned(**n)).copied().collect::<Vec<_>>()[..] {
            [] => "more workers".into(),
            several => format!("{} workers", listed(several, " or ")),
        },
    );
    for &workers in &workers {
        for figure in [&PER_CPU_SECOND, &PER_SECOND, &P99] {
            let (title, placement) = (figure.title, tables::placement(workers));
            let table = tables::servers(&servers, figure, workers);
            write!(text, "### {title}, {placement}\n\n{table}\n").expect("a string takes all");
        }
    }
    write!(
        text,
        "\
### In plots

What a request costs of the server's processor time, relative to gthread, on a logarithmic scale; to the right
is dearer.

{}
How long a client waits for an answer, from the median to p99.

{}
",
        plots("servers", &workers),
        plots("answers", &workers),
    )
    .expect("a string takes all");
    text + &each(&servers)
}

/// The plots of a kind, with each number of workers.
fn plots(kind: &str, workers: &[usize]) -> String {
    let plot = |n: &usize| match n {
        1 => format!("![{kind}, one worker](plots/{kind}-1.svg)\n"),
        n => format!("![{kind}, {n} workers](plots/{kind}-{n}.svg)\n"),
    };
    workers.iter().map(plot).collect()
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
    for (program, what) in [(Program::Workloads, ""), (Program::Server, ", server")] {
        let of = chosen(measured, |one| one.workload.is_server() == (program == Program::Server));
        if of.is_empty() {
            continue;
        }
        let mut versions: BTreeMap<&str, &str> = BTreeMap::new();
        for Measured { session, .. } in of {
            versions.extend(session.versions.iter().map(|(name, version)| (&**name, &**version)));
        }
        for Peer { name, title, .. } in Peer::with(program) {
            let not = "not measured: its toolchain was not there";
            let version = versions.get(name).unwrap_or(&not);
            writeln!(text, "| {title}{what} | {version} |").expect("a string takes all");
        }
    }
    text + "\nTo measure again, on a machine that does nothing else: `cargo peers`, and `cargo peers --servers`.\n"
}

fn times(measured: &[Measured]) -> Vec<&Measured> {
    chosen(measured, |one| one.workload.is_time() && !one.workload.is_floor())
}

fn waits(measured: &[Measured]) -> Vec<&Measured> {
    chosen(measured, |one| !one.workload.is_time() && !one.workload.is_server())
}

fn servers(measured: &[Measured]) -> Vec<&Measured> {
    chosen(measured, |one| one.workload.is_server())
}

fn chosen(measured: &[Measured], is: impl Fn(&Measured) -> bool) -> Vec<&Measured> {
    measured.iter().filter(|one| is(one)).collect()
}

/// The numbers of workers that were measured anywhere.
fn workers(measured: &[&Measured]) -> Vec<usize> {
    let mut workers: Vec<usize> = measured.iter().flat_map(|one| one.session.workers()).collect();
    workers.sort_unstable();
    workers.dedup();
    workers
}

/// What failed in any of these, with the workload's name.
fn failed(measured: &[&Measured]) -> String {
    let mut text = String::new();
    for Measured { workload, session } in measured {
        for line in tables::failures(workload, session).lines().filter(|line| !line.is_empty()) {
            writeln!(text, "- {}: {line}", workload.name).expect("a string takes all");
        }
    }
    text
}

fn listed(numbers: &[usize], between: &str) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}
