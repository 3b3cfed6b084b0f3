//! crossbeam-channel's suite, bodies and threads green, on one worker and on two.

#![allow(warnings, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/channel_green.rs"));

fn main() -> std::process::ExitCode {
    use gthread_suites::On::Workers;
    gthread_suites::main(&[(Workers(1), TESTS), (Workers(2), TESTS)])
}
