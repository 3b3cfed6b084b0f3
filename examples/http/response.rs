//! Statuses, and the heads of responses.

use std::io::Write;

/// A status code and what it is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u16, pub(crate) &'static str);

impl Status {
    pub(crate) const OK: Self = Self(200, "OK");
    pub(crate) const PARTIAL_CONTENT: Self = Self(206, "Partial Content");
    pub(crate) const MOVED_PERMANENTLY: Self = Self(301, "Moved Permanently");
    pub(crate) const NOT_MODIFIED: Self = Self(304, "Not Modified");
    pub(crate) const BAD_REQUEST: Self = Self(400, "Bad Request");
    pub(crate) const FORBIDDEN: Self = Self(403, "Forbidden");
    pub(crate) const NOT_FOUND: Self = Self(404, "Not Found");
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self(405, "Method Not Allowed");
    pub(crate) const REQUEST_TIMEOUT: Self = Self(408, "Request Timeout");
    pub(crate) const CONTENT_TOO_LARGE: Self = Self(413, "Content Too Large");
    pub(crate) const URI_TOO_LONG: Self = Self(414, "URI Too Long");
    pub(crate) const RANGE_NOT_SATISFIABLE: Self = Self(416, "Range Not Satisfiable");
    pub(crate) const EXPECTATION_FAILED: Self = Self(417, "Expectation Failed");
    pub(crate) const FIELDS_TOO_LARGE: Self = Self(431, "Request Header Fields Too Large");
    pub(crate) const INTERNAL_SERVER_ERROR: Self = Self(500, "Internal Server Error");
    pub(crate) const NOT_IMPLEMENTED: Self = Self(501, "Not Implemented");
    pub(crate) const SERVICE_UNAVAILABLE: Self = Self(503, "Service Unavailable");
    pub(crate) const VERSION_NOT_SUPPORTED: Self = Self(505, "HTTP Version Not Supported");
}

/// What becomes of the connection after a response, as far as the client must be told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// It stays open, which is HTTP/1.1's default.
    Keep,
    /// It stays open, as an HTTP/1.0 client has asked for.
    KeepOld,
    Close,
}

/// The head of a response.
pub(crate) struct Head<'a> {
    pub(crate) status: Status,
    pub(crate) date: &'a [u8],
    pub(crate) persistence: Persistence,
    /// The content's type and length, if there is content, or would be for GET.
    pub(crate) content: Option<(&'a str, u64)>,
}

impl Head<'_> {
    /// Appends the head to `out`, except its last line, which is empty: more fields may follow.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        if self.status == Status::OK {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\nDate: ");
        } else {
            let Status(code, name) = self.status;
            // Writing to a vector does not fail, here and below.
            let _ = write!(out, "HTTP/1.1 {code} {name}\r\nDate: ");
        }
        out.extend_from_slice(self.date);
        if let Some((kind, length)) = self.content {
            out.extend_from_slice(b"\r\nContent-Type: ");
            out.extend_from_slice(kind.as_bytes());
            let _ = write!(out, "\r\nContent-Length: {length}");
        }
        out.extend_from_slice(match self.persistence {
            Persistence::Keep => b"\r\n",
            Persistence::KeepOld => b"\r\nConnection: keep-alive\r\n",
            Persistence::Close => b"\r\nConnection: close\r\n",
        });
    }
}
