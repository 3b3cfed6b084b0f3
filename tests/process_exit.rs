//! A process ends promptly and with the right code, whatever its green threads are at: by
//! `std::process::exit` on any thread, or when `main` returns.
//!
//! Without libtest, because `main` is what is tested: each case is this program again.

use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gthread::{Runtime, blocking, channel, go};
use gthread_tests::{Flag, LIMIT, runtime, until, watchdog};

const CODE: i32 = 43;

/// Green threads at everything, on a runtime that is never dropped: by the time this returns they are.
fn busy(runtime: &'static Runtime) {
    let ready: Arc<[Flag; 9]> = Arc::new(std::array::from_fn(|_| Flag::new()));
    static GREEN: gthread::sync::Mutex<u64> = gthread::sync::Mutex::new(0);
    static STD: Mutex<u64> = Mutex::new(0);
    let start = |n: usize, f: fn(Box<dyn FnOnce()>)| {
        let ready = Arc::clone(&ready);
        let tells = Box::new(move || ready[n].raise());
        // Detached.
        drop(runtime.spawn(move || f(tells)));
    };
    start(0, |tell| {
        tell();
        gthread_tests::hog_until(|| false);
    });
    start(1, |tell| {
        tell();
        loop {
            gthread::yield_now();
        }
    });
    start(2, |tell| {
        tell();
        gthread::sleep(Duration::from_secs(3600));
    });
    start(3, |tell| {
        let _held = GREEN.lock().unwrap();
        tell();
        gthread::park();
    });
    start(4, |tell| {
        tell();
        drop(GREEN.lock());
    });
    start(5, |tell| {
        let _held: MutexGuard<'_, u64> = STD.lock().unwrap();
        tell();
        blocking(|| std::thread::sleep(Duration::from_secs(3600)));
    });
    start(6, |tell| {
        let (_tx, rx) = channel::bounded::<()>(0);
        tell();
        _ = rx.recv();
    });
    start(7, |tell| {
        tell();
        loop {
            go!(|| ()).join().unwrap();
        }
    });
    // What std flushes at exit is locked by a green thread that does not run.
    start(8, |tell| {
        let held = std::io::stdout().lock();
        tell();
        gthread::park();
        drop(held);
    });
    until(|| ready.iter().all(Flag::is_up));
}

static TWO: LazyLock<Runtime> = LazyLock::new(|| runtime(2));
static EIGHT: LazyLock<Runtime> = LazyLock::new(|| runtime(8));

/// By name: what the program does until it ends. `None`: it returns from `main`.
type Case = fn() -> Option<i32>;

const CASES: &[(&str, Case)] = &[
    ("returns, two workers", || {
        busy(&TWO);
        None
    }),
    ("returns, eight workers", || {
        busy(&EIGHT);
        None
    }),
    ("returns, with threads of the default runtime", || {
        (0..100).for_each(|_| drop(go!(|| gthread::sleep(Duration::from_secs(3600)))));
        None
    }),
    ("returns, and drops a runtime with threads that wait", || {
        let runtime = runtime(2);
        (0..100).for_each(|_| drop(runtime.spawn(gthread::park)));
        None
    }),
    ("exits on an OS thread", || {
        busy(&TWO);
        std::thread::spawn(|| std::process::exit(CODE)).join().unwrap();
        None
    }),
    ("exits on the main thread", || {
        busy(&EIGHT);
        std::process::exit(CODE)
    }),
    ("exits on a green thread", || {
        busy(&EIGHT);
        EIGHT.run(|| std::process::exit(CODE))
    }),
    ("exits in a blocking call", || {
        busy(&TWO);
        TWO.run(|| blocking(|| std::process::exit(CODE)))
    }),
    ("exits on a green thread that unwinds", || {
        struct Exits;
        impl Drop for Exits {
            fn drop(&mut self) {
                std::process::exit(CODE);
            }
        }
        busy(&TWO);
        TWO.run(|| {
            let _exits = Exits;
            std::panic::resume_unwind(Box::new("on its way"))
        })
    }),
    ("exits while threads start", || {
        std::thread::spawn(|| {
            loop {
                TWO.run(|| _ = go!(|| ()).join());
            }
        });
        std::thread::spawn(|| {
            loop {
                drop(runtime(1));
            }
        });
        std::thread::sleep(Duration::from_millis(3));
        std::process::exit(CODE)
    }),
];

const CASE: &str = "CASE";

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(CASE) {
        let (_, case) = CASES.iter().find(|(known, _)| *known == name).unwrap();
        return match case() {
            None => ExitCode::from(CODE as u8),
            Some(other) => ExitCode::from(other as u8),
        };
    }
    for (name, _) in CASES {
        watchdog(LIMIT, || {
            for _ in 0..3 {
                let mut command = Command::new(std::env::current_exe().unwrap());
                let start = Instant::now();
                let output = command.env(CASE, name).stdin(Stdio::null()).output().unwrap();
                println!("{name}: {}, {:?}", output.status, start.elapsed());
                assert_eq!(output.status.code(), Some(CODE), "{name}: {output:?}");
                // A runtime that is dropped tells what it leaves, and one under chaos its seed.
                let said = String::from_utf8_lossy(&output.stderr);
                let mut lines = said.lines().filter(|line| !line.starts_with("gthread: chaos"));
                let first = lines.find(|line| !line.is_empty());
                let nothing_else = first.is_none_or(|line| line.starts_with("leak: "));
                assert!(nothing_else, "{name}: {output:?}");
            }
        });
    }
    ExitCode::SUCCESS
}
