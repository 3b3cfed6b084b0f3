//! The SHA-256 of one file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::done::Done;
use crate::threads::Threads;

pub(crate) type Digest = [u8; 32];

const CHUNK: usize = 128 * 1024;

/// Hashes a file, chunk by chunk; `None` if `done` was closed before the end.
///
/// Only the reading is announced as blocking. The hashing is not: it keeps a processor busy, and
/// of workers there are as many as of processors.
pub(crate) fn digest_file(
    path: &Path,
    threads: Threads,
    done: &Done,
) -> io::Result<Option<Digest>> {
    let mut hasher = Sha256::new();
    let mut chunk = Vec::new();
    // Opening and the first chunk in one go: most files are small, and done with that.
    let mut source = threads.blocking(|| {
        let mut source = Source::open(path)?;
        source.fill(&mut chunk).map(|()| source)
    })?;
    loop {
        hasher.update(&chunk);
        if chunk.len() < CHUNK {
            return Ok(Some(hasher.finalize().into()));
        }
        if done.is_closed() {
            return Ok(None);
        }
        threads.blocking(|| source.fill(&mut chunk))?;
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
