//! What the user sees: digest lines, complaints, and the progress bar.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::slice;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::hash::Digest;

/// Prints the lines of all files, sorted by the bytes of their paths.
pub(crate) fn print(mut lines: Vec<(PathBuf, Digest)>) -> io::Result<()> {
    // Not by `Path`'s own order, which goes component by component: there `a/b` is before `a.b`.
    lines.sort_unstable_by(|(a, _), (b, _)| a.as_os_str().cmp(b.as_os_str()));
    write_lines(&lines).map_err(write_error)
}

fn write_lines(lines: &[(PathBuf, Digest)]) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    for (path, digest) in lines {
        write_line(&mut out, path.as_os_str().as_bytes(), digest)?;
    }
    out.flush()
}

/// Adds to an error that it was the writing to stdout that failed.
pub(crate) fn write_error(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("write error: {}", reason(&error)))
}

/// Writes `HEX  PATH`, as `sha256sum` does: if the path would break the line, its odd bytes are
/// escaped, and a backslash in front of the line says so.
fn write_line(out: &mut impl Write, path: &[u8], digest: &Digest) -> io::Result<()> {
    if path.iter().any(|byte| b"\\\n\r".contains(byte)) {
        out.write_all(b"\\")?;
    }
    for byte in digest {
        write!(out, "{byte:02x}")?;
    }
    out.write_all(b"  ")?;
    for byte in path {
        out.write_all(match byte {
            b'\\' => br"\\",
            b'\n' => br"\n",
            b'\r' => br"\r",
            plain => slice::from_ref(plain),
        })?;
    }
    out.write_all(b"\n")
}

/// Whether the other end of the pipe on stdout is closed. As the output comes last, a write would
/// tell only after all the work.
pub(crate) fn reader_is_gone() -> bool {
    let mut stdout = libc::pollfd { fd: libc::STDOUT_FILENO, events: 0, revents: 0 };
    // SAFETY: `poll` wants an array of as many `pollfd` as the count says: `stdout` is one, and
    // mutably borrowed for the call, which does not wait (timeout 0) and keeps no pointer. Any
    // number will do as file descriptor.
    let ready = unsafe { libc::poll(&raw mut stdout, 1, 0) };
    ready == 1 && stdout.revents & (libc::POLLERR | libc::POLLHUP) != 0
}

/// Prints `digest: message` on stderr. Unlike `eprintln!`, it does not panic if stderr is closed.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "digest: {message}");
}

/// Complains about a path: `digest: PATH: No such file or directory`.
pub(crate) fn complain_about(path: &Path, error: &io::Error) {
    complain(&format!("{}: {}", shown(path), reason(error)));
}

/// The path on one line: as it is where that is readable, else quoted and escaped.
fn shown(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.is_empty() && !text.contains(char::is_control) => text.to_owned(),
        _ => format!("{path:?}"),
    }
}

/// The error's text as other tools print it, without Rust's ` (os error 2)`.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The progress bar on stderr, which vanishes on drop.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// There is no bar if it is not wanted, or if stderr is no terminal.
    pub(crate) fn new(wanted: bool) -> Self {
        if !wanted || !io::stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let style = "{elapsed:>4} {wide_bar} {human_pos} of {human_len} files found";
        let style = ProgressStyle::with_template(style).expect("the template is well-formed");
        let bar = ProgressBar::new(0).with_style(style);
        // The clock goes on while a large file keeps everything else waiting.
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress(bar)
    }

    pub(crate) fn one_more_found(&self) {
        self.0.inc_length(1);
    }

    pub(crate) fn one_more_finished(&self) {
        self.0.inc(1);
    }

    /// Complains about a path, on a line above the bar.
    pub(crate) fn complain(&self, path: &Path, error: &io::Error) {
        self.0.suspend(|| complain_about(path, error));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
