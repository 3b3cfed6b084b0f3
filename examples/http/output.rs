//! Lines for the user on stderr.

use gthread::io::{self, Write};

/// Prints `http: message`. Unlike `eprintln!`, it does not panic if stderr is closed.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "http: {message}");
}

/// Returns the error's text as other tools print it, without Rust's ` (os error 2)`.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
