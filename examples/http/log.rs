//! The access log, in the common log format. One thread writes it; the others send it entries.
//!
//! A log that is written too slowly must not slow down the server. So entries for which there is no
//! room are lost, and the log says how many.

use std::mem;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gthread::channel::{Receiver, Sender, bounded};
use gthread::fs::File;
use gthread::io::{self, Write};
use gthread::{JoinHandle, go};

use crate::date;
use crate::output::{complain, reason};
use crate::response::Status;

/// How many entries may wait to be written.
const ROOM: usize = 16 << 10;

/// How much is written at once.
const BATCH: usize = 64 << 10;

/// How long the end of the program waits for the last entries to be written.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// One answered request.
pub(crate) struct Entry {
    peer: IpAddr,
    second: u64,
    line: Vec<u8>,
    status: u16,
    bytes: u64,
}

impl Entry {
    pub(crate) fn new(peer: IpAddr, line: Vec<u8>, status: Status, bytes: u64) -> Self {
        Self { peer, second: date::second_now(), line, status: status.0, bytes }
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        let (peer, status, bytes) = (self.peer, self.status, self.bytes);
        let _ = write!(out, "{peer} - - [{}] \"", date::log_date(self.second));
        // Whatever a client sends, it is one line, and ends at its quotation mark.
        for &byte in &self.line {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b' '..=b'~' => out.push(byte),
                _ => {
                    let _ = write!(out, "\\x{byte:02x}");
                }
            }
        }
        let _ = writeln!(out, "\" {status} {bytes}");
    }
}

/// The end of the log that takes entries.
pub(crate) struct Log {
    entries: Sender<Entry>,
    lost: Arc<AtomicU64>,
}

/// The thread that writes the log.
pub(crate) struct Writer(JoinHandle<()>);

impl Log {
    /// Opens a log, at the end of the file if there is one. `-` is stdout.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Writer)> {
        let out: Box<dyn Write + Send> = match path.to_str() {
            Some("-") => Box::new(io::stdout()),
            _ => Box::new(File::options().append(true).create(true).open(path)?),
        };
        let (entries, received) = bounded(ROOM);
        let lost = Arc::new(AtomicU64::new(0));
        let thread = go!({
            let lost = Arc::clone(&lost);
            move || write_all(&received, out, &lost)
        });
        Ok((Self { entries, lost }, Writer(thread)))
    }

    pub(crate) fn note(&self, entry: Entry) {
        if self.entries.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes no more entries.
    pub(crate) fn close(&self) {
        self.entries.close();
    }
}

impl Writer {
    /// Waits until the entries of a closed log are written.
    pub(crate) fn finish(self) {
        if self.0.join_timeout(LAST_WRITE).is_err() {
            complain("the access log takes too long to write");
        }
    }
}

fn write_all(entries: &Receiver<Entry>, mut out: Box<dyn Write + Send>, lost: &AtomicU64) {
    let mut lines = Vec::new();
    let mut is_broken = false;
    for entry in entries {
        entry.write_to(&mut lines);
        if lines.len() < BATCH && !entries.is_empty() {
            continue;
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => complain(&format!("the access log is too slow: {lost} entries are lost")),
        }
        let lines = mem::take(&mut lines);
        // After an error it still takes entries, so that the server goes on.
        if !is_broken {
            if let Err(error) = out.write_all(&lines).and_then(|()| out.flush()) {
                is_broken = true;
                complain(&format!("cannot write the access log: {}", reason(&error)));
            }
        }
    }
}
