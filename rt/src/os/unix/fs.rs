//! Files on Unix, like [`std::os::unix::fs`]: its traits, which [`gthread::fs`](crate::fs)'s types
//! implement, and its functions, off the worker.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::io::off_worker;

pub use std::os::unix::fs::{
    DirBuilderExt, DirEntryExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt,
};

/// Creates a symbolic link, like [`std::os::unix::fs::symlink`].
///
/// # Errors
///
/// Those of the system call, for example if `link` exists.
#[track_caller]
pub fn symlink<P: AsRef<Path>, Q: AsRef<Path>>(original: P, link: Q) -> io::Result<()> {
    off_worker(|| std::os::unix::fs::symlink(original, link))
}

/// Changes the owner and group of a path, like [`std::os::unix::fs::chown`]. `None` leaves one as it
/// is.
///
/// # Errors
///
/// Those of the system call, for example for lack of permission.
#[track_caller]
pub fn chown<P: AsRef<Path>>(dir: P, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    off_worker(|| std::os::unix::fs::chown(dir, uid, gid))
}

/// Changes the owner and group of an open file, like [`std::os::unix::fs::fchown`].
///
/// # Errors
///
/// See [`chown`].
#[track_caller]
pub fn fchown<F: AsFd>(fd: F, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    off_worker(|| std::os::unix::fs::fchown(fd, uid, gid))
}

/// Changes the owner and group of a path itself, even if it is a symbolic link, like
/// [`std::os::unix::fs::lchown`].
///
/// # Errors
///
/// See [`chown`].
#[track_caller]
pub fn lchown<P: AsRef<Path>>(dir: P, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    off_worker(|| std::os::unix::fs::lchown(dir, uid, gid))
}

/// Changes the root directory of the process, like [`std::os::unix::fs::chroot`].
///
/// # Errors
///
/// Those of the system call, for example for lack of permission.
#[track_caller]
pub fn chroot<P: AsRef<Path>>(dir: P) -> io::Result<()> {
    off_worker(|| std::os::unix::fs::chroot(dir))
}
