//! crossbeam-channel's suite on OS threads: only the crate's name is another.

#![allow(warnings, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/channel_os.rs"));

fn main() -> std::process::ExitCode {
    gthread_suites::main(&[(gthread_suites::On::OsThreads, TESTS)])
}
