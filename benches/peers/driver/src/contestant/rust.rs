//! The contestants in Rust: packages of this workspace.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{BUILD_LIMIT, Built, Directories, LIST_LIMIT, Launch, Program};
use crate::run;

/// What each is a program of, besides the compiler: packages in Cargo.lock.
fn packages(program: Program, name: &str) -> &'static [&'static str] {
    match (program, name) {
        (Program::Workloads, "std") => &["crossbeam-channel"],
        (Program::Workloads, "tokio") => &["tokio", "async-channel"],
        (Program::Workloads, "floor") => &["corosensei", "crossbeam-deque", "memmap2"],
        (Program::Workloads, "may") => &["may"],
        (Program::Workloads, "rayon") => &["rayon"],
        (Program::Workloads, "parking_lot") => &["parking_lot"],
        (Program::Server, "std" | "epoll") => &["httparse"],
        (Program::Server, "tokio") => &["tokio", "hyper"],
        (Program::Server, "may") => &["may", "may_minihttp"],
        (_, "gthread" | "gthread-fast") => &["gthread"],
        (_, other) => unreachable!("{other} is not in Rust"),
    }
}

pub(super) fn build(
    program: Program,
    name: &str,
    directories: &Directories,
) -> Result<Built, String> {
    let launch = Launch::Program(build_package(&program.of(name), directories)?);
    let rustc = run::output(Command::new("rustc").arg("--version"), LIST_LIMIT)?;
    let mut version = versions(&directories.sources, packages(program, name))?;
    if name.starts_with("gthread") {
        version.extend(revision(&directories.sources));
    }
    // `rustc 1.95.0 (…)` without the brackets.
    version.push(rustc.split(" (").next().unwrap_or(&rustc).to_owned());
    Ok(Built { launch, version: version.join(", ") })
}

/// Builds a package, and returns its program, which has the same name.
pub(super) fn build_package(package: &str, directories: &Directories) -> Result<PathBuf, String> {
    let target = directories.programs.parent().expect("a profile's directory has a parent");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(&directories.sources);
    cargo.args(["build", "--release", "--quiet", "--package", package]);
    cargo.arg("--target-dir").arg(target);
    run::output(&mut cargo, BUILD_LIMIT)?;
    Ok(directories.programs.join(package))
}

/// Packages with their versions, from Cargo.lock.
fn versions(sources: &Path, packages: &[&str]) -> Result<Vec<String>, String> {
    let lock = fs::read_to_string(sources.join("Cargo.lock")).map_err(|e| e.to_string())?;
    let version = |package: &&str| {
        let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
        Some(format!("{package} {}", rest.split_once('"')?.0))
    };
    Ok(packages.iter().filter_map(version).collect())
}

/// The commit that was measured, if this is a clone.
fn revision(sources: &Path) -> Option<String> {
    let mut git = Command::new("git");
    git.current_dir(sources).args(["describe", "--always", "--dirty"]);
    run::output(&mut git, LIST_LIMIT).ok()
}
