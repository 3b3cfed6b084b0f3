//! The SHA-256 of one file.

use std::io::{self, Read};
use std::path::Path;

use gthread::fs::File;
use sha2::{Digest as _, Sha256};

use crate::done::Done;

pub(crate) type Digest = [u8; 32];

const CHUNK: usize = 128 * 1024;

/// Hashes a file, chunk by chunk; `None` if `done` was closed before the end.
///
/// `gthread::fs` serves both kinds of threads. It keeps what waits for the disk off the workers. The
/// hashing stays on them: it keeps a processor busy, and of workers there are as many as of
/// processors.
pub(crate) fn digest_file(path: &Path, done: &Done) -> io::Result<Option<Digest>> {
    let mut hasher = Sha256::new();
    let mut chunk = Vec::new();
    let mut source = Source::open(path)?;
    loop {
        source.fill(&mut chunk)?;
        hasher.update(&chunk);
        if chunk.len() < CHUNK {
            return Ok(Some(hasher.finalize().into()));
        }
        if done.is_closed() {
            return Ok(None);
        }
    }
}

/// A file being read from front to back.
struct Source {
    file: File,
    size_at_open: u64,
    bytes_read: u64,
}

impl Source {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size_at_open = file.metadata()?.len();
        Ok(Source { file, size_at_open, bytes_read: 0 })
    }

    /// Reads the next `CHUNK` bytes; fewer only at the end of the file.
    fn fill(&mut self, chunk: &mut Vec<u8>) -> io::Result<()> {
        let unread = self.size_at_open.saturating_sub(self.bytes_read);
        chunk.clear();
        // No larger than the file: thousands may be in flight, and most files are small.
        chunk.reserve_exact(CHUNK.min(usize::try_from(unread).unwrap_or(CHUNK)));
        (&self.file).take(CHUNK as u64).read_to_end(chunk)?;
        self.bytes_read += chunk.len() as u64;
        if chunk.len() < CHUNK && self.has_shrunk()? {
            return Err(io::Error::other("File shrank while it was read"));
        }
        Ok(())
    }

    /// Too few bytes alone prove nothing: files in /sys claim a page and hold a line.
    fn has_shrunk(&self) -> io::Result<bool> {
        Ok(self.bytes_read < self.size_at_open && self.file.metadata()?.len() < self.size_at_open)
    }
}
