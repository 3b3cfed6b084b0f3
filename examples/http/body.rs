//! The bodies of requests.

use std::io::Read;
use std::time::Instant;

use gthread::net::TcpStream;

use crate::connection::{Connection, End, read_until};
use crate::request::Framing;
use crate::response::Status;

/// The longest line that says how long a chunk is.
const MAX_CHUNK_LINE: usize = 256;

/// How much room is made at once for a body, whatever length the client has promised.
const STEP: usize = 64 << 10;

impl Connection<'_> {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// If it is larger than the limit, malformed or incomplete, or takes too long.
    pub(crate) fn read_body(&mut self, framing: Framing, expected: bool) -> Result<Vec<u8>, End> {
        let limits = &self.server.config.limits;
        let deadline = Instant::now() + limits.body_time;
        let limit = limits.body;
        if matches!(framing, Framing::Length(length) if length > limit as u64) {
            return Err(End::Refused(Status::CONTENT_TOO_LARGE));
        }
        if expected && self.input.is_empty() {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.flush()?;
        let mut body = Vec::new();
        match framing {
            Framing::Nothing => {}
            Framing::Length(length) => self.read_exact(&mut body, length as usize, deadline)?,
            Framing::Chunked => self.read_chunks(&mut body, limit, deadline)?,
        }
        self.stream.set_read_deadline(None)?;
        Ok(body)
    }

    /// Appends the next `length` bytes to `body`.
    fn read_exact(&mut self, body: &mut Vec<u8>, length: usize, end: Instant) -> Result<(), End> {
        let here = length.min(self.input.bytes().len());
        body.extend_from_slice(&self.input.bytes()[..here]);
        self.input.consume(here);
        let mut rest = length - here;
        while rest > 0 {
            let before = body.len();
            body.resize(before + rest.min(STEP), 0);
            let room = &mut body[before..];
            let read = |mut stream: &TcpStream| stream.read(room);
            let read = read_until(self.server, self.stream, end, read)?;
            body.truncate(before + read);
            rest -= read;
        }
        Ok(())
    }

    /// Appends all chunks to `body`, and reads what follows the last one.
    fn read_chunks(&mut self, body: &mut Vec<u8>, limit: usize, end: Instant) -> Result<(), End> {
        loop {
            let size = self.chunk_size(end)?;
            if size == 0 {
                return self.skip_trailer(end);
            }
            if size > (limit - body.len()) as u64 {
                return Err(End::Refused(Status::CONTENT_TOO_LARGE));
            }
            self.read_exact(body, size as usize, end)?;
            while self.input.bytes().len() < 2 {
                self.read_more(end)?;
            }
            if !self.input.bytes().starts_with(b"\r\n") {
                return Err(End::Refused(Status::BAD_REQUEST));
            }
            self.input.consume(2);
        }
    }

    fn chunk_size(&mut self, end: Instant) -> Result<u64, End> {
        loop {
            match httparse::parse_chunk_size(self.input.bytes()) {
                Ok(httparse::Status::Complete((used, size))) => {
                    self.input.consume(used);
                    return Ok(size);
                }
                Ok(httparse::Status::Partial) if self.input.bytes().len() < MAX_CHUNK_LINE => {
                    self.read_more(end)?;
                }
                _ => return Err(End::Refused(Status::BAD_REQUEST)),
            }
        }
    }

    /// Skips header fields behind the last chunk, to the empty line.
    fn skip_trailer(&mut self, end: Instant) -> Result<(), End> {
        let mut rest = self.server.config.limits.head;
        loop {
            let Some(line) = self.input.bytes().iter().position(|&byte| byte == b'\n') else {
                self.read_more(end).map_err(|end| match end {
                    End::Refused(Status::CONTENT_TOO_LARGE) => {
                        End::Refused(Status::FIELDS_TOO_LARGE)
                    }
                    end => end,
                })?;
                continue;
            };
            let is_last = matches!(&self.input.bytes()[..line], b"" | b"\r");
            self.input.consume(line + 1);
            if is_last {
                return Ok(());
            }
            rest = rest.checked_sub(line).ok_or(End::Refused(Status::FIELDS_TOO_LARGE))?;
        }
    }
}
