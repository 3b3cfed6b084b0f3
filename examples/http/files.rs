//! Files below a directory, and parts of them.

use std::path::Path;

use gthread::fs::{self, File, OpenOptions};
use gthread::io::{self, ErrorKind};
use gthread::os::unix::fs::OpenOptionsExt;

use crate::date;
use crate::request::{FileRequest, number};
use crate::response::Status;

/// A range of bytes, as a request asks for it. The first byte has the number 0.
#[derive(Clone, Copy)]
pub(crate) enum ByteRange {
    /// From a byte to the end.
    From(u64),
    /// From a byte to another one, which belongs to the range.
    Between(u64, u64),
    /// So many bytes before the end.
    Last(u64),
}

impl ByteRange {
    /// Parses `bytes=0-99`, `bytes=100-` and `bytes=-100`. Returns `None` for what is malformed,
    /// and for several ranges at once: a server may always send the whole file.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let (unit, range) = value.split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes=") {
            return None;
        }
        let range = range.trim_ascii();
        let dash = range.iter().position(|&byte| byte == b'-')?;
        match (&range[..dash], &range[dash + 1..]) {
            (b"", last) => number(last).map(Self::Last),
            (first, b"") => number(first).map(Self::From),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    /// Returns the first byte and the length, in a file of `size` bytes, or `None` if there are no
    /// such bytes.
    pub(crate) fn within(self, size: u64) -> Option<(u64, u64)> {
        let (first, end) = match self {
            Self::From(first) => (first, size),
            Self::Between(first, last) => (first, last.saturating_add(1).min(size)),
            Self::Last(length) => (size.saturating_sub(length), size),
        };
        (first < end).then(|| (first, end - first))
    }
}

/// What a path names.
pub(crate) enum Found {
    File(Opened),
    /// A directory, whose name lacks the slash at the end.
    Directory,
}

/// A file that can be read.
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) size: u64,
    pub(crate) modified: u64,
    pub(crate) kind: &'static str,
}

/// Opens the file that is asked for; of a directory, its `index.html`. `root` is a path without
/// symbolic links.
///
/// # Errors
///
/// The status to answer.
pub(crate) fn open(root: &Path, request: &FileRequest) -> Result<Found, Status> {
    open_below(root, request).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Status::FORBIDDEN,
        _ => match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Status::SERVICE_UNAVAILABLE,
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG) | None => {
                Status::NOT_FOUND
            }
            Some(_) => Status::INTERNAL_SERVER_ERROR,
        },
    })
}

fn open_below(root: &Path, request: &FileRequest) -> io::Result<Found> {
    // Without symbolic links, which may lead out of the root.
    let mut path = fs::canonicalize(root.join(&request.path))?;
    if !path.starts_with(root) {
        return Err(ErrorKind::PermissionDenied.into());
    }
    if fs::metadata(&path)?.is_dir() {
        if !request.has_slash {
            return Ok(Found::Directory);
        }
        path = fs::canonicalize(path.join("index.html"))?;
        if !path.starts_with(root) {
            return Err(ErrorKind::PermissionDenied.into());
        }
    } else if request.has_slash {
        return Err(ErrorKind::NotFound.into());
    }
    // To open a pipe would wait for a writer.
    if !fs::metadata(&path)?.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    Ok(Found::File(Opened {
        size: metadata.len(),
        modified: metadata.modified().map_or(0, date::seconds_of),
        kind: kind_of(&path),
        file,
    }))
}

/// Returns the media type that a file's name promises.
fn kind_of(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "txt" | "md" | "rs" | "toml" | "log" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "text/xml; charset=utf-8",
        "json" | "map" => "application/json",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        _ => "application/octet-stream",
    }
}
