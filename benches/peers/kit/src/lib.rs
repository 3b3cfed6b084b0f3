//! What the Rust contestants share: the command line, repeating and timing, the line that is printed, the
//! sequential parts of the workloads. The protocol is in ../../README.md.

mod job;
pub mod kernel;
pub mod process;
mod report;
mod waits;

pub use job::{Job, Timed, Workload, main, share, time};
pub use report::Report;
pub use waits::Waits;
