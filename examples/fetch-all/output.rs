//! What the user sees: a line for each URL, complaints, and the progress bar.

use std::time::Duration;

use gthread::io::{self, Write};
use indicatif::{ProgressBar, ProgressStyle};

use crate::client::Fetched;

/// Prints `fetch-all: message` on stderr. Unlike `eprintln!`, it does not panic if stderr is
/// closed.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "fetch-all: {message}");
}

/// Returns the error's text as other tools print it, without Rust's ` (os error 2)`.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The progress bar on stderr, which vanishes on drop. There is none if stderr is no terminal.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(crate) fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let style = "{elapsed:>4} {wide_bar} {human_pos} of {human_len} URLs";
        let style = ProgressStyle::with_template(style).expect("the template is well-formed");
        let bar = ProgressBar::new(0).with_style(style);
        // The clock goes on while nothing arrives.
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(Some(bar))
    }

    pub(crate) fn one_more_found(&self) {
        self.0.iter().for_each(|bar| bar.inc_length(1));
    }

    pub(crate) fn one_more_finished(&self) {
        self.0.iter().for_each(|bar| bar.inc(1));
    }

    /// Prints a line for a URL that was fetched.
    pub(crate) fn print(&self, url: &str, time: Duration, fetched: &Fetched) -> io::Result<()> {
        let Fetched { status, bytes } = fetched;
        let line = format!("{status} {bytes:>10} {:>6} {url}\n", time.as_millis());
        self.beside(
            || io::stdout().write_all(line.as_bytes()),
            || std::io::stdout().write_all(line.as_bytes()),
        )
    }

    pub(crate) fn complain(&self, message: &str) {
        self.beside(
            || complain(message),
            || drop(writeln!(std::io::stderr(), "fetch-all: {message}")),
        );
    }

    /// Writes a line; above the bar, if there is one. The bar holds a lock of std meanwhile, with
    /// which a green thread must not be suspended. So `blocking` is used then.
    fn beside<T>(&self, green: impl FnOnce() -> T, blocking: impl FnOnce() -> T) -> T {
        match &self.0 {
            None => green(),
            Some(bar) => gthread::blocking(|| bar.suspend(blocking)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.iter().for_each(ProgressBar::finish_and_clear);
    }
}
