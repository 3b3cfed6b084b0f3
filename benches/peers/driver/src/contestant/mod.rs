//! The contestants: which there are, how each is built, and how its program is started.

mod go;
mod jdk;
mod rust;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::run;

/// How long building one may take, and listing its workloads.
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
    build: fn(&str, &Directories) -> Result<Built, String>,
}

impl Peer {
    /// All of them, in the order of the page.
    pub(crate) const ALL: &[Self] = &[
        Self { name: "gthread", title: "gthread", workers_count: true, build: rust::build },
        Self {
            name: "gthread-fast",
            title: "gthread, `fast-switch`",
            workers_count: true,
            build: rust::build,
        },
        Self { name: "go", title: "Go", workers_count: true, build: go::build },
        Self { name: "jdk", title: "JDK", workers_count: true, build: jdk::build },
        Self { name: "tokio", title: "tokio", workers_count: true, build: rust::build },
        Self { name: "may", title: "may", workers_count: true, build: rust::build },
        Self { name: "rayon", title: "rayon", workers_count: true, build: rust::build },
        Self { name: "std", title: "`std::thread`", workers_count: false, build: rust::build },
        Self {
            name: "parking_lot",
            title: "`parking_lot`",
            workers_count: false,
            build: rust::build,
        },
        Self { name: "floor", title: "floor", workers_count: false, build: rust::build },
    ];

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
    workloads: Vec<String>,
}

impl Contestant {
    /// Builds it and asks what it can do, or says why that cannot be.
    pub(crate) fn build(peer: &'static Peer) -> Result<Self, String> {
        let Built { launch, version } = (peer.build)(peer.name, &Directories::new())?;
        let list = run::output(launch.command(1).arg("list"), LIST_LIMIT)?;
        Ok(Self { peer, version, launch, workloads: list.lines().map(str::to_owned).collect() })
    }

    /// Whether it has this workload.
    pub(crate) fn has(&self, workload: &str) -> bool {
        self.workloads.iter().any(|name| name == workload)
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

/// Looks for a program in `PATH`.
fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}
