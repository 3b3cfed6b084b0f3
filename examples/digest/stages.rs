//! The pipeline: a walker, a thread per file, a collector.
//!
//! ```text
//!         paths              ┌─▶ file ─┐
//! walker ───────▶ dispatcher ┼─▶ file ─┤ events
//!    │                       └─▶ file ─┴────────▶ collector
//!    └───────────────────────────────────────────────▲
//! ```
//!
//! All channels are bounded, so a slow stage slows down those before it. Every stage ends when
//! its input ends or when nobody receives its output, and dropping its own ends of the channels
//! passes that on: down the pipeline when the work is done, up when the collector gives up. The
//! `done` channel tells the same to a stage that neither sends nor receives for a while.

use std::io;
use std::path::PathBuf;

use gthread::channel::{Receiver, Sender, bounded};
use walkdir::{DirEntry, WalkDir};

use crate::args::Job;
use crate::done::{self, Done, Stopped};
use crate::hash::{Digest, digest_file};
use crate::output::Progress;
use crate::threads::Threads;

/// How many paths, or events, may wait in a channel.
const QUEUE: usize = 1024;

/// How many directory entries are read between two looks at `done`.
const ENTRIES_AT_ONCE: usize = 64;

/// What the collector is told.
enum Event {
    /// There is one more file to be hashed.
    Found,
    /// A file is finished, for better or worse.
    Hashed(PathBuf, io::Result<Digest>),
    /// A directory, or some part of it, cannot be read.
    Unreadable(PathBuf, io::Error),
}

/// Digests everything below the job's path; complains on stderr about what cannot be read.
pub(crate) fn digest_tree(job: &Job, interrupt: &Done) -> Result<Tally, Stopped> {
    let Job { threads, in_flight, .. } = *job;
    let (closer, done) = done::channel();
    let (path_sender, paths) = bounded(QUEUE);
    let (event_sender, events) = bounded(QUEUE);

    let walker =
        Walker { root: job.path.clone(), paths: path_sender, events: event_sender.clone() };
    let walker_done = done.clone();
    threads.spawn(move || walker.walk(threads, &walker_done))?;
    threads.spawn(move || dispatch(&paths, threads, in_flight, &event_sender, &done))?;

    let tally = collect(&events, interrupt, &Progress::new(job.progress));
    // Whether finished or stopped: should anybody upstream still be busy, it is in vain.
    drop(closer);
    tally
}

/// The first stage: finds the files.
struct Walker {
    root: PathBuf,
    paths: Sender<PathBuf>,
    events: Sender<Event>,
}

impl Walker {
    fn walk(&self, threads: Threads, done: &Done) {
        let mut entries = WalkDir::new(&self.root).into_iter();
        while !done.is_closed() {
            // An entry may cost a system call or none, so they are announced by the batch.
            let batch: Vec<_> =
                threads.blocking(|| entries.by_ref().take(ENTRIES_AT_ONCE).collect());
            if batch.is_empty() {
                return;
            }
            for entry in batch {
                if self.pass_on(entry).is_none() {
                    return;
                }
            }
        }
    }

    /// Sends an entry down the pipeline; `None` if nobody receives there any more.
    fn pass_on(&self, entry: walkdir::Result<DirEntry>) -> Option<()> {
        match entry {
            Ok(entry) if self.is_wanted(&entry) => {
                self.events.send(Event::Found).ok()?;
                self.paths.send(entry.into_path()).ok()
            }
            Ok(_) => Some(()),
            Err(error) => {
                let path = error.path().unwrap_or(&self.root).to_owned();
                let error = error.into_io_error().unwrap_or_else(|| io::Error::other("Link loop"));
                self.events.send(Event::Unreadable(path, error)).ok()
            }
        }
    }

    /// Regular files are wanted, symbolic links are not, except the one that the user named.
    fn is_wanted(&self, entry: &DirEntry) -> bool {
        entry.file_type().is_file() || entry.depth() == 0 && self.root.is_file()
    }
}

/// The second stage: starts a thread for each path, at most `in_flight` at a time.
fn dispatch(
    paths: &Receiver<PathBuf>,
    threads: Threads,
    in_flight: usize,
    events: &Sender<Event>,
    done: &Done,
) {
    // Go's semaphore: a channel with room for as many tokens as there may be files in flight.
    let (permits, returned) = bounded(in_flight);
    for path in paths {
        permits.send(()).expect("`returned` is alive");
        let permit = Permit(returned.clone());
        if done.is_closed() {
            return;
        }
        let file = (path.clone(), events.clone(), done.clone());
        let started = threads.spawn(move || {
            let (path, events, done) = file;
            digest_one(path, &events, &done);
            drop(permit);
        });
        if let Err(error) = started {
            // If nobody receives this, the next path is not worth a thread either.
            if events.send(Event::Hashed(path, Err(error))).is_err() {
                return;
            }
        }
    }
}

/// One token of the semaphore, handed back on drop and so on panic too.
struct Permit(Receiver<()>);

impl Drop for Permit {
    fn drop(&mut self) {
        // There is a token for each permit, so this neither waits nor fails.
        let _ = self.0.try_recv();
    }
}

/// The third stage, a thread for each file.
fn digest_one(path: PathBuf, events: &Sender<Event>, done: &Done) {
    if let Some(result) = digest_file(&path, done).transpose() {
        // If the collector is gone, nobody wants the result.
        let _ = events.send(Event::Hashed(path, result));
    }
}

/// What the collector knows in the end.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) lines: Vec<(PathBuf, Digest)>,
    files_found: usize,
    directories_unreadable: usize,
}

impl Tally {
    /// Whether everything below the path was read. A file whose thread panicked counts as missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.directories_unreadable == 0 && self.files_found == self.lines.len()
    }
}

/// The last stage: gathers the results until all senders of events are gone.
fn collect(events: &Receiver<Event>, interrupt: &Done, bar: &Progress) -> Result<Tally, Stopped> {
    let mut tally = Tally::default();
    while let Some(event) = done::receive(events, interrupt)? {
        match event {
            Event::Found => {
                tally.files_found += 1;
                bar.one_more_found();
            }
            Event::Hashed(path, result) => {
                bar.one_more_finished();
                match result {
                    Ok(digest) => tally.lines.push((path, digest)),
                    Err(error) => bar.complain(&path, &error),
                }
            }
            Event::Unreadable(path, error) => {
                tally.directories_unreadable += 1;
                bar.complain(&path, &error);
            }
        }
    }
    Ok(tally)
}
