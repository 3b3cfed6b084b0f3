//! A process that is sent SIGQUIT prints a dump and goes on, if it was told to.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use gthread::{channel, go};
use gthread_tests::{LIMIT, is_child, until, watchdog};

/// Starts the test `name` of this binary as a subprocess, and waits until it says that it is ready.
fn start(name: &str, variables: &[(&str, &str)]) -> (Child, BufReader<impl Read>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command.env_remove("GTHREAD_DUMP").env("GTHREAD_TEST_CHILD", "1");
    command.envs(variables.iter().copied()).stdin(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    read_to(&mut stderr, "ready");
    (child, stderr)
}

/// Reads lines up to one that contains `word`.
fn read_to(from: &mut impl BufRead, word: &str) -> String {
    let mut text = String::new();
    while !text.contains(word) {
        assert_ne!(from.read_line(&mut text).unwrap(), 0, "no {word:?} in {text}");
    }
    text
}

fn quit(child: &Child) {
    // SAFETY: kill has no preconditions; the child was not waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGQUIT) };
}

/// What the child does: waits for the end of its input.
fn wait_for_input() {
    eprintln!("ready");
    let mut input = Vec::new();
    gthread::blocking(|| std::io::stdin().read_to_end(&mut input).unwrap());
}

#[test]
fn each_signal_makes_a_dump_and_the_process_goes_on() {
    if is_child() {
        gthread::dump_on_sigquit().unwrap();
        gthread::dump_on_sigquit().unwrap();
        return gthread::run(|| {
            let (tx, rx) = channel::bounded::<u32>(0);
            // Child first: it waits when this goes on.
            let waits = go!(move || rx.recv());
            wait_for_input();
            drop(tx);
            assert!(waits.join().unwrap().is_err());
        });
    }
    watchdog(LIMIT, || {
        let (mut child, mut stderr) =
            start("each_signal_makes_a_dump_and_the_process_goes_on", &[]);
        for _ in 0..3 {
            quit(&child);
            let text = read_to(&mut stderr, "is parked in recv");
            assert!(text.contains("SIGQUIT: all green threads"), "{text}");
            assert!(text.contains("is blocking worker"), "{text}");
        }
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    });
}

/// Also when every worker is stuck.
#[test]
fn the_environment_asks_for_it() {
    if is_child() {
        static RUNS: AtomicBool = AtomicBool::new(false);
        static GO_ON: AtomicBool = AtomicBool::new(false);
        let runtime = gthread::Runtime::builder().workers(1).build().unwrap();
        let hog = runtime.spawn(|| {
            RUNS.store(true, Ordering::Relaxed);
            while !GO_ON.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        until(|| RUNS.load(Ordering::Relaxed));
        wait_for_input();
        GO_ON.store(true, Ordering::Relaxed);
        return hog.join().unwrap();
    }
    watchdog(LIMIT, || {
        let name = "the_environment_asks_for_it";
        let (mut child, mut stderr) = start(name, &[("GTHREAD_DUMP", "sigquit")]);
        quit(&child);
        let text = read_to(&mut stderr, "is running on worker");
        assert!(text.contains("worker 0 is running thread"), "{text}");
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        // Not asked for: the signal does what it always did.
        let (mut child, _stderr) = start(name, &[]);
        quit(&child);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGQUIT));
    });
}

#[test]
fn a_handler_of_the_program_is_left_alone() {
    static CALLED: AtomicBool = AtomicBool::new(false);
    extern "C" fn handler(_: libc::c_int) {
        CALLED.store(true, Ordering::Relaxed);
    }
    if is_child() {
        // SAFETY: the handler does what a handler may.
        unsafe { libc::signal(libc::SIGQUIT, handler as *const () as usize) };
        let error = gthread::dump_on_sigquit().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        eprintln!("ready");
        until(|| CALLED.load(Ordering::Relaxed));
        return;
    }
    watchdog(LIMIT, || {
        let (mut child, _stderr) = start("a_handler_of_the_program_is_left_alone", &[]);
        quit(&child);
        assert!(child.wait().unwrap().success());
    });
}
