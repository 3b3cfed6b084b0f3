//! The contestant in Java.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{BUILD_LIMIT, Built, Directories, LIST_LIMIT, Launch, Program, in_path};
use crate::run;

/// The first with virtual threads.
const OLDEST: u32 = 21;

const MISSING: &str = "there is no JDK of version 21 or later: none that JAVA_HOME names, no `javac` in PATH, \
    none in /usr/lib/jvm; it is to be had from https://adoptium.net, or as a package of most distributions";

pub(super) fn build(
    program: Program,
    name: &str,
    directories: &Directories,
) -> Result<Built, String> {
    let (home, version) = find().ok_or(MISSING)?;
    let classes = directories.programs.join(program.of(name));
    let mut javac = Command::new(home.join("bin/javac"));
    javac.args(["--release", &OLDEST.to_string(), "-d"]).arg(&classes);
    javac.args(sources(&directories.sources.join("jdk"))?);
    run::output(&mut javac, BUILD_LIMIT)?;
    Ok(Built { launch: Launch::Java { java: home.join("bin/java"), classes }, version })
}

/// The virtual machine with so many carrier threads, to run the program.
pub(super) fn command(java: &Path, classes: &Path, workers: usize) -> Command {
    let mut command = Command::new(java);
    command.arg(format!("-Djdk.virtualThreadScheduler.parallelism={workers}"));
    command.arg("-classpath").arg(classes).arg("Main");
    command
}

/// The home of a JDK that is new enough, and its version: the one that is asked for, else the newest.
fn find() -> Option<(PathBuf, String)> {
    let asked_for = env::var_os("JAVA_HOME").map(PathBuf::from);
    let in_path = in_path("javac").and_then(|javac| {
        // What is in PATH is often a link.
        Some(fs::canonicalize(javac).ok()?.parent()?.parent()?.to_owned())
    });
    let usable = |home: PathBuf| {
        let (number, version) = version(&home)?;
        (number >= OLDEST).then_some((number, home, version))
    };
    let installed = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let newest = || installed.filter_map(|entry| usable(entry.path())).max_by_key(|found| found.0);
    let found = asked_for.and_then(usable).or_else(|| in_path.and_then(usable)).or_else(newest)?;
    Some((found.1, found.2))
}

/// What `javac -version` says: `javac 25.0.1`, or in old ones nothing on standard output.
fn version(home: &Path) -> Option<(u32, String)> {
    let javac = home.join("bin/javac");
    let version = run::output(Command::new(javac).arg("-version"), LIST_LIMIT).ok()?;
    let version = version.trim_start_matches("javac ");
    let number = version.split(['.', '-']).next()?.parse().ok()?;
    Some((number, format!("JDK {version}")))
}

fn sources(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
    let files = entries.flatten().map(|entry| entry.path());
    Ok(files.filter(|file| file.extension().is_some_and(|ext| ext == "java")).collect())
}
