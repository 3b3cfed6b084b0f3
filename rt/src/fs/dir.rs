//! Directories.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};

use crate::fs::{FileType, Metadata};
use crate::io::off_worker;

/// Returns the entries of a directory, like [`std::fs::read_dir`].
///
/// # Errors
///
/// Those of the system call, for example if `path` is no directory.
///
/// # Examples
///
/// ```
/// gthread::run(|| {
///     let names = gthread::fs::read_dir(".")?.map(|entry| Ok(entry?.file_name()));
///     assert!(names.collect::<std::io::Result<Vec<_>>>()?.contains(&"Cargo.toml".into()));
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn read_dir<P: AsRef<Path>>(path: P) -> io::Result<ReadDir> {
    let inner = off_worker(|| std::fs::read_dir(path))?;
    Ok(ReadDir { inner, batch: VecDeque::new(), is_over: false })
}

/// The entries of a directory, like [`std::fs::ReadDir`].
///
/// They are read off the worker, some of them at a time; so an entry may be read a little before it is
/// returned.
pub struct ReadDir {
    inner: std::fs::ReadDir,
    batch: VecDeque<io::Result<DirEntry>>,
    is_over: bool,
}

impl ReadDir {
    /// The most entries that are read at a time.
    const BATCH: usize = 64;

    fn fill(&mut self) {
        while self.batch.len() < Self::BATCH {
            let Some(entry) = self.inner.next() else {
                self.is_over = true;
                return;
            };
            let is_error = entry.is_err();
            self.batch.push_back(entry.map(DirEntry::new));
            if is_error {
                // The caller may stop here.
                return;
            }
        }
    }
}

// Errors that were read ahead are only handed out.
impl UnwindSafe for ReadDir {}
impl RefUnwindSafe for ReadDir {}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        if self.batch.is_empty() && !self.is_over {
            off_worker(|| self.fill());
        }
        self.batch.pop_front()
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// An entry of a directory, like [`std::fs::DirEntry`].
pub struct DirEntry {
    inner: std::fs::DirEntry,
    /// Read together with the entry, where that went well.
    kind: Option<FileType>,
}

impl DirEntry {
    fn new(inner: std::fs::DirEntry) -> Self {
        let kind = inner.file_type().ok();
        Self { inner, kind }
    }

    /// Returns the path: the directory's as it was given to [`read_dir`], and the name.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.inner.path()
    }

    /// Returns what the file system knows of the entry, which it looks up now. Does not follow
    /// symbolic links.
    ///
    /// # Errors
    ///
    /// Those of the system call, for example if the entry is gone.
    #[track_caller]
    pub fn metadata(&self) -> io::Result<Metadata> {
        off_worker(|| self.inner.metadata())
    }

    /// Returns the type of the entry, as it was when the entry was read. Does not follow symbolic
    /// links. Does not block, as a rule.
    ///
    /// # Errors
    ///
    /// Those of the system call, where one is needed.
    #[track_caller]
    pub fn file_type(&self) -> io::Result<FileType> {
        match self.kind {
            Some(kind) => Ok(kind),
            None => off_worker(|| self.inner.file_type()),
        }
    }

    /// Returns the name, without the directory.
    #[must_use]
    pub fn file_name(&self) -> OsString {
        self.inner.file_name()
    }
}

impl DirEntryExt for DirEntry {
    fn ino(&self) -> u64 {
        self.inner.ino()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// How a directory is created, like [`std::fs::DirBuilder`].
#[derive(Debug)]
pub struct DirBuilder(std::fs::DirBuilder);

impl DirBuilder {
    /// Creates options for one directory with the usual permissions.
    #[expect(clippy::new_without_default, reason = "as in std")]
    #[must_use]
    pub fn new() -> Self {
        Self(std::fs::DirBuilder::new())
    }

    /// Sets whether missing directories above are created too, and an existing one is no error.
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.0.recursive(recursive);
        self
    }

    /// Creates a directory off the worker.
    ///
    /// # Errors
    ///
    /// Those of [`create_dir`](crate::fs::create_dir).
    #[track_caller]
    pub fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        off_worker(|| self.0.create(path))
    }
}

impl DirBuilderExt for DirBuilder {
    fn mode(&mut self, mode: u32) -> &mut Self {
        self.0.mode(mode);
        self
    }
}
