//! What the Rust servers share: the command line, and HTTP without the waiting. The protocol is in
//! ../../README.md.

mod args;
pub mod http;

use std::time::Duration;

pub use args::{Args, Server, main};
use peers_kit::kernel;

/// The size of an echo's buffer in bytes: that of the echo server in tokio's README.
pub const BUFFER: usize = 1024;

/// The time-out that is set on every request where one is. It never passes.
pub const TIME_OUT: Duration = Duration::from_secs(30);

/// Computes for ever: what a CPU-bound thread does.
pub fn compute() -> ! {
    loop {
        kernel::steps(1000);
    }
}
