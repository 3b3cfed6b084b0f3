//! The heads of requests: which are well-formed, and what they ask for.
//!
//! Where a request could be understood in two ways, it is refused: a proxy in front of the server
//! may have understood the other one.

use std::mem::MaybeUninit;
use std::path::PathBuf;

use crate::date;
use crate::files::ByteRange;
use crate::response::Status;
use crate::target;

/// How many header fields most requests have at most, and how many a request may have. Room for all
/// would cost each connection another page of its stack.
const USUAL_FIELDS: usize = 16;
const MAX_FIELDS: usize = 64;

/// A request without its body. It owns what it needs, so that the buffer can be used again.
pub(crate) struct Request {
    /// The length of the head.
    pub(crate) len: usize,
    pub(crate) is_head: bool,
    pub(crate) is_old: bool,
    pub(crate) keeps_alive: bool,
    pub(crate) expects_continue: bool,
    pub(crate) framing: Framing,
    pub(crate) resource: Resource,
}

/// How long the body is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Nothing,
    Length(u64),
    Chunked,
}

/// What a request asks for.
pub(crate) enum Resource {
    Plaintext,
    Json,
    Echo,
    File(FileRequest),
    /// The resource exists for these methods.
    WrongMethod(&'static str),
    Refused(Status),
}

/// A request for a file, and on what conditions.
pub(crate) struct FileRequest {
    /// Relative to the root.
    pub(crate) path: PathBuf,
    /// The path ends with a slash, and so must name a directory.
    pub(crate) has_slash: bool,
    pub(crate) range: Option<ByteRange>,
    /// The range counts if the file is of this date.
    pub(crate) if_range: Option<u64>,
    /// The file is not wanted if it is not newer than this date.
    pub(crate) if_modified_since: Option<u64>,
    /// The path as it was asked for, for a redirection.
    pub(crate) encoded: String,
}

/// The fields that matter, of which each may be there once.
#[derive(Default)]
struct Fields<'b> {
    hosts: usize,
    closes: bool,
    keeps_alive: bool,
    length: Option<&'b [u8]>,
    coding: Option<&'b [u8]>,
    expect: Option<&'b [u8]>,
    range: Option<&'b [u8]>,
    if_range: Option<&'b [u8]>,
    if_modified_since: Option<&'b [u8]>,
    if_none_match: Option<&'b [u8]>,
}

/// Parses the head of a request. Returns `None` if there is more to come.
///
/// # Errors
///
/// The status for a request after which the connection cannot be used any more.
pub(crate) fn parse(bytes: &[u8], serves_files: bool) -> Result<Option<Request>, Status> {
    match parse_fields::<USUAL_FIELDS>(bytes, serves_files) {
        Err(Status::FIELDS_TOO_LARGE) => parse_fields::<MAX_FIELDS>(bytes, serves_files),
        parsed => parsed,
    }
}

#[inline(never)]
fn parse_fields<const FIELDS: usize>(
    bytes: &[u8],
    serves_files: bool,
) -> Result<Option<Request>, Status> {
    // Not initialised: most requests have few of them.
    let mut headers = [const { MaybeUninit::uninit() }; FIELDS];
    let mut head = httparse::Request::new(&mut []);
    let len = match head.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Status::FIELDS_TOO_LARGE),
        // Also what is no version at all.
        Err(httparse::Error::Version) if has_version(bytes) => {
            return Err(Status::VERSION_NOT_SUPPORTED);
        }
        Err(_) => return Err(Status::BAD_REQUEST),
    };
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Err(Status::BAD_REQUEST);
    };
    let is_old = version == 0;
    let fields = Fields::of(head.headers)?;
    if fields.hosts > 1 || (fields.hosts == 0 && !is_old) {
        return Err(Status::BAD_REQUEST);
    }
    let framing = framing(&fields, is_old)?;
    let expects_continue = match fields.expect {
        // HTTP/1.0 does not know it.
        Some(_) if is_old => false,
        Some(expected) if expected.eq_ignore_ascii_case(b"100-continue") => {
            framing != Framing::Nothing
        }
        Some(_) => return Err(Status::EXPECTATION_FAILED),
        None => false,
    };
    Ok(Some(Request {
        len,
        is_head: method == "HEAD",
        is_old,
        keeps_alive: !fields.closes && (!is_old || fields.keeps_alive),
        expects_continue,
        framing,
        resource: find(method, target, &fields, serves_files),
    }))
}

fn has_version(bytes: &[u8]) -> bool {
    bytes.split(|&byte| byte == b' ').nth(2).is_some_and(|version| version.starts_with(b"HTTP/"))
}

impl<'b> Fields<'b> {
    fn of(headers: &[httparse::Header<'b>]) -> Result<Self, Status> {
        let mut fields = Self::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let once = |field: &mut Option<&'b [u8]>| match field.replace(header.value) {
                None => Ok(()),
                Some(_) => Err(Status::BAD_REQUEST),
            };
            match header.name.len() {
                4 if is("Host") => fields.hosts += 1,
                5 if is("Range") => fields.range = Some(header.value),
                6 if is("Expect") => once(&mut fields.expect)?,
                8 if is("If-Range") => fields.if_range = Some(header.value),
                10 if is("Connection") => {
                    for option in header.value.split(|&byte| byte == b',') {
                        let option = option.trim_ascii();
                        fields.closes |= option.eq_ignore_ascii_case(b"close");
                        fields.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                13 if is("If-None-Match") => fields.if_none_match = Some(header.value),
                14 if is("Content-Length") => once(&mut fields.length)?,
                17 if is("Transfer-Encoding") => once(&mut fields.coding)?,
                17 if is("If-Modified-Since") => fields.if_modified_since = Some(header.value),
                _ => {}
            }
        }
        Ok(fields)
    }
}

fn framing(fields: &Fields<'_>, is_old: bool) -> Result<Framing, Status> {
    match (fields.coding, fields.length) {
        (None, None) => Ok(Framing::Nothing),
        // Two lengths are two requests for those who believe the other one.
        (Some(_), Some(_)) => Err(Status::BAD_REQUEST),
        (Some(_), None) if is_old => Err(Status::BAD_REQUEST),
        (Some(coding), None) if coding.trim_ascii().eq_ignore_ascii_case(b"chunked") => {
            Ok(Framing::Chunked)
        }
        (Some(_), None) => Err(Status::NOT_IMPLEMENTED),
        (None, Some(length)) => match number(length.trim_ascii()).ok_or(Status::BAD_REQUEST)? {
            0 => Ok(Framing::Nothing),
            length => Ok(Framing::Length(length)),
        },
    }
}

/// Parses decimal digits and nothing else, not even a sign. A number that is too large is the
/// largest.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        Some(number.saturating_mul(10).saturating_add(digit.into()))
    })
}

fn find(method: &str, target: &str, fields: &Fields<'_>, serves_files: bool) -> Resource {
    let reads = matches!(method, "GET" | "HEAD");
    let known = ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"];
    if !reads && !known.contains(&method) {
        return Resource::Refused(Status::NOT_IMPLEMENTED);
    }
    let Some(path) = target::path_of(target) else {
        return Resource::Refused(Status::BAD_REQUEST);
    };
    match path {
        "/plaintext" if reads => Resource::Plaintext,
        "/json" if reads => Resource::Json,
        "/echo" if method == "POST" => Resource::Echo,
        "/echo" => Resource::WrongMethod("POST"),
        _ if !reads => Resource::WrongMethod("GET, HEAD"),
        _ if !serves_files => Resource::Refused(Status::NOT_FOUND),
        _ => match target::file_of(path) {
            Ok(file) => Resource::File(FileRequest::new(file, path, method, fields)),
            Err(status) => Resource::Refused(status),
        },
    }
}

impl FileRequest {
    fn new(file: PathBuf, path: &str, method: &str, fields: &Fields<'_>) -> Self {
        let range = fields.range.filter(|_| method == "GET").and_then(ByteRange::parse);
        let if_range = fields.if_range.map(date::parse);
        // Files have dates here, and no other validators. What is no date matches no file.
        let range = range.filter(|_| if_range != Some(None));
        let since = fields.if_modified_since.filter(|_| fields.if_none_match.is_none());
        Self {
            path: file,
            has_slash: path.ends_with('/'),
            range,
            if_range: if_range.flatten(),
            if_modified_since: since.and_then(date::parse),
            // With two slashes in front it would name another host.
            encoded: format!("/{}", path.trim_start_matches('/')),
        }
    }
}
