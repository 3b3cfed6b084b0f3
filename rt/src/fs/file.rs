//! `File`, and `OpenOptions`.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, IsTerminal as _, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::SystemTime;

use crate::fs::{FileTimes, Metadata, Permissions};
use crate::io::descriptor::{Descriptor, Place};
use crate::io::off_worker;

/// An open file, like [`std::fs::File`].
///
/// Data in the page cache are read at once, and everything else is done off the worker; see the
/// [module](crate::fs). What is no regular file, but a pipe, a terminal or a socket, is waited for in
/// the poller. On an OS thread each operation is a plain call that blocks the thread.
///
/// [`FileExt`](crate::os::unix::fs::FileExt) has `read_at` and `write_at`. As in std, the file is
/// closed when this is dropped, errors are ignored then, and [`sync_all`](Self::sync_all) finds
/// them. Closing a file on a network file system may block the worker for a moment.
///
/// std implements `Read`, `Write` and `Seek` for `Arc<File>` too, which a crate other than std
/// cannot: use `&*file`.
///
/// # Examples
///
/// ```
/// use gthread::fs::File;
/// use std::io::{BufRead, BufReader};
///
/// gthread::run(|| {
///     let file = File::open("Cargo.toml")?;
///     let first = BufReader::new(file).lines().next();
///     assert_eq!(first.transpose()?.as_deref(), Some("[package]"));
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct File {
    io: Descriptor<std::fs::File>,
}

impl File {
    fn std(&self) -> &std::fs::File {
        self.io.inner()
    }

    /// Opens a file for reading, like [`std::fs::File::open`].
    ///
    /// # Errors
    ///
    /// Those of the system call, for example if there is no such file.
    #[track_caller]
    pub fn open<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing, like [`std::fs::File::create`]: creates it, or truncates the one that
    /// is there.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    #[track_caller]
    pub fn create<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Creates a file for reading and writing, like [`std::fs::File::create_new`].
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is something at `path`; those of the system call.
    #[track_caller]
    pub fn create_new<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// Returns options that are all off, to open a file with.
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Waits until all data and metadata have reached the disk, like [`std::fs::File::sync_all`].
    ///
    /// # Errors
    ///
    /// Those of the system call, also for earlier writes.
    #[track_caller]
    pub fn sync_all(&self) -> io::Result<()> {
        off_worker(|| self.std().sync_all())
    }

    /// Waits until all data have reached the disk, like [`std::fs::File::sync_data`].
    ///
    /// # Errors
    ///
    /// Those of the system call, also for earlier writes.
    #[track_caller]
    pub fn sync_data(&self) -> io::Result<()> {
        off_worker(|| self.std().sync_data())
    }

    /// Truncates or extends the file, like [`std::fs::File::set_len`].
    ///
    /// # Errors
    ///
    /// Those of the system call, for example if the file is not open for writing.
    #[track_caller]
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        off_worker(|| self.std().set_len(size))
    }

    /// Returns what the file system knows of the file.
    ///
    /// # Errors
    ///
    /// Those of the system call.
    #[track_caller]
    pub fn metadata(&self) -> io::Result<Metadata> {
        off_worker(|| self.std().metadata())
    }

    /// Returns another handle to the same open file, like [`std::fs::File::try_clone`]: both share the
    /// position.
    ///
    /// # Errors
    ///
    /// If the process has too many descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.std().try_clone().map(Self::from)
    }

    /// Changes the permissions of the file.
    ///
    /// # Errors
    ///
    /// Those of the system call, for example for another user's file.
    #[track_caller]
    pub fn set_permissions(&self, perm: Permissions) -> io::Result<()> {
        off_worker(|| self.std().set_permissions(perm))
    }

    /// Changes the times of the file.
    ///
    /// # Errors
    ///
    /// Those of the system call, for example for another user's file.
    #[track_caller]
    pub fn set_times(&self, times: FileTimes) -> io::Result<()> {
        off_worker(|| self.std().set_times(times))
    }

    /// Changes the time at which the file was last modified.
    ///
    /// # Errors
    ///
    /// See [`set_times`](Self::set_times).
    #[track_caller]
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time))
    }

    /// Returns `true` if this is a terminal. std's trait [`IsTerminal`](std::io::IsTerminal) is closed
    /// to other crates, so this is a method.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.std().is_terminal()
    }
}

/// Reads in pieces, as `Read` does by default.
struct Pieces<'a>(&'a File);

impl Read for Pieces<'_> {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.io.read(Place::Current, &mut [IoSliceMut::new(buf)])
    }
}

impl Read for &File {
    #[inline]
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.read(Place::Current, &mut [IoSliceMut::new(buf)])
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.io.read(Place::Current, bufs)
    }

    #[track_caller]
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        if self.io.is_file() {
            off_worker(|| self.std().read_to_end(buf))
        } else {
            Pieces(self).read_to_end(buf)
        }
    }

    #[track_caller]
    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        if self.io.is_file() {
            off_worker(|| self.std().read_to_string(buf))
        } else {
            Pieces(self).read_to_string(buf)
        }
    }
}

impl Write for &File {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.io.write(Place::Current, &[IoSlice::new(buf)])
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io.write(Place::Current, bufs)
    }

    /// Does nothing: there is no buffer. See [`File::sync_all`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    /// Off the worker only from the end, for which a network file system may have to ask.
    #[track_caller]
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        match pos {
            SeekFrom::End(_) => off_worker(|| self.std().seek(pos)),
            _ => self.std().seek(pos),
        }
    }
}

impl Read for File {
    #[inline]
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }

    #[track_caller]
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(buf)
    }

    #[track_caller]
    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(buf)
    }
}

impl Write for File {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl Seek for File {
    #[track_caller]
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        (&*self).seek(pos)
    }
}

impl FileExt for File {
    #[track_caller]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.io.read(Place::At(offset), &mut [IoSliceMut::new(buf)])
    }

    #[track_caller]
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.io.write(Place::At(offset), &[IoSlice::new(buf)])
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std().fmt(f)
    }
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> Self {
        Self { io: Descriptor::of_user(file) }
    }
}

impl From<File> for std::fs::File {
    fn from(file: File) -> Self {
        file.io.into_inner()
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> Self {
        std::fs::File::from(fd).into()
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> Self {
        std::fs::File::from(file).into()
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        std::fs::File::from(file).into()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_raw_fd()
    }
}

impl IntoRawFd for File {
    fn into_raw_fd(self) -> RawFd {
        OwnedFd::from(self).into_raw_fd()
    }
}

impl FromRawFd for File {
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: by this function's contract, which is the same.
        unsafe { std::fs::File::from_raw_fd(fd) }.into()
    }
}

/// How a file is opened, like [`std::fs::OpenOptions`].
///
/// # Examples
///
/// ```
/// use gthread::fs::OpenOptions;
///
/// let null = OpenOptions::new().read(true).write(true).open("/dev/null");
/// assert!(null.is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions(std::fs::OpenOptions);

impl OpenOptions {
    /// Creates options that are all off.
    #[expect(clippy::new_without_default, reason = "as in std")]
    #[must_use]
    pub fn new() -> Self {
        Self(std::fs::OpenOptions::new())
    }

    /// Sets whether the file is opened for reading.
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.0.read(read);
        self
    }

    /// Sets whether the file is opened for writing. What it holds is not truncated by this.
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.0.write(write);
        self
    }

    /// Sets whether each write goes to the end of the file, wherever that is by then.
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.0.append(append);
        self
    }

    /// Sets whether the file is truncated. Needs [`write`](Self::write).
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.0.truncate(truncate);
        self
    }

    /// Sets whether the file is created if there is none. Needs [`write`](Self::write) or
    /// [`append`](Self::append).
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.0.create(create);
        self
    }

    /// Sets whether the file is created, and the call fails if there is one. `create` and `truncate`
    /// have no effect then.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.0.create_new(create_new);
        self
    }

    /// Opens a file off the worker, like [`std::fs::OpenOptions::open`].
    ///
    /// # Errors
    ///
    /// Those of the system call; `InvalidInput` for options that contradict each other.
    #[track_caller]
    pub fn open<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        off_worker(|| self.0.open(path)).map(File::from)
    }
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut Self {
        self.0.mode(mode);
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.0.custom_flags(flags);
        self
    }
}

impl From<std::fs::OpenOptions> for OpenOptions {
    fn from(options: std::fs::OpenOptions) -> Self {
        Self(options)
    }
}

impl From<OpenOptions> for std::fs::OpenOptions {
    fn from(options: OpenOptions) -> Self {
        options.0
    }
}
