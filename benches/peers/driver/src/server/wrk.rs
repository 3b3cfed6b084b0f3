//! The client wrk, which speaks HTTP.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use peers_kit::process;

use super::process::Server;
use crate::run::{self, Line};

/// Has wrk print a line as the contestants do.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/server/wrk.lua");
/// How long it warms up in seconds: wrk counts in these.
const WARM_UP: u64 = 1;

/// Runs it for a time, rounded up to seconds.
pub(super) fn run(
    wrk: &Path,
    server: &Server,
    connections: u64,
    millis: u64,
    pin: impl Fn(&mut Command),
) -> Result<Line, String> {
    let load = |seconds: u64| {
        let mut command = Command::new(wrk);
        command.args(["--threads", "1", "--script", SCRIPT]);
        command.arg("--connections").arg(connections.to_string());
        command.arg("--duration").arg(format!("{seconds}s"));
        command.arg(format!("http://127.0.0.1:{}/plaintext", server.port()));
        pin(&mut command);
        run::output(&mut command, Duration::from_secs(seconds + 30))
    };
    let cpu = || process::cpu_time_of(server.id()).map_err(|error| error.to_string());
    load(WARM_UP)?;
    let before = cpu()?;
    let output = load(millis.div_ceil(1000))?;
    let cpu = cpu()?.saturating_sub(before);
    let mut line = parse(&output)?;
    line.figures.insert("per-cpu-second".into(), line.repetitions as f64 / cpu.as_secs_f64());
    Ok(line)
}

/// Reads the line that the script has printed, below what wrk prints.
fn parse(output: &str) -> Result<Line, String> {
    let line = output.lines().find(|line| line.starts_with("reps "));
    let line = line.and_then(|line| line.parse::<Line>().ok());
    line.ok_or_else(|| format!("wrk has printed {output:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_script_is_found() {
        let output = "Running 1s test\n  1 threads\nreps 5 checksum 5 per-second 5.0 p50 1000\n";
        let line = parse(output).unwrap();
        assert_eq!((line.repetitions, line.figures["p50"]), (5, 1000.0));
        assert!(parse("unable to connect").is_err());
    }
}
