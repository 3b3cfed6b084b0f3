//! The contestants: how each is built, and how its program is started.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::options::Options;
use crate::run;

/// How long building one may take, and listing its workloads.
const BUILD_LIMIT: Duration = Duration::from_secs(900);
const LIST_LIMIT: Duration = Duration::from_secs(20);

/// A program that has been built.
pub(crate) struct Contestant {
    /// What `--peer` calls it.
    pub(crate) name: &'static str,
    /// What the page calls it.
    pub(crate) title: &'static str,
    program: PathBuf,
    workloads: Vec<String>,
}

impl Contestant {
    /// Whether it has this workload.
    pub(crate) fn has(&self, workload: &str) -> bool {
        self.workloads.iter().any(|name| name == workload)
    }

    /// Its program, to which the protocol's arguments are to be added.
    pub(crate) fn command(&self, _workers: usize) -> Command {
        Command::new(&self.program)
    }
}

/// Which there are, in the order of the page.
const PEERS: [(&str, &str); 6] = [
    ("gthread", "gthread"),
    ("go", "Go"),
    ("tokio", "tokio"),
    ("may", "may"),
    ("rayon", "rayon"),
    ("std", "`std::thread`"),
];

/// Builds those that are wanted; says which cannot be built, and goes on without them.
pub(crate) fn build(options: &Options) -> Vec<Contestant> {
    let programs = env::current_exe().expect("this program is a file");
    let programs = programs.parent().expect("a file is in a directory");
    let mut contestants = Vec::new();
    for (name, title) in PEERS.into_iter().filter(|(name, _)| options.wants_peer(name)) {
        eprintln!("building {title}");
        let program = programs.join(format!("peer-{name}"));
        let built = if name == "go" { build_go(&program) } else { build_rust(name, programs) };
        let listed = built.and_then(|()| list(&program));
        match listed {
            Ok(workloads) => contestants.push(Contestant { name, title, program, workloads }),
            Err(why) => eprintln!("{title} is left out: {why}"),
        }
    }
    contestants
}

fn peers() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the driver has a parent")
}

fn build_rust(name: &str, programs: &Path) -> Result<(), String> {
    let target = programs.parent().expect("programs are in a profile's directory");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(peers()).args(["build", "--release", "--locked", "--quiet", "--package"]);
    cargo.arg(format!("peer-{name}")).arg("--target-dir").arg(target);
    run::output(&mut cargo, BUILD_LIMIT).map(drop).map_err(|why| why.to_string())
}

fn build_go(program: &Path) -> Result<(), String> {
    let mut go = Command::new(env::var_os("GO").unwrap_or("go".into()));
    go.current_dir(peers().join("go")).args(["build", "-o"]).arg(program).arg(".");
    run::output(&mut go, BUILD_LIMIT).map(drop).map_err(|why| why.to_string())
}

fn list(program: &Path) -> Result<Vec<String>, String> {
    let list = run::output(Command::new(program).arg("list"), LIST_LIMIT);
    Ok(list.map_err(|why| why.to_string())?.lines().map(str::to_owned).collect())
}
