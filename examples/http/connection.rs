//! One connection: its requests, one after the other, and their responses.
//!
//! The responses are gathered in `out`, which is sent before the connection waits for more
//! requests. So a client that sends many requests at once (pipelining) gets the responses at once,
//! and a request alone costs one read and one write. Nothing is allocated for the short responses.

use std::mem;
use std::time::{Duration, Instant};

use gthread::io::{self, ErrorKind, Read, Write};
use gthread::net::{IpAddr, Shutdown, TcpStream};
use gthread::os::unix::fs::FileExt;

use crate::date::{self, Clock};
use crate::files::{self, Found};
use crate::input::Input;
use crate::log::Entry;
use crate::request::{self, FileRequest, Framing, Request, Resource};
use crate::response::{Head, Persistence, Status};
use crate::server::Server;

/// How much output is gathered.
const FLUSH: usize = 16 << 10;

/// A file of at most this size is read, and sent together with the head. A larger one is sent by
/// the kernel.
const SMALL_FILE: u64 = 64 << 10;

/// How long, and for how many bytes, the server listens to a client that it has refused.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 << 10;

/// Why a connection ends.
pub(crate) enum End {
    /// There is nothing more to tell the client.
    Silent,
    /// The request cannot be understood, or not be served, so that neither can the next one.
    Refused(Status),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        End::Refused(status)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        End::Silent
    }
}

/// See the head of this file.
pub(crate) struct Connection<'a> {
    pub(crate) server: &'a Server,
    pub(crate) stream: &'a TcpStream,
    pub(crate) input: Input,
    pub(crate) out: Vec<u8>,
    peer: IpAddr,
    clock: Clock,
    /// The first line of the request, if there is an access log.
    line: Vec<u8>,
}

/// What a response needs to know of its request.
#[derive(Clone, Copy)]
struct Reply {
    is_head: bool,
    persistence: Persistence,
}

impl<'a> Connection<'a> {
    pub(crate) fn new(server: &'a Server, stream: &'a TcpStream, peer: IpAddr) -> Self {
        let input = Input::new(server.config.limits.head);
        Self { server, stream, input, out: Vec::new(), peer, clock: Clock::new(), line: Vec::new() }
    }

    /// Serves the connection until it ends.
    pub(crate) fn serve(mut self) {
        match self.serve_requests() {
            Ok(()) if self.input.is_empty() => {}
            // The client has sent more than it was to be answered.
            Ok(()) => linger(self.stream),
            Err(End::Silent) => {}
            Err(End::Refused(status)) => {
                if self.server.log.is_some() && self.line.is_empty() {
                    self.line = first_line(self.input.bytes()).to_vec();
                }
                let reply = Reply { is_head: false, persistence: Persistence::Close };
                self.refuse(reply, status, None);
                if self.flush().is_ok() {
                    linger(self.stream);
                }
            }
        }
    }

    fn serve_requests(&mut self) -> Result<(), End> {
        while let Some(request) = self.next_request()? {
            // A client that waits for a permission to send the body gets the answer instead.
            let skips_body =
                request.expects_continue && !matches!(request.resource, Resource::Echo);
            let body = match request.framing {
                Framing::Nothing => Vec::new(),
                _ if skips_body => Vec::new(),
                framing => self.read_body(framing, request.expects_continue)?,
            };
            let keeps = request.keeps_alive && !skips_body && !self.server.stop.has_begun();
            let persistence = match keeps {
                true if request.is_old => Persistence::KeepOld,
                true => Persistence::Keep,
                false => Persistence::Close,
            };
            let reply = Reply { is_head: request.is_head, persistence };
            self.respond(reply, request.resource, body)?;
            if !keeps {
                self.flush()?;
                return Ok(());
            }
            if self.out.len() >= FLUSH {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Takes the next request out of the input, and waits for it. Returns `None` if there will be
    /// none.
    fn next_request(&mut self) -> Result<Option<Request>, End> {
        let mut deadline = None;
        // A head cannot be complete before another line is.
        let mut has_line = true;
        loop {
            if has_line && !self.input.is_empty() {
                let serves_files = self.server.config.root.is_some();
                if let Some(request) = request::parse(self.input.bytes(), serves_files)? {
                    if self.server.log.is_some() {
                        self.line.clear();
                        self.line.extend_from_slice(first_line(self.input.bytes()));
                    }
                    self.input.consume(request.len);
                    if deadline.is_some() {
                        self.stream.set_read_deadline(None)?;
                    }
                    return Ok(Some(request));
                }
            }
            self.flush()?;
            let read = if self.input.is_empty() {
                if self.server.stop.has_begun() {
                    return Ok(None);
                }
                match self.input.read_from(self.stream) {
                    // The client has closed the connection, or has not used it for too long; or the
                    // server is to end, which has set a deadline.
                    Ok(0) | Err(_) => return Ok(None),
                    Ok(read) => read,
                }
            } else {
                let limit = self.server.config.limits.head_time;
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
                self.read_more(deadline).map_err(|end| match end {
                    End::Refused(Status::CONTENT_TOO_LARGE) if !has_newline(self.input.bytes()) => {
                        End::Refused(Status::URI_TOO_LONG)
                    }
                    End::Refused(Status::CONTENT_TOO_LARGE) => {
                        End::Refused(Status::FIELDS_TOO_LARGE)
                    }
                    end => end,
                })?
            };
            has_line = has_newline(self.input.latest(read));
        }
    }

    /// Reads more of a request that has begun.
    ///
    /// # Errors
    ///
    /// `CONTENT_TOO_LARGE` if the buffer is full; as [`read_until`](Self::read_until).
    pub(crate) fn read_more(&mut self, deadline: Instant) -> Result<usize, End> {
        if !self.input.make_room() {
            return Err(End::Refused(Status::CONTENT_TOO_LARGE));
        }
        let (server, input) = (self.server, &mut self.input);
        read_until(server, self.stream, deadline, |stream| input.read_from(stream))
    }

    /// Sends what was gathered.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mut stream = self.stream;
        stream.write_all(&self.out)?;
        if self.out.capacity() > 2 * FLUSH {
            self.out = Vec::new();
        }
        self.out.clear();
        Ok(())
    }

    fn respond(&mut self, reply: Reply, resource: Resource, body: Vec<u8>) -> Result<(), End> {
        match resource {
            Resource::Plaintext => self.answer(reply, Status::OK, "text/plain", b"Hello, World!"),
            Resource::Json => {
                let text = br#"{"message":"Hello, World!"}"#;
                self.answer(reply, Status::OK, "application/json", text);
            }
            Resource::Echo => {
                self.answer(reply, Status::OK, "application/octet-stream", &body);
            }
            Resource::File(request) => self.respond_file(reply, &request)?,
            Resource::WrongMethod(allowed) => {
                let allow = format!("Allow: {allowed}\r\n");
                self.refuse(reply, Status::METHOD_NOT_ALLOWED, Some(&allow));
            }
            Resource::Refused(status) => self.refuse(reply, status, None),
        }
        Ok(())
    }

    /// Appends a response.
    #[inline]
    fn answer(&mut self, reply: Reply, status: Status, kind: &str, content: &[u8]) {
        self.head(reply, status, Some((kind, content.len() as u64)));
        self.out.extend_from_slice(b"\r\n");
        if !reply.is_head {
            self.out.extend_from_slice(content);
        }
        self.note(status, if reply.is_head { 0 } else { content.len() as u64 });
    }

    /// Appends a response that says what is wrong.
    fn refuse(&mut self, reply: Reply, status: Status, field: Option<&str>) {
        let Status(code, name) = status;
        let text = format!("{code} {name}\n");
        self.head(reply, status, Some(("text/plain", text.len() as u64)));
        self.out.extend_from_slice(field.unwrap_or_default().as_bytes());
        self.out.extend_from_slice(b"\r\n");
        if !reply.is_head {
            self.out.extend_from_slice(text.as_bytes());
        }
        self.note(status, if reply.is_head { 0 } else { text.len() as u64 });
    }

    fn head(&mut self, reply: Reply, status: Status, content: Option<(&str, u64)>) {
        let date = self.clock.now();
        let head = Head { status, date, persistence: reply.persistence, content };
        head.write_to(&mut self.out);
    }

    fn respond_file(&mut self, reply: Reply, request: &FileRequest) -> Result<(), End> {
        let root = self.server.config.root.as_deref().unwrap_or("".as_ref());
        let opened = match files::open(root, request) {
            Ok(Found::File(opened)) => opened,
            Ok(Found::Directory) => {
                let location = format!("Location: {}/\r\n", request.encoded);
                self.refuse(reply, Status::MOVED_PERMANENTLY, Some(&location));
                return Ok(());
            }
            Err(status) => {
                self.refuse(reply, status, None);
                return Ok(());
            }
        };
        let modified = date::http_date(opened.modified);
        if request.if_modified_since.is_some_and(|since| opened.modified <= since) {
            self.head(reply, Status::NOT_MODIFIED, None);
            let _ = write!(self.out, "Last-Modified: {modified}\r\n\r\n");
            self.note(Status::NOT_MODIFIED, 0);
            return Ok(());
        }
        let size = opened.size;
        let is_same = request.if_range.is_none_or(|date| date == opened.modified);
        let (status, first, length) = match request.range.filter(|_| is_same) {
            None => (Status::OK, 0, size),
            Some(range) => match range.within(size) {
                Some((first, length)) => (Status::PARTIAL_CONTENT, first, length),
                None => {
                    let field = format!("Content-Range: bytes */{size}\r\n");
                    self.refuse(reply, Status::RANGE_NOT_SATISFIABLE, Some(&field));
                    return Ok(());
                }
            },
        };
        let before = self.out.len();
        self.head(reply, status, Some((opened.kind, length)));
        let _ = write!(self.out, "Last-Modified: {modified}\r\nAccept-Ranges: bytes\r\n");
        if status == Status::PARTIAL_CONTENT {
            let last = first + length - 1;
            let _ = write!(self.out, "Content-Range: bytes {first}-{last}/{size}\r\n");
        }
        self.out.extend_from_slice(b"\r\n");
        if reply.is_head {
            self.note(status, 0);
        } else if length <= SMALL_FILE {
            let content = self.out.len();
            self.out.resize(content + length as usize, 0);
            if opened.file.read_exact_at(&mut self.out[content..], first).is_err() {
                self.out.truncate(before);
                self.refuse(reply, Status::INTERNAL_SERVER_ERROR, None);
                return Ok(());
            }
            self.note(status, length);
        } else {
            self.flush()?;
            let sent = io::send_file(&opened.file, self.stream, first..first + length)?;
            self.note(status, sent);
            // The file has become shorter, and the client was told another length.
            if sent < length {
                return Err(End::Silent);
            }
        }
        Ok(())
    }

    /// Writes a response to the access log, if there is one.
    #[inline]
    fn note(&mut self, status: Status, bytes: u64) {
        if let Some(log) = &self.server.log {
            let line = mem::take(&mut self.line);
            log.note(Entry::new(self.peer, line, status, bytes));
        }
    }
}

/// Reads, and waits until `deadline`, or until the server must have ended.
///
/// # Errors
///
/// `REQUEST_TIMEOUT` if there was nothing to read; `BAD_REQUEST` if the client has closed its side.
pub(crate) fn read_until(
    server: &Server,
    stream: &TcpStream,
    deadline: Instant,
    mut read: impl FnMut(&TcpStream) -> io::Result<usize>,
) -> Result<usize, End> {
    loop {
        let until = server.stop.before_end(deadline);
        stream.set_read_deadline(Some(until))?;
        match read(stream) {
            Ok(0) => return Err(End::Refused(Status::BAD_REQUEST)),
            Ok(read) => return Ok(read),
            Err(error) if !matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                return Err(End::Silent);
            }
            // When the server begins to end, it ends the waits of all connections. A request that
            // has begun is finished all the same.
            Err(error)
                if error.kind() == ErrorKind::TimedOut
                    && Instant::now() < server.stop.before_end(deadline) => {}
            Err(_) => return Err(End::Refused(Status::REQUEST_TIMEOUT)),
        }
    }
}

/// Reads and forgets, for a while, what a client sends that was refused. If a socket is closed with
/// bytes unread, the kernel tells the client so at once, and the client may lose the response.
pub(crate) fn linger(mut stream: &TcpStream) {
    let ready = stream.shutdown(Shutdown::Write);
    let ready = ready.and_then(|()| stream.set_read_deadline(Some(Instant::now() + LINGER_TIME)));
    if ready.is_err() {
        return;
    }
    let mut buffer = [0; 1024];
    let mut rest = LINGER_BYTES;
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        rest = match rest.checked_sub(read) {
            Some(rest) => rest,
            None => return,
        };
    }
}

fn has_newline(bytes: &[u8]) -> bool {
    bytes.contains(&b'\n')
}

/// Returns the first line that is not empty.
fn first_line(bytes: &[u8]) -> &[u8] {
    const LONGEST: usize = 1024;
    let bytes = bytes.trim_ascii_start();
    let end = bytes.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(bytes.len());
    &bytes[..end.min(LONGEST)]
}
