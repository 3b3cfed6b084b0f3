//! Tests of locks that have std's interface, most of them std's own, on OS threads and green.

#![allow(warnings, clippy::all)]

mod os {
    include!(concat!(env!("OUT_DIR"), "/sync_os.rs"));
}

mod green {
    include!(concat!(env!("OUT_DIR"), "/sync_green.rs"));
}

fn main() -> std::process::ExitCode {
    use gthread_suites::On::{OsThreads, Workers};
    gthread_suites::main(&[
        (OsThreads, os::TESTS),
        (Workers(1), green::TESTS),
        (Workers(2), green::TESTS),
    ])
}
