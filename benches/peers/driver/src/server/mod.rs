//! One load of one server: start the server, start the client, read what the client prints.

mod cores;
mod limits;
mod process;
mod wrk;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::contestant::{Contestant, build_load, in_path};
use crate::run::{self, Line};
use crate::workload::{Client, Load};
use cores::Cores;
use process::Server;

/// How long one client may take.
const LIMIT: Duration = Duration::from_secs(90);
/// How long the client asks in milliseconds, for each of the samples that `--millis` is about.
const SAMPLES: u64 = 20;
/// Descriptors of a process that are no connections.
const OTHER_DESCRIPTORS: u64 = 100;

/// What loads the servers, and where.
pub(crate) struct Bench {
    load: PathBuf,
    wrk: Option<PathBuf>,
    strace: Option<PathBuf>,
    cores: Cores,
    descriptors: u64,
}

/// One run of a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) round: usize,
    pub(crate) workers: usize,
    /// Idle connections, or busy ones.
    pub(crate) size: u64,
    /// Milliseconds for a sample.
    pub(crate) millis: u64,
}

impl Bench {
    /// Builds the client, and looks for what else there is; says loudly what there is not.
    pub(crate) fn new() -> Result<Self, String> {
        let found = |program, what| {
            let path = in_path(program);
            if path.is_none() {
                eprintln!("!!! THERE IS NO {program}: {what}; `apt-get install {program}`");
            }
            path
        };
        let cores = Cores::of_this_process();
        if cores.is_one() {
            eprintln!("!!! ONE CORE ONLY: servers share it with their clients");
        }
        eprintln!("building the client");
        Ok(Self {
            load: build_load()?,
            wrk: found("wrk", "the rows of HTTP are left out"),
            strace: found("strace", "system calls are not counted"),
            cores,
            descriptors: limits::raise_descriptors(),
        })
    }

    /// Returns `true` if there is the client for such a load.
    pub(crate) fn can(&self, load: &Load) -> bool {
        load.client != Client::Wrk || self.wrk.is_some()
    }

    /// Loads a contestant's server. In the first round its system calls are counted too, in a run of
    /// their own.
    pub(crate) fn measure(
        &self,
        contestant: &Contestant,
        load: &Load,
        turn: Turn,
    ) -> Result<Line, String> {
        let name = contestant.peer.name;
        let mut line = match load.without {
            None => self.once(contestant, load.server, load, turn)?,
            Some(without) => self.compared(contestant, without, load, turn)?,
        };
        if turn.round == 1 && self.strace.is_some() {
            match self.traced(contestant, load, turn) {
                Ok(counted) => line.figures.extend(counted.figures),
                Err(why) => eprintln!("!!! SYSTEM CALLS OF {name} NOT COUNTED: {why}"),
            }
        }
        Ok(line)
    }

    /// Loads the server that is compared with, the server, and the former again.
    fn compared(
        &self,
        contestant: &Contestant,
        without: &str,
        load: &Load,
        turn: Turn,
    ) -> Result<Line, String> {
        let cost = |line: &Line| 1.0 / line.figures["per-cpu-second"];
        let before = self.once(contestant, without, load, turn)?;
        let mut line = self.once(contestant, load.server, load, turn)?;
        let after = self.once(contestant, without, load, turn)?;
        let ratio = cost(&line) / f64::midpoint(cost(&before), cost(&after));
        line.figures.insert("ratio".into(), ratio);
        Ok(line)
    }

    /// Loads one of its servers.
    fn once(
        &self,
        contestant: &Contestant,
        name: &str,
        load: &Load,
        turn: Turn,
    ) -> Result<Line, String> {
        let needed = load.connections + turn.size + OTHER_DESCRIPTORS;
        if needed > self.descriptors {
            return Err(format!(
                "needs {needed} descriptors; the hard limit is {}",
                self.descriptors
            ));
        }
        let server = self.start(contestant, name, turn)?;
        let line = match (load.client, &self.wrk) {
            (Client::Wrk, Some(wrk)) => {
                let pinned = |command: &mut Command| self.pin_client(command, turn);
                wrk::run(wrk, &server, load.connections, turn.millis * SAMPLES, pinned)
            }
            (Client::BesideIdle, _) => {
                let idle = ["--idle".to_owned(), turn.size.to_string()];
                self.run_load(&server, load, turn, &idle)
            }
            _ => self.run_load(&server, load, turn, &[]),
        };
        server.end(line)
    }

    /// Counts the system calls of a load without idle connections.
    fn traced(&self, contestant: &Contestant, load: &Load, turn: Turn) -> Result<Line, String> {
        let server = self.start(contestant, load.server, turn)?;
        let line = self.run_load(&server, load, turn, &["--trace".to_owned()]);
        server.end(line)
    }

    fn start(&self, contestant: &Contestant, name: &str, turn: Turn) -> Result<Server, String> {
        let port = process::free_port().map_err(|error| format!("no free port: {error}"))?;
        let mut command = contestant.server(name, turn.workers, port);
        if is_pinned(turn.workers) {
            self.cores.pin_server(&mut command);
        }
        Server::start(command, port)
    }

    fn run_load(
        &self,
        server: &Server,
        load: &Load,
        turn: Turn,
        more: &[String],
    ) -> Result<Line, String> {
        let kind = match load.client {
            Client::Echo | Client::BesideIdle => "echo",
            Client::Churn => "churn",
            Client::Wrk => "http",
        };
        let mut command = Command::new(&self.load);
        command.arg(kind).args([server.port().to_string(), server.id().to_string()]);
        let millis = turn.millis * SAMPLES;
        command.args([load.connections, millis].map(|number| number.to_string())).args(more);
        self.pin_client(&mut command, turn);
        run::run(&mut command, LIMIT)
    }

    fn pin_client(&self, command: &mut Command, turn: Turn) {
        if is_pinned(turn.workers) {
            self.cores.pin_client(command);
        }
    }
}

/// With one worker the server has a core to itself, and the client another. With more nobody is bound.
pub(crate) fn is_pinned(workers: usize) -> bool {
    workers == 1
}
