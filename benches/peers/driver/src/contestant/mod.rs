//! The contestants: which there are, how each is built, and how its program is started.

mod go;
mod jdk;
mod rust;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::run;

/// How long building one may take, and listing what it can do.
const BUILD_LIMIT: Duration = Duration::from_secs(900);
const LIST_LIMIT: Duration = Duration::from_secs(20);

/// One that is compared.
pub(crate) struct Peer {
    /// What `--peer` calls it.
    pub(crate) name: &'static str,
    /// What the page calls it.
    pub(crate) title: &'static str,
    /// Whether the number of workers means something to it.
    pub(crate) workers_count: bool,
    /// What there is of it.
    programs: &'static [Program],
    build: fn(Program, &str, &Directories) -> Result<Built, String>,
}

/// A program of a contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// It runs a workload, and measures it.
    Workloads,
    /// It serves until it is killed.
    Server,
}

impl Program {
    /// Returns the name of a contestant's program.
    fn of(self, peer: &str) -> String {
        match self {
            Self::Workloads => format!("peer-{peer}"),
            Self::Server => format!("serve-{peer}"),
        }
    }
}

const WORKLOADS: &[Program] = &[Program::Workloads];
const SERVER: &[Program] = &[Program::Server];
const BOTH: &[Program] = &[Program::Workloads, Program::Server];

impl Peer {
    /// All of them, in the order of the page.
    pub(crate) const ALL: &[Self] = &[
        Self::new("gthread", "gthread", BOTH, rust::build),
        Self::new("gthread-fast", "gthread, `fast-switch`", BOTH, rust::build),
        Self::new("go", "Go", BOTH, go::build),
        Self::new("jdk", "JDK", WORKLOADS, jdk::build),
        Self::new("tokio", "tokio", BOTH, rust::build),
        Self::new("may", "may", BOTH, rust::build),
        Self::new("rayon", "rayon", WORKLOADS, rust::build),
        Self::new("std", "`std::thread`", BOTH, rust::build).on_os_threads(),
        Self::new("parking_lot", "`parking_lot`", WORKLOADS, rust::build).on_os_threads(),
        Self::new("floor", "floor", WORKLOADS, rust::build).on_os_threads(),
        Self::new("epoll", "bare epoll loop", SERVER, rust::build).on_os_threads(),
    ];

    const fn new(
        name: &'static str,
        title: &'static str,
        programs: &'static [Program],
        build: fn(Program, &str, &Directories) -> Result<Built, String>,
    ) -> Self {
        Self { name, title, workers_count: true, programs, build }
    }

    /// The number of workers means nothing to it.
    const fn on_os_threads(mut self) -> Self {
        self.workers_count = false;
        self
    }

    /// The contestants that have such a program.
    pub(crate) fn with(program: Program) -> impl Iterator<Item = &'static Self> {
        Self::ALL.iter().filter(move |peer| peer.programs.contains(&program))
    }

    pub(crate) fn by_name(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|peer| peer.name == name)
    }
}

/// What building gives.
struct Built {
    launch: Launch,
    /// What was built with what.
    version: String,
}

/// How a program is started.
enum Launch {
    Program(PathBuf),
    Java { java: PathBuf, classes: PathBuf },
}

/// A peer whose program is there.
pub(crate) struct Contestant {
    pub(crate) peer: &'static Peer,
    pub(crate) version: String,
    launch: Launch,
    /// The names of its workloads, or servers.
    list: Vec<String>,
}

impl Contestant {
    /// Builds it and asks what it can do, or says why that cannot be.
    pub(crate) fn build(peer: &'static Peer, program: Program) -> Result<Self, String> {
        let Built { launch, version } = (peer.build)(program, peer.name, &Directories::new())?;
        let list = run::output(launch.command(1).arg("list"), LIST_LIMIT)?;
        Ok(Self { peer, version, launch, list: list.lines().map(str::to_owned).collect() })
    }

    /// Returns `true` if it has this workload, or this server.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.list.iter().any(|one| one == name)
    }

    /// Its program, with a workload's arguments.
    pub(crate) fn command(
        &self,
        workload: &str,
        workers: usize,
        size: u64,
        millis: u64,
    ) -> Command {
        let mut command = self.launch.command(workers);
        command.arg(workload).args([workers as u64, size, millis].map(|number| number.to_string()));
        command
    }

    /// Its server, with its arguments.
    pub(crate) fn server(&self, name: &str, workers: usize, port: u16) -> Command {
        let mut command = self.launch.command(workers);
        command.arg(name).args([workers.to_string(), port.to_string()]);
        command
    }
}

impl Launch {
    fn command(&self, workers: usize) -> Command {
        match self {
            Self::Program(program) => Command::new(program),
            Self::Java { java, classes } => jdk::command(java, classes, workers),
        }
    }
}

/// Where sources are, and where programs go.
struct Directories {
    /// The workspace of the peers.
    sources: PathBuf,
    /// Where this program is, and those of the Rust contestants.
    programs: PathBuf,
}

impl Directories {
    fn new() -> Self {
        let this = env::current_exe().expect("this program is a file");
        let parent = |path: &Path| path.parent().expect("it is not the root").to_owned();
        Self { sources: parent(Path::new(env!("CARGO_MANIFEST_DIR"))), programs: parent(&this) }
    }
}

/// Builds the client of the servers.
pub(crate) fn build_load() -> Result<PathBuf, String> {
    rust::build_package("peers-load", &Directories::new())
}

/// Looks for a program in `PATH`.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}
