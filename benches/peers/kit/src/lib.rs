//! What the Rust contestants share: the command line, repeating and timing, the line that is printed.
//! The protocol is in ../../README.md.

mod job;
pub mod kernel;
mod report;

pub use job::{Job, Timed, Workload, main, share, time};
pub use report::Report;
