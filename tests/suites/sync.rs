//! Tests of locks that have std's interface, most of them std's own, on OS threads and green.

#![allow(warnings, clippy::all)]

mod os {
    include!(concat!(env!("OUT_DIR"), "/sync_os.rs"));
}

// Twice, because some tests count in a static what has been dropped.
mod one_worker {
    include!(concat!(env!("OUT_DIR"), "/sync_green.rs"));
}

mod two_workers {
    include!(concat!(env!("OUT_DIR"), "/sync_green.rs"));
}

fn main() -> std::process::ExitCode {
    use gthread_suites::On::{OsThreads, Workers};
    gthread_suites::main(&[
        (OsThreads, os::TESTS),
        (Workers(1), one_worker::TESTS),
        (Workers(2), two_workers::TESTS),
    ])
}
