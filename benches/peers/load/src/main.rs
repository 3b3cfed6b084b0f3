//! The client of the servers: connections that ask again as soon as they are answered, from a bare epoll
//! loop on one thread. It measures its own waits, and what the server's process spends meanwhile.
//!
//! ```text
//! peers-load LOAD PORT SERVER CONNECTIONS MILLIS [--idle N | --trace]
//! ```
//!
//! LOAD is `echo` (64 bytes), `http` (a GET), or `churn` (an echo on a connection of its own). SERVER is
//! the id of the server's process. It prints one line, as the contestants do.

mod client;
mod exchange;
mod socket;
mod trace;

use std::env;
use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use client::{Client, Phase};
use exchange::Exchange;
use peers_kit::{Report, process};
use trace::Trace;

const USAGE: &str =
    "arguments: echo|http|churn PORT SERVER CONNECTIONS MILLIS [--idle N | --trace]";

/// What the server has to end what it began, after many connections were closed.
const SETTLE: Duration = Duration::from_millis(300);

/// Requests of each connection whose system calls are counted, on average and at least.
const TRACED: u64 = 20;

#[derive(Debug)]
struct Args {
    load: String,
    address: SocketAddr,
    server: u32,
    connections: usize,
    time: Duration,
    idle: usize,
    trace: bool,
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(args) = parse(&words) else { return end(&USAGE, 2) };
    match run(&args) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => end(&error, 1),
    }
}

fn end(why: &dyn Display, code: u8) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(code)
}

fn parse(words: &[&str]) -> Option<Args> {
    let (&[load, port, server, connections, millis], more) = words.split_first_chunk()?;
    let (idle, trace) = match *more {
        [] => (0, false),
        ["--idle", count] => (positive(count)?, false),
        ["--trace"] => (0, true),
        _ => return None,
    };
    Some(Args {
        load: ["echo", "http", "churn"].contains(&load).then(|| load.to_owned())?,
        address: (Ipv4Addr::LOCALHOST, positive(port)?).into(),
        server: positive(server)?,
        connections: positive(connections)?,
        time: Duration::from_millis(positive(millis)?),
        idle,
        trace,
    })
}

fn positive<N: FromStr + PartialOrd + From<u8>>(word: &str) -> Option<N> {
    word.parse().ok().filter(|number| *number > N::from(0))
}

fn run(args: &Args) -> io::Result<Report> {
    let mut client = match args.load.as_str() {
        "http" => Client::new(args.address, Exchange::http(args.address)?),
        _ => Client::new(args.address, Exchange::echo()),
    }?;
    if args.load == "churn" {
        client.connect_each_time(args.connections);
    } else {
        client.connect(args.connections)?;
    }
    client.ask_for(args.time / 2)?;
    match args {
        Args { trace: true, .. } => traced(&mut client, args),
        Args { idle: 0, .. } => {
            let (phase, cpu) = measured(&mut client, args)?;
            Ok(report(&phase, cpu))
        }
        _ => beside_idle(&mut client, args),
    }
}

/// A phase, with the time that the processors spent on the server.
fn measured(client: &mut Client, args: &Args) -> io::Result<(Phase, Duration)> {
    let before = process::cpu_time_of(args.server)?;
    let phase = client.ask_for(args.time)?;
    let cpu = process::cpu_time_of(args.server)?.saturating_sub(before);
    Ok((phase, cpu))
}

fn report(phase: &Phase, cpu: Duration) -> Report {
    let requests = phase.waits.count();
    // Every answer was checked.
    Report::new(requests, requests)
        .with("per-second", requests as f64 / phase.taken.as_secs_f64())
        .with("per-cpu-second", requests as f64 / cpu.as_secs_f64())
        .with_waits(&phase.waits)
}

/// Measures alone, beside idle connections, and alone again.
fn beside_idle(client: &mut Client, args: &Args) -> io::Result<Report> {
    let (before, cpu_before) = measured(client, args)?;
    let without = process::memory_of(args.server)?;
    let idle = client.open_idle(args.idle)?;
    let with = process::memory_of(args.server)?;
    let (beside, cpu) = measured(client, args)?;
    drop(idle);
    thread::sleep(SETTLE);
    let (after, cpu_after) = measured(client, args)?;

    let cost = |phase: &Phase, cpu: Duration| cpu.as_secs_f64() / phase.waits.count() as f64;
    let alone = f64::midpoint(cost(&before, cpu_before), cost(&after, cpu_after));
    Ok(report(&beside, cpu)
        .with("bytes", with.saturating_sub(without) as f64 / args.idle as f64)
        .with("ratio", cost(&beside, cpu) / alone))
}

/// Counts the server's system calls, and measures nothing else: it is slow meanwhile.
fn traced(client: &mut Client, args: &Args) -> io::Result<Report> {
    let trace = Trace::attach(args.server)?;
    let phase = client.ask_until(args.time, TRACED * args.connections as u64);
    let calls = trace.end()?;
    let requests = phase?.waits.count();
    let each = |calls: u64| calls as f64 / requests as f64;
    Ok(Report::new(requests, requests)
        .with("calls", each(calls.all))
        .with("epoll_ctl", each(calls.epoll_ctl)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_read() {
        let args = parse(&["echo", "7000", "12", "50", "100"]).unwrap();
        assert_eq!((args.address.port(), args.server, args.connections), (7000, 12, 50));
        assert_eq!((args.idle, args.trace), (0, false));
        assert_eq!(parse(&["http", "1", "2", "3", "4", "--idle", "5"]).unwrap().idle, 5);
        assert!(parse(&["churn", "1", "2", "3", "4", "--trace"]).unwrap().trace);
    }

    #[test]
    fn mistakes_are_told() {
        for line in
            ["", "echo 1 2 3", "x 1 2 3 4", "echo 0 2 3 4", "echo 1 2 3 x", "echo 1 2 3 4 5"]
        {
            assert!(parse(&line.split_whitespace().collect::<Vec<_>>()).is_none(), "{line}");
        }
    }
}
