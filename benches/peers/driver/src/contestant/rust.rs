//! The contestants in Rust: packages of this workspace.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{BUILD_LIMIT, Built, Directories, LIST_LIMIT, Launch};
use crate::run;

/// What each is a program of, besides the compiler: packages in Cargo.lock.
fn packages(name: &str) -> &'static [&'static str] {
    match name {
        "std" => &["crossbeam-channel"],
        "tokio" => &["tokio", "async-channel"],
        "floor" => &["corosensei", "crossbeam-deque", "memmap2"],
        "gthread" | "gthread-fast" => &["gthread"],
        "may" => &["may"],
        "rayon" => &["rayon"],
        "parking_lot" => &["parking_lot"],
        other => unreachable!("{other} is not in Rust"),
    }
}

pub(super) fn build(name: &str, directories: &Directories) -> Result<Built, String> {
    let target = directories.programs.parent().expect("a profile's directory has a parent");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(&directories.sources);
    cargo.args(["build", "--release", "--quiet", "--package"]);
    cargo.arg(format!("peer-{name}")).arg("--target-dir").arg(target);
    run::output(&mut cargo, BUILD_LIMIT)?;

    let rustc = run::output(Command::new("rustc").arg("--version"), LIST_LIMIT)?;
    let mut version = versions(&directories.sources, packages(name))?;
    if name.starts_with("gthread") {
        version.extend(revision(&directories.sources));
    }
    // `rustc 1.95.0 (…)` without the brackets.
    version.push(rustc.split(" (").next().unwrap_or(&rustc).to_owned());
    let program = directories.programs.join(format!("peer-{name}"));
    Ok(Built { launch: Launch::Program(program), version: version.join(", ") })
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
