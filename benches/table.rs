//! The last of the benches: no measurement, but a table of what the others measured.
//!
//! A plain `cargo bench` ends with it, and it writes docs/benchmarks-std.md. With options after `--`, which
//! may have made the others measure less, it only prints the table, unless there is `--out FILE`. As a
//! test it does nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, fs, io};

use gthread_bench_page::{Machine, date, markdown, nanoseconds, output, significant};
use gthread_benches::options;
use serde_json::Value;

/// What is compared, and how the table calls it. Ratios are of the first to the second.
const CONTESTANTS: [(&str, &str); 4] = [
    ("std::thread", "`std::thread`"),
    ("gthread-1", "gthread, 1 worker"),
    ("gthread-2", "gthread, 2 workers"),
    ("gthread-os", "gthread's channels or locks, `std::thread`"),
];

fn main() -> io::Result<()> {
    let Some(args) = options() else { return Ok(()) };

    let criterion = criterion_directory();
    let (workloads, measured) = medians(&criterion)?;
    let Some((first, last)) = measured else {
        println!("no measurements in {}: run `cargo bench`", criterion.display());
        return Ok(());
    };
    let table = table(&workloads);
    print!("\n{table}\n");

    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs");
    let out = match args.iter().position(|arg| arg == "--out") {
        Some(at) => PathBuf::from(args.get(at + 1).expect("--out takes a file")),
        None if args.is_empty() => docs.join("benchmarks-std.md"),
        None => {
            println!("not written to docs/benchmarks-std.md: `cargo bench` had options");
            return Ok(());
        }
    };
    fs::write(&out, page(&table, &dates(first, last)))?;
    println!("written to {}", out.display());
    Ok(())
}

/// Where criterion leaves its results; the rules are criterion's.
fn criterion_directory() -> PathBuf {
    if let Some(home) = env::var_os("CRITERION_HOME") {
        return home.into();
    }
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).or_else(|| {
        let metadata = output(
            &env::var("CARGO").ok()?,
            &["metadata", "--format-version=1", "--no-deps", "--offline"],
        )?;
        let metadata: Value = serde_json::from_str(&metadata).ok()?;
        Some(metadata["target_directory"].as_str()?.into())
    });
    target.unwrap_or_else(|| "target".into()).join("criterion")
}

/// Nanoseconds by contestant, by workload.
type Workloads = BTreeMap<String, BTreeMap<String, f64>>;

/// The median of each benchmark, and when the first and the last of them were measured.
fn medians(criterion: &Path) -> io::Result<(Workloads, Option<(SystemTime, SystemTime)>)> {
    let mut workloads = Workloads::new();
    let mut measured: Option<(SystemTime, SystemTime)> = None;
    for group in subdirectories(criterion)? {
        for benchmark in subdirectories(&group)? {
            // Directories have shortened names; the real ones are inside.
            let file = benchmark.join("new/estimates.json");
            let (Some(names), Some(estimates)) =
                (json(&benchmark.join("new/benchmark.json")), json(&file))
            else {
                continue;
            };
            let (Some(workload), Some(contestant), Some(median)) = (
                names["group_id"].as_str(),
                names["function_id"].as_str(),
                estimates["median"]["point_estimate"].as_f64(),
            ) else {
                continue;
            };
            if CONTESTANTS.iter().all(|(id, _)| *id != contestant) {
                continue;
            }
            workloads.entry(workload.into()).or_default().insert(contestant.into(), median);
            let at = fs::metadata(&file)?.modified()?;
            let (first, last) = measured.unwrap_or((at, at));
            measured = Some((first.min(at), last.max(at)));
        }
    }
    Ok((workloads, measured))
}

/// The directories in one, or none if there is no such.
fn subdirectories(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

fn json(file: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
}

/// The table, in Markdown that can be read as it is.
fn table(workloads: &Workloads) -> String {
    let mut rows = vec![vec!["workload".to_owned()]];
    rows[0].extend(CONTESTANTS.map(|(_, title)| title.to_owned()));
    rows[0].push("ratio std / 1 worker".into());
    for (workload, medians) in workloads {
        let of = |contestant: usize| medians.get(CONTESTANTS[contestant].0).copied();
        let mut row = vec![workload.clone()];
        row.extend((0..CONTESTANTS.len()).map(|id| of(id).map_or("–".into(), nanoseconds)));
        row.push(of(0).zip(of(1)).map_or("–".into(), |(os, green)| significant(os / green)));
        rows.push(row);
    }
    markdown(rows)
}

/// The whole page.
fn page(table: &str, dates: &str) -> String {
    let Machine { processor, cores, memory, kernel } = Machine::this();
    let rustc = output("rustc", &["--version"]).unwrap_or("unknown".into());
    let rustc = rustc.trim();
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "\
# Benchmarks against `std::thread`

Written by `cargo bench`; do not edit. The workloads are in [benches](../benches), each the same code on
`std::thread` and on green threads. Times are medians, for one operation.
[Benchmarks](benchmarks.md) has other runtimes.

{table}
| measured | {dates} |
|---|---|
| processor | {processor}, {cores} |
| memory | {memory} |
| system | {kernel} |
| compiler | {rustc} |
| gthread | {version} |

To measure again, on a machine that does nothing else: `cargo bench`. To write the table again from the
last measurements: `cargo bench --bench zz_table`, with `-- --out FILE` to another file.
"
    )
}

/// One day, or the first and the last.
fn dates(first: SystemTime, last: SystemTime) -> String {
    let (first, last) = (date(first), date(last));
    if first == last { last } else { format!("{first} to {last}") }
}
