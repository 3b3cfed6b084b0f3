//! Files, child processes, signals, and the standard streams.
#![cfg(target_os = "linux")]

mod fs;
mod process;
mod signal;
mod streams;
