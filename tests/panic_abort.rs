//! A program that is compiled with `panic = "abort"`: gthread works, and a panic in a green thread ends the
//! process with a message that names it. Not a test of the harness, which cannot be compiled so:
//!
//! ```console
//! $ cargo run --profile abort -p gthread-tests --features panic-abort --bin panic_abort
//! ```

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use gthread::sync::WaitGroup;
use gthread::{Builder, channel, go};
use gthread_tests::{LIMIT, stderr, watchdog};

fn main() {
    const { assert!(cfg!(panic = "abort"), "to be built with --profile abort") };
    match std::env::args().nth(1).as_deref() {
        None => watchdog(LIMIT, check),
        Some(_) => panic_in_a_green_thread(),
    }
}

fn check() {
    assert_eq!(gthread::run(fork_and_meet), 1275);
    let output = Command::new(std::env::current_exe().unwrap()).arg("panic").output().unwrap();
    let stderr = stderr(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{stderr}");
    for part in ["green thread ", " 'parser' (spawned at ", " panicked at ", "the message"] {
        assert!(stderr.contains(part), "no {part:?} in {stderr}");
    }
    assert!(!stderr.contains("went on"), "{stderr}");
    println!("panic_abort: as it should be");
}

/// Whatever has a `catch_unwind` in it, when nothing unwinds.
fn fork_and_meet() -> u32 {
    let (tx, rx) = channel::bounded(0);
    let group = WaitGroup::new();
    for n in 1..=50 {
        let tx = tx.clone();
        group.go(move || tx.send(n).unwrap());
    }
    drop(tx);
    let (sum, scoped) = gthread::join(
        || rx.iter().sum::<u32>(),
        || gthread::scope(|s| s.spawn(|| gthread::yield_now()).join().is_ok()),
    );
    group.wait();
    assert!(scoped);
    sum
}

fn panic_in_a_green_thread() {
    gthread::run(|| {
        let waits = go!(gthread::park);
        let parser = Builder::new().name("parser".into()).spawn(|| panic!("the message"));
        eprintln!("went on: {:?}", parser.unwrap().join());
        drop(waits);
    });
}
