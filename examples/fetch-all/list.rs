//! The URLs to fetch.

use std::path::{Path, PathBuf};

use gthread::fs::File;
use gthread::io::{self, BufRead, BufReader};

use crate::output::reason;

/// Returns the URLs of the command line, and then those of a list, as its lines come. A list that
/// cannot be read ends with an error, which is a line for the user.
pub(crate) fn urls(
    given: Vec<String>,
    list: Option<PathBuf>,
) -> impl Iterator<Item = Result<String, String>> {
    given.into_iter().map(Ok).chain(list.into_iter().flat_map(|path| lines(&path)))
}

fn lines(path: &Path) -> Box<dyn Iterator<Item = Result<String, String>>> {
    let opened: io::Result<Box<dyn BufRead>> = match path.to_str() {
        Some("-") => Ok(Box::new(BufReader::new(io::stdin()))),
        _ => File::open(path).map(|file| Box::new(BufReader::new(file)) as _),
    };
    let path = path.to_owned();
    let explain = move |error: io::Error| format!("cannot read {path:?}: {}", reason(&error));
    let reader = match opened {
        Ok(reader) => reader,
        Err(error) => return Box::new(std::iter::once(Err(explain(error)))),
    };
    let mut is_readable = true;
    let lines = reader.lines().map_while(move |line| {
        // After an error there may be the same one for ever.
        let was_readable = is_readable;
        is_readable = line.is_ok();
        was_readable.then_some(line)
    });
    let lines = lines.map(move |line| line.map(|line| line.trim().to_owned()).map_err(&explain));
    Box::new(lines.filter(|line| {
        line.as_ref().map_or(true, |line| !line.is_empty() && !line.starts_with('#'))
    }))
}
