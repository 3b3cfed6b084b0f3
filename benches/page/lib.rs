//! What the pages of figures are made of: tables, numbers, facts of the machine.

use std::fmt::Write as _;
use std::process::Command;
use std::time::SystemTime;
use std::{env, fs};

/// A table, in Markdown that can be read as it is. The first row is the head; the first column is words,
/// the others are numbers.
pub fn markdown(mut rows: Vec<Vec<String>>) -> String {
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let rule = widths.iter().enumerate().map(|(column, &width)| {
        if column == 0 { "-".repeat(width) } else { "-".repeat(width - 1) + ":" }
    });
    rows.insert(1, rule.collect());

    let mut table = String::new();
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let written = if column == 0 {
                write!(table, "| {cell:width$} ")
            } else {
                write!(table, "| {cell:>width$} ")
            };
            written.expect("a string takes all");
        }
        table.push_str("|\n");
    }
    table
}

/// A time, in the unit that suits it.
pub fn nanoseconds(time: f64) -> String {
    let (time, unit) = match time {
        ..1e3 => (time, "ns"),
        ..1e6 => (time / 1e3, "µs"),
        ..1e9 => (time / 1e6, "ms"),
        _ => (time / 1e9, "s"),
    };
    format!("{} {unit}", significant(time))
}

/// Three digits that count.
pub fn significant(number: f64) -> String {
    match number {
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// The value of the first `name : value` in a file of /proc.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let (_, value) =
        text.lines().filter_map(|line| line.split_once(':')).find(|(n, _)| n.trim() == name)?;
    Some(value.trim().into())
}

/// What a command prints.
pub fn output(command: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(command).args(args).output().ok()?;
    output.status.success().then_some(())?;
    String::from_utf8(output.stdout).ok()
}

/// The system and its version, without what distributors add to it.
fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .ok()
        .and_then(|release| Some(format!("Linux {}", release.trim().split('-').next()?)))
        .unwrap_or_else(|| env::consts::OS.into())
}

/// The day of a time, in UTC.
pub fn date(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("files are newer than 1970");
    let seconds = format!("@{}", since.as_secs());
    output("date", &["-u", "-d", &seconds, "+%F"]).map_or("unknown".into(), |day| day.trim().into())
}

/// The machine's facts that bear on the times.
#[derive(Debug)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many of its cores this process may use, with the word.
    pub cores: String,
    /// The memory, with its unit.
    pub memory: String,
    /// The system and its version.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let unknown = || "unknown".to_owned();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Self {
            processor: field("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| env::consts::ARCH.into()),
            cores: format!("{cores} {}", if cores == 1 { "core" } else { "cores" }),
            memory: field("/proc/meminfo", "MemTotal")
                .and_then(|kib| kib.trim_end_matches(" kB").parse::<f64>().ok())
                .map_or_else(unknown, |kib| format!("{:.0} GiB", kib / f64::from(1 << 20))),
            kernel: kernel(),
        }
    }
}
