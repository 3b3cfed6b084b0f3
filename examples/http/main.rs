//! An HTTP/1.1 server: plain blocking code, and a green thread for each connection.
//!
//! ```console
//! $ cargo run --release --example http -- --root . 127.0.0.1:8080
//! $ curl -i http://127.0.0.1:8080/plaintext
//! $ curl -d hello http://127.0.0.1:8080/echo
//! $ curl -r 0-99 http://127.0.0.1:8080/README.md
//! ```
//!
//! `server` accepts connections and ends in an orderly way, `connection` serves one of them. These
//! are the places to start reading. `request` decides what a request asks for, and which ones are
//! malformed.

mod args;
mod body;
mod connection;
mod date;
mod files;
mod input;
mod log;
mod output;
mod request;
mod response;
mod server;
mod target;

use std::io::{self, Write};
use std::process::ExitCode;

use args::Command;
use output::complain;

/// The exit status that a shell reports for a program that ended by SIGINT: 128 plus the signal.
const STATUS_INTERRUPTED: i32 = 130;
const STATUS_USAGE: u8 = 2;

fn main() -> ExitCode {
    let config = match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Serve(config)) => config,
        Ok(Command::Help) => {
            // A closed stdout is no reason to panic, as `print!` would.
            let _ = io::stdout().write_all(args::HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            complain(&format!("{mistake}\n{}", args::USAGE));
            return ExitCode::from(STATUS_USAGE);
        }
    };
    match gthread::run(|| server::run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}
