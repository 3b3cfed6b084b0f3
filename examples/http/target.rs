//! The path of a request's target, and the file that it names.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::response::Status;

/// Returns the path of a target, still encoded, without the query: of `/a?b` and of
/// `http://host/a?b` it is `/a`.
pub(crate) fn path_of(target: &str) -> Option<&str> {
    let path = match target.split_once("://") {
        // A path may have this in its query, and begins with a slash.
        Some((scheme, rest)) if !scheme.contains('/') => match rest.find(['/', '?']) {
            Some(end) if rest[end..].starts_with('/') => &rest[end..],
            _ => "/",
        },
        _ => target,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.starts_with('/').then_some(path)
}

/// Returns the file that a path names, relative to the root.
///
/// # Errors
///
/// `FORBIDDEN` if the path leaves the root, also by slashes or dots that are encoded; `BAD_REQUEST`
/// if it is not well-formed.
pub(crate) fn file_of(path: &str) -> Result<PathBuf, Status> {
    let mut file = PathBuf::new();
    for part in path.split('/') {
        match decode(part)?.as_slice() {
            b"" | b"." => {}
            b".." => return Err(Status::FORBIDDEN),
            name if name.contains(&b'/') => return Err(Status::FORBIDDEN),
            name if name.contains(&0) => return Err(Status::BAD_REQUEST),
            name => file.push(OsString::from_vec(name.to_vec())),
        }
    }
    Ok(file)
}

/// Decodes `%41` to `A`.
fn decode(part: &str) -> Result<Vec<u8>, Status> {
    let mut bytes = part.bytes();
    let mut decoded = Vec::with_capacity(part.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let (high, low) = high.zip(low).ok_or(Status::BAD_REQUEST)?;
                (high << 4 | low) as u8
            }
            byte => byte,
        });
    }
    Ok(decoded)
}
