//! The bytes that have arrived and are not yet used.

use std::io::{self, Read};

use gthread::net::TcpStream;

/// The size of a buffer at first. Enough for most requests, and small: most connections of a large
/// server are idle.
const FIRST_SIZE: usize = 1 << 10;

/// The buffer of a connection. It grows up to a limit.
pub(crate) struct Input {
    buffer: Vec<u8>,
    /// The bytes in use: `buffer[start..end]`.
    start: usize,
    end: usize,
    limit: usize,
}

impl Input {
    pub(crate) fn new(limit: usize) -> Self {
        Self { buffer: vec![0; FIRST_SIZE.min(limit)], start: 0, end: 0, limit }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets the first `n` bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Makes room for more bytes. Returns `false` if the buffer is full, and may not grow.
    pub(crate) fn make_room(&mut self) -> bool {
        if self.end < self.buffer.len() {
            return true;
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        } else {
            let size = (2 * self.buffer.len()).min(self.limit);
            self.buffer.resize(size, 0);
        }
        self.end < self.buffer.len()
    }

    /// Reads once. There is room.
    pub(crate) fn read_from(&mut self, mut stream: &TcpStream) -> io::Result<usize> {
        let read = stream.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read)
    }

    /// Returns the `n` bytes that arrived last.
    pub(crate) fn latest(&self, n: usize) -> &[u8] {
        &self.buffer[self.end - n..self.end]
    }
}
