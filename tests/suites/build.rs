//! Takes test suites of other crates from their packages, as cargo has them, and changes the names in them:
//! the crate under test becomes gthread, and for the green ways so does std's `thread`. Nothing of them is
//! in this repository.
//!
//! A suite becomes one file of OUT_DIR: a module for each file of tests, and a table of all tests for
//! [the runner](lib.rs). A test is left out by name, with the reason, and a name that is not there any more
//! is an error, as is a change that finds nothing to change: a newer package is looked at again.

#[path = "../ported/source.rs"]
mod source;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use source::{write_if_new, Packages};

/// Test suites that become one file.
struct Suite {
    /// The file's name.
    name: &'static str,
    files: Vec<File>,
    /// For all files.
    changes: Vec<Change>,
    left_out: &'static [LeftOut],
}

/// What is written, and what in its place.
type Change = (&'static str, &'static str);

/// A test as `file::module::test`, and why it cannot be had.
type LeftOut = (&'static str, &'static str);

struct File {
    package: &'static str,
    path: &'static str,
    part: Part,
    changes: Vec<Change>,
}

/// What of a file is taken.
enum Part {
    All,
    /// The contents of a module.
    Module(&'static str),
    /// What stands at the end, from a line on.
    From(&'static str),
}

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    let packages = Packages::of_this_build();
    let mut os = channel("channel_os");
    os.changes.extend_from_slice(CHANNELS);
    let mut green = channel("channel_green");
    green.changes.extend_from_slice(CHANNELS);
    green.changes.extend_from_slice(THREADS);
    for suite in [os, green, sync("sync_os", FEWER), sync("sync_green", SYNC_THREADS)] {
        let text = suite.translate(&packages);
        write_if_new(&out.join(suite.name).with_extension("rs"), &text);
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../ported/source.rs");
}

// ---- the suites -------------------------------------------------------------------------------

/// crossbeam-channel's own.
fn channel(name: &'static str) -> Suite {
    let file =
        |path| File { package: "crossbeam-channel", path, part: Part::All, changes: Vec::new() };
    let files = [
        "tests/after.rs",
        "tests/array.rs",
        "tests/golang.rs",
        "tests/iter.rs",
        "tests/list.rs",
        "tests/mpsc.rs",
        "tests/never.rs",
        "tests/ready.rs",
        "tests/same_channel.rs",
        "tests/select.rs",
        "tests/select_macro.rs",
        "tests/thread_locals.rs",
        "tests/tick.rs",
        "tests/zero.rs",
    ];
    Suite { name, files: files.map(file).into(), changes: Vec::new(), left_out: &[] }
}

const CHANNELS: &[Change] = &[
    // The macro that `select!` is made of there, used by a `select!` of the suite's own.
    ("cc::crossbeam_channel_internal!", "cc::select!"),
    ("crossbeam_channel", "gthread::channel"),
];

/// For bodies and threads that are green. std's are changed as its user would, and so are the locks:
/// a thread that waits for one of std's holds its worker.
const THREADS: &[Change] = &[
    ("use std::thread;", "use gthread_suites::green as thread;"),
    ("use std::thread::JoinHandle;", "use gthread::JoinHandle;"),
    ("::std::thread::spawn(", "::gthread::spawn("),
    (
        "use std::sync::{Arc, Condvar, Mutex};",
        "use std::sync::Arc; use gthread::sync::{Condvar, Mutex};",
    ),
    ("thread_local! {", "gthread::green_local! {"),
    ("use crossbeam_utils::thread::scope;", "use gthread_suites::green::scope;"),
    // Its generator is a thread-local's, which must not be held across a suspension point.
    ("use rand::{thread_rng, Rng};", "use gthread_suites::{thread_rng, Rng};"),
];

/// Tests of locks that have std's interface. Most are std's own: crossbeam's `ShardedLock` and may's locks were
/// tested with them first, may's with threads of both kinds.
fn sync(name: &'static str, threads: &[Change]) -> Suite {
    let may = |path, part, changes: &[Change]| {
        let changes = [changes, MAY].concat();
        File { package: "may", path, part, changes }
    };
    let files = vec![
        File {
            package: "crossbeam-utils",
            path: "tests/sharded_lock.rs",
            part: Part::All,
            changes: vec![
                ("crossbeam_utils::sync::ShardedLock", "gthread::sync::RwLock"),
                ("ShardedLock", "RwLock"),
            ],
        },
        File {
            package: "once_cell",
            path: "tests/it.rs",
            part: Part::Module("sync"),
            changes: vec![
                (
                    "once_cell::sync::{Lazy, OnceCell}",
                    "gthread::sync::{LazyLock as Lazy, OnceLock as OnceCell}",
                ),
                (r#""OnceCell(Uninit)""#, r#""OnceLock(\n    <uninit>,\n)""#),
                (r##"r#"OnceCell("##, r##"r#"OnceLock("##),
            ],
        },
        may("src/sync/barrier.rs", Part::From("#[test]"), BARRIER),
        may("src/sync/condvar.rs", Part::Module("tests"), LOCKS),
        may(
            "src/sync/mutex.rs",
            Part::Module("tests"),
            &[
                (
                    "use super::*;",
                    "use gthread::sync::{Condvar, Mutex}; \
                 use std::sync::{atomic::{AtomicUsize, Ordering}, Arc};",
                ),
                ("use crate::sync::Condvar;", ""),
            ],
        ),
        may("src/sync/rwlock.rs", Part::Module("tests"), LOCKS),
    ];
    Suite { name, files, changes: threads.to_vec(), left_out: SYNC_LEFT_OUT }
}

const MAY: &[Change] = &[
    ("use crate::sync::mpsc::channel;", "use gthread::channel::unbounded as channel;"),
    ("go!(", "gthread::go!("),
];

const BARRIER: &[Change] = &[
    ("#[test]", "use gthread::sync::Barrier;\n#[test]"),
    ("std::sync::mpsc::TryRecvError", "gthread::channel::TryRecvError"),
];

const LOCKS: &[Change] = &[("use crate::sync::{", "use gthread::sync::{")];

/// A thousand OS threads that meet a thousand times take half a minute.
const FEWER: &[Change] = &[("{ 30 } else { 1_000 }", "{ 30 } else { 100 }")];

const SYNC_THREADS: &[Change] = &[
    ("use std::thread;", "use gthread_suites::green as thread;"),
    ("use crossbeam_utils::thread::scope;", "use gthread_suites::green::scope;"),
    ("use std::sync::Barrier;", "use gthread::sync::Barrier;"),
    ("use std::sync::mpsc::channel;", "use gthread::channel::unbounded as channel;"),
    // Its generator is a thread-local's, which must not be held across a suspension point.
    ("use rand::Rng;", "use gthread_suites::Rng;"),
    ("rand::thread_rng()", "gthread_suites::thread_rng()"),
];

const SYNC_LEFT_OUT: &[LeftOut] = &[
    ("once_cell::once_cell_with_value", "OnceCell::with_value, which OnceLock lacks"),
    ("once_cell::once_cell_get_unchecked", "OnceCell::get_unchecked, which OnceLock lacks"),
    ("once_cell::get_or_try_init", "OnceCell::get_or_try_init, which is unstable in OnceLock"),
    ("once_cell::reentrant_init", "a program of that package that has to be built beside the test"),
    ("once_cell::lazy_deref_mut", "Lazy's DerefMut, which LazyLock lacks"),
    ("once_cell::lazy_into_value", "Lazy::into_value, which is unstable in LazyLock"),
    ("condvar::test_condvar_canceled", CANCELLED),
    ("mutex::test_mutex_canceled", CANCELLED),
    ("mutex::test_mutex_canceled_by_other_wait", CANCELLED),
    ("rwlock::test_rwlock_write_canceled", CANCELLED),
    ("rwlock::test_rwlock_read_canceled", CANCELLED),
    (
        "condvar::two_mutex",
        "a panic that std allows, does not promise, and has on no system of ours",
    ),
];

const CANCELLED: &str = "may's cancellation, which std has nothing like";

// ---- the translation --------------------------------------------------------------------------

impl Suite {
    fn translate(&self, packages: &Packages) -> String {
        let mut translation = Translation::default();
        let mut suite_changes: Vec<_> = self.changes.iter().map(Counted::new).collect();
        for file in &self.files {
            let path = packages.directory(file.package).join(file.path);
            let mut changes: Vec<_> = file.changes.iter().map(Counted::new).collect();
            let mut text = file.part.of(&fs::read_to_string(&path).expect("source is text"));
            for change in changes.iter_mut().chain(&mut suite_changes) {
                text = change.apply(text);
            }
            translation.add(&module_of(file.path, file.package), &text, self.left_out);
            changes.iter().for_each(|change| change.must_have_been_made(self.name));
        }
        suite_changes.iter().for_each(|change| change.must_have_been_made(self.name));
        for (name, _) in self.left_out {
            assert!(translation.left_out.contains(name), "{}: there is no test {name}", self.name);
        }
        translation.text
            + "pub const TESTS: &[gthread_suites::Test] = &[\n"
            + &translation.table
            + "];\n"
    }
}

/// `tests/array.rs` becomes `array`, and a file that is named for nothing else the package.
fn module_of(path: &str, package: &str) -> String {
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).expect("it has a name");
    if stem == "it" {
        package.replace('-', "_")
    } else {
        stem.to_owned()
    }
}

impl Part {
    fn of(&self, text: &str) -> String {
        let lines = text.lines().map(|line| line.to_owned() + "\n");
        let part: String = match self {
            Self::All => return text.to_owned(),
            Self::Module(name) => {
                let head = format!("mod {name} {{\n");
                let lines = lines.skip_while(|line| *line != head).skip(1);
                lines.take_while(|line| line != "}\n").collect()
            }
            Self::From(line) => lines.skip_while(|other| other.trim_end() != *line).collect(),
        };
        assert!(!part.is_empty(), "nothing is found");
        part
    }
}

/// A change, and whether there was anything to change.
struct Counted(Change, bool);

impl Counted {
    fn new(change: &Change) -> Self {
        Self(*change, false)
    }

    fn apply(&mut self, text: String) -> String {
        let Self((from, to), made) = self;
        *made |= text.contains(*from);
        text.replace(*from, to)
    }

    fn must_have_been_made(&self, suite: &str) {
        assert!(self.1, "{suite}: nothing says {:?}", self.0 .0);
    }
}

#[derive(Default)]
struct Translation {
    text: String,
    table: String,
    left_out: Vec<&'static str>,
}

impl Translation {
    /// Adds a file: its tests become public functions. The sources are as rustfmt has them: what begins in a
    /// column ends with a brace in the same.
    fn add(&mut self, file: &str, text: &str, left_out: &'static [LeftOut]) {
        let add = |text: &mut String, line: &str| *text += &(line.to_owned() + "\n");
        add(&mut self.text, &format!("pub mod {file} {{"));
        let mut inner: Option<&str> = None;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
                inner = Some(name);
                add(&mut self.text, &format!("pub {line}"));
                continue;
            }
            if line == "}" {
                inner = None;
            }
            if line.trim() != "#[test]" {
                add(&mut self.text, line);
                continue;
            }
            let indent = &line[..line.len() - "#[test]".len()];
            let mut attributes = String::new();
            let head = loop {
                let line = lines.next().expect("a function follows");
                if line.trim_start().starts_with("fn ") {
                    break line.trim_start();
                }
                add(&mut attributes, line);
            };
            let name = &head[3..head.find('(').expect("it has arguments, none")];
            let end = format!("{indent}}}");
            let mut body = String::new();
            for line in lines.by_ref().take_while(|line| *line != end) {
                add(&mut body, line);
            }
            let path = [Some(file), inner, Some(name)];
            let path = path.into_iter().flatten().collect::<Vec<_>>().join("::");
            if let Some((name, why)) = left_out.iter().find(|(name, _)| *name == path) {
                self.left_out.push(name);
                let _ = writeln!(self.table, "gthread_suites::Test::left_out({path:?}, {why:?}),");
                continue;
            }
            let _ = write!(self.text, "{attributes}{indent}pub {head}\n{body}{end}\n");
            let panics = if attributes.contains("#[should_panic") { ".that_panics()" } else { "" };
            let alone =
                if ALONE_FILES.contains(&file) || ALONE.iter().any(|word| body.contains(word)) {
                    ".alone()"
                } else {
                    ""
                };
            let _ =
                writeln!(self.table, "gthread_suites::Test::new({path:?}, {path}){panics}{alone},");
        }
        add(&mut self.text, "}");
    }
}

/// What says of a test that nothing may run beside it: its file, if that is of nothing but timers; that something
/// must be over by a time; or how much the process may allocate.
const ALONE: &[&str] = &["- start <= ms(", "ALLOCATED.store(0"];
const ALONE_FILES: &[&str] = &["after", "tick"];
