//! [`std::fs`] off the workers.
//!
//! The kernel has no way to wait for a file in the poller. So these operations block an OS thread,
//! and meanwhile another one takes the place of the worker, as with [`blocking`](crate::blocking):
//! green threads that wait for a disk do not hold up others. At most 512 operations of green threads
//! run at once (`GTHREAD_BLOCKING_IO`, in `docs/environment.md`); above that, a green thread parks
//! until it is its turn. On an OS thread the operations are plain calls of std.
//!
//! What is in memory is not worth another thread. A [`File`] first reads without waiting (`preadv2`
//! with `RWF_NOWAIT`), so a read that the page cache can answer is one system call, on the worker.
//! The read goes off the worker if the data are not all there, and at the end of the file. Some file
//! systems cannot read like that; a `File` remembers it. Writes always go off the worker.
//!
//! A `File` need not be a regular file. On a pipe, a socket or a terminal, a green thread waits in the
//! poller, and needs no OS thread. But *opening* a FIFO waits for its other end off the worker.
//!
//! Types that do not block are std's own, like [`Metadata`].
//!
//! # Examples
//!
//! ```
//! use gthread::fs;
//! use std::io::Write;
//!
//! let path = std::env::temp_dir().join(format!("gthread-doc-fs-{}", std::process::id()));
//! gthread::run(|| {
//!     let mut file = fs::File::create(&path)?;
//!     writeln!(file, "green")?;
//!     assert_eq!(fs::read_to_string(&path)?, "green\n");
//!     fs::remove_file(&path)
//! })?;
//! # std::io::Result::Ok(())
//! ```

mod dir;
mod file;

use std::io;
use std::path::{Path, PathBuf};

use crate::io::off_worker;

pub use std::fs::{FileTimes, FileType, Metadata, Permissions};

pub use dir::{DirBuilder, DirEntry, ReadDir, read_dir};
pub use file::{File, OpenOptions};

/// Reads a whole file, like [`std::fs::read`].
///
/// # Errors
///
/// Those of [`File::open`] and of a read.
#[track_caller]
pub fn read<P: AsRef<Path>>(path: P) -> io::Result<Vec<u8>> {
    off_worker(|| std::fs::read(path))
}

/// Reads a whole file as text, like [`std::fs::read_to_string`].
///
/// # Errors
///
/// Those of [`File::open`] and of a read; `InvalidData` if the file is not UTF-8.
#[track_caller]
pub fn read_to_string<P: AsRef<Path>>(path: P) -> io::Result<String> {
    off_worker(|| std::fs::read_to_string(path))
}

/// Writes a whole file, like [`std::fs::write`]: creates it, or replaces its contents.
///
/// # Errors
///
/// Those of [`File::create`] and of a write.
#[track_caller]
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    off_worker(|| std::fs::write(path, contents))
}

/// Removes a file, like [`std::fs::remove_file`].
///
/// # Errors
///
/// Those of the system call, for example for a directory.
#[track_caller]
pub fn remove_file<P: AsRef<Path>>(path: P) -> io::Result<()> {
    off_worker(|| std::fs::remove_file(path))
}

/// Returns what the file system knows of a path, following symbolic links, like
/// [`std::fs::metadata`].
///
/// # Errors
///
/// Those of the system call, for example if there is nothing at `path`.
#[track_caller]
pub fn metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    off_worker(|| std::fs::metadata(path))
}

/// Returns what the file system knows of a path itself, even if it is a symbolic link, like
/// [`std::fs::symlink_metadata`].
///
/// # Errors
///
/// Those of the system call, for example if there is nothing at `path`.
#[track_caller]
pub fn symlink_metadata<P: AsRef<Path>>(path: P) -> io::Result<Metadata> {
    off_worker(|| std::fs::symlink_metadata(path))
}

/// Renames a file or directory, like [`std::fs::rename`]: replaces what is at `to`.
///
/// # Errors
///
/// Those of the system call, for example if the paths are on different file systems.
#[track_caller]
pub fn rename<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<()> {
    off_worker(|| std::fs::rename(from, to))
}

/// Copies a file with its permissions, like [`std::fs::copy`], and returns the number of bytes.
///
/// # Errors
///
/// Those of the system calls, for example if `from` is no file.
#[track_caller]
pub fn copy<P: AsRef<Path>, Q: AsRef<Path>>(from: P, to: Q) -> io::Result<u64> {
    off_worker(|| std::fs::copy(from, to))
}

/// Creates another name for a file, like [`std::fs::hard_link`].
///
/// # Errors
///
/// Those of the system call, for example if `original` does not exist.
#[track_caller]
pub fn hard_link<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    off_worker(|| std::fs::hard_link(original, link))
}

/// Creates a symbolic link, like [`std::fs::soft_link`].
///
/// # Errors
///
/// Those of the system call, for example if `link` exists.
#[deprecated(note = "replaced with gthread::os::unix::fs::symlink, as in std")]
#[track_caller]
pub fn soft_link<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    off_worker(|| std::os::unix::fs::symlink(original, link))
}

/// Returns the target of a symbolic link, like [`std::fs::read_link`].
///
/// # Errors
///
/// Those of the system call, for example if `path` is no symbolic link.
#[track_caller]
pub fn read_link<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    off_worker(|| std::fs::read_link(path))
}

/// Returns the absolute path without symbolic links, like [`std::fs::canonicalize`].
///
/// # Errors
///
/// Those of the system calls, for example if there is nothing at `path`.
#[track_caller]
pub fn canonicalize<P: AsRef<Path>>(path: P) -> io::Result<PathBuf> {
    off_worker(|| std::fs::canonicalize(path))
}

/// Creates a directory, like [`std::fs::create_dir`].
///
/// # Errors
///
/// Those of the system call, for example if there is something at `path`.
#[track_caller]
pub fn create_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    off_worker(|| std::fs::create_dir(path))
}

/// Creates a directory and the missing ones above it, like [`std::fs::create_dir_all`].
///
/// # Errors
///
/// Those of [`create_dir`], except that the directory may exist.
#[track_caller]
pub fn create_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    off_worker(|| std::fs::create_dir_all(path))
}

/// Removes an empty directory, like [`std::fs::remove_dir`].
///
/// # Errors
///
/// Those of the system call, for example if the directory is not empty.
#[track_caller]
pub fn remove_dir<P: AsRef<Path>>(path: P) -> io::Result<()> {
    off_worker(|| std::fs::remove_dir(path))
}

/// Removes a directory and all that is in it, like [`std::fs::remove_dir_all`]. Does not follow
/// symbolic links.
///
/// # Errors
///
/// Those of the system calls.
#[track_caller]
pub fn remove_dir_all<P: AsRef<Path>>(path: P) -> io::Result<()> {
    off_worker(|| std::fs::remove_dir_all(path))
}

/// Changes the permissions of a path, like [`std::fs::set_permissions`].
///
/// # Errors
///
/// Those of the system call, for example for another user's file.
#[track_caller]
pub fn set_permissions<P: AsRef<Path>>(path: P, perm: Permissions) -> io::Result<()> {
    off_worker(|| std::fs::set_permissions(path, perm))
}

/// Returns `Ok(true)` if there is something at `path`, following symbolic links, like
/// [`std::fs::exists`].
///
/// # Errors
///
/// If that cannot be found out, for example for lack of permission.
#[track_caller]
pub fn exists<P: AsRef<Path>>(path: P) -> io::Result<bool> {
    off_worker(|| std::fs::exists(path))
}
