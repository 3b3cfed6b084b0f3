//! One request: HTTP/1.1, and a connection for each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gthread::context::Context;
use gthread::io::{self, ErrorKind, Read, Write};
use gthread::net::{Dialer, TcpStream};

use crate::output::reason;
use crate::url::Url;

/// How many redirections are followed.
const MAX_REDIRECTIONS: usize = 5;

/// The largest head of a response, the number of its fields, and the longest line in front of a
/// chunk.
const MAX_HEAD: usize = 64 << 10;
const MAX_FIELDS: usize = 100;
const MAX_CHUNK_LINE: usize = 256;

/// How much is read at once.
const BUFFER: usize = 16 << 10;

/// A response, without its body.
pub(crate) struct Fetched {
    pub(crate) status: u16,
    pub(crate) bytes: u64,
}

impl Fetched {
    pub(crate) fn is_success(&self) -> bool {
        self.status < 400
    }
}

/// Fetches a URL, and follows redirections. The error is a line for the user.
///
/// # Errors
///
/// If it takes longer than `timeout` altogether, or `ctx` ends; if there is no connection; if the
/// response is malformed or incomplete.
pub(crate) fn fetch(ctx: &Context, url: &str, timeout: Duration) -> Result<Fetched, String> {
    let deadline = Instant::now() + timeout;
    let mut url = Url::parse(url)?;
    for _ in 0..=MAX_REDIRECTIONS {
        let response = fetch_one(ctx, &url, deadline).map_err(|error| {
            if ctx.err().is_some() {
                "cancelled".into()
            } else if error.kind() == ErrorKind::TimedOut && Instant::now() >= deadline {
                format!("timed out after {} s", timeout.as_secs_f64())
            } else {
                reason(&error)
            }
        })?;
        match response {
            Response::Final(fetched) => return Ok(fetched),
            Response::Elsewhere(reference) => {
                let next = url.join(&reference);
                url = next.map_err(|error| format!("redirected to {reference:?}: {error}"))?;
            }
        }
    }
    Err(format!("redirected more than {MAX_REDIRECTIONS} times"))
}

enum Response {
    Final(Fetched),
    /// It is a redirection to this reference.
    Elsewhere(String),
}

fn fetch_one(ctx: &Context, url: &Url, deadline: Instant) -> io::Result<Response> {
    let dialer = Dialer::new().deadline(deadline).context(ctx);
    let stream = Arc::new(dialer.connect((url.host.as_str(), url.port))?);
    stream.set_deadline(Some(deadline))?;
    let cancel = ctx.after_func({
        let stream = Arc::clone(&stream);
        // Wakes the thread that waits.
        move || drop(stream.set_deadline(Some(Instant::now())))
    });
    let response = exchange(&stream, url);
    cancel.stop();
    response
}

fn exchange(mut stream: &TcpStream, url: &Url) -> io::Result<Response> {
    let (target, host) = (&url.target, url.authority());
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: fetch-all\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut input = Input { stream, buffer: vec![0; BUFFER], start: 0, end: 0 };
    let head = loop {
        let head = input.head()?;
        // "Continue", and others that are not the answer yet.
        if !(100..200).contains(&head.status) {
            break head;
        }
    };
    if let (301 | 302 | 303 | 307 | 308, Some(reference)) = (head.status, head.location) {
        return Ok(Response::Elsewhere(reference));
    }
    let bytes = match head.body {
        Body::Nothing => 0,
        Body::Length(length) => input.skip(length).map(|()| length)?,
        Body::Chunked => input.skip_chunks()?,
        Body::ToTheEnd => input.skip_all()?,
    };
    Ok(Response::Final(Fetched { status: head.status, bytes }))
}

/// How long the body is.
enum Body {
    Nothing,
    Length(u64),
    Chunked,
    /// Until the server closes the connection.
    ToTheEnd,
}

struct Head {
    status: u16,
    body: Body,
    location: Option<String>,
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the response is malformed: {what}"))
}

impl Head {
    fn new(status: u16, headers: &[httparse::Header<'_>]) -> io::Result<Self> {
        let field = |name: &str| {
            let mut fields = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
            fields.next_back().map(|header| String::from_utf8_lossy(header.value))
        };
        let body = if matches!(status, 100..200 | 204 | 304) {
            Body::Nothing
        } else if let Some(coding) = field("Transfer-Encoding") {
            match coding.trim().eq_ignore_ascii_case("chunked") {
                true => Body::Chunked,
                false => return Err(malformed("its transfer coding is unknown")),
            }
        } else if let Some(length) = field("Content-Length") {
            Body::Length(length.trim().parse().map_err(|_| malformed("its length is no number"))?)
        } else {
            Body::ToTheEnd
        };
        let location = field("Location").map(|location| location.trim().to_owned());
        Ok(Self { status, body, location })
    }
}

/// What has arrived, and is not yet used.
struct Input<'a> {
    stream: &'a TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input<'_> {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads more, behind what is there.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if there is no more.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
        match self.stream.read(&mut self.buffer[self.end..])? {
            0 => {
                let text = "the response ends early";
                Err(io::Error::new(ErrorKind::UnexpectedEof, text))
            }
            read => {
                self.end += read;
                Ok(())
            }
        }
    }

    fn head(&mut self) -> io::Result<Head> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(self.bytes()) {
                Ok(httparse::Status::Complete(len)) => {
                    let head = Head::new(response.code.unwrap_or(0), response.headers)?;
                    self.start += len;
                    return Ok(head);
                }
                Ok(httparse::Status::Partial) if self.bytes().len() >= MAX_HEAD => {
                    return Err(malformed("its head is too long"));
                }
                Ok(httparse::Status::Partial) => self.fill()?,
                Err(error) => return Err(malformed(&error.to_string())),
            }
        }
    }

    /// Skips so many bytes.
    fn skip(&mut self, mut length: u64) -> io::Result<()> {
        loop {
            let here = length.min(self.bytes().len() as u64);
            self.start += here as usize;
            length -= here;
            if length == 0 {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Skips all chunks and what follows them, and returns how long the chunks were.
    fn skip_chunks(&mut self) -> io::Result<u64> {
        let mut total = 0_u64;
        loop {
            let size = match httparse::parse_chunk_size(self.bytes()) {
                Ok(httparse::Status::Complete((len, size))) => {
                    self.start += len;
                    size
                }
                Ok(httparse::Status::Partial) if self.bytes().len() < MAX_CHUNK_LINE => {
                    self.fill()?;
                    continue;
                }
                _ => return Err(malformed("it has no chunk where one should be")),
            };
            if size == 0 {
                // The connection is not used again, so what may follow does not matter.
                return Ok(total);
            }
            total = total.saturating_add(size);
            self.skip(size)?;
            while self.bytes().len() < 2 {
                self.fill()?;
            }
            if !self.bytes().starts_with(b"\r\n") {
                return Err(malformed("a chunk is longer than it says"));
            }
            self.start += 2;
        }
    }

    fn skip_all(&mut self) -> io::Result<u64> {
        let mut total = 0;
        loop {
            total += self.bytes().len() as u64;
            self.start = self.end;
            match self.fill() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(total),
                Err(error) => return Err(error),
            }
        }
    }
}
