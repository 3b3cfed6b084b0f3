//! Moving bytes from one descriptor to another in the kernel.
//!
//! `splice` needs a pipe at one end, so between two others there is one in the middle. It is empty
//! whenever it is filled: "would block" then means that there is nothing to read, and cannot mean that
//! the pipe is full. Where a pipe is an end, it may mean either, and the thread waits for both ends in
//! turn. In no case does it try again before `poll` has said that it may succeed.
//!
//! `sendfile` is asked for no more bytes than the file has. Otherwise the kernel waits for more to fill
//! the last segment with, for 200 ms (`MSG_MORE`).
//!
//! The disk is waited for off the worker.

use std::io::{self, ErrorKind};
use std::ops::{Bound, RangeBounds};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::time::Instant;

use rustix::fs::{FileType, fstat, sendfile};
use rustix::io::{Errno, pread, read, write};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with};

use crate::io::nonblocking::Nonblocking;
use crate::io::nowait::Nowait;
use crate::io::options::Interest;
use crate::io::ready::Foreign;
use crate::wait::park::{self, blocking};

/// What a new pipe holds, and a buffer where there is none.
const CHUNK: usize = 64 << 10;

/// The most that is sent of a file before other threads get their turn.
const TURN: u64 = 1 << 20;

/// Moves bytes from one descriptor to another in the kernel, without a copy in this process: until the
/// end of `from`, or until `limit` bytes were moved. Returns how many were.
///
/// For sockets, pipes and files. This is the fast way to pass on what comes from one connection to
/// another (`splice`). Where the kernel refuses, and for all other kinds of descriptors, the bytes are
/// read and written. Files are read and written from their current position on. [`io::copy`](fn@super::copy)
/// works with all readers and writers, and copies twice.
///
/// Parks the green thread while there is nothing to read or no room to write, a suspension point, or
/// blocks the OS thread. Time-outs and deadlines of sockets do not apply; to end it from another thread,
/// shut a socket down.
///
/// While it runs, *sockets have `O_NONBLOCK` set*, since the kernel would block otherwise. The types of
/// this crate do not mind. A library that uses the same socket meanwhile does.
///
/// # Errors
///
/// Those of a read from the one or a write to the other. Bytes that were read and could not be written
/// are lost.
///
/// # Examples
///
/// ```
/// use gthread::io::{self, Read, Write};
///
/// gthread::run(|| {
///     let (from, mut feed) = io::pipe()?;
///     let (mut drain, to) = io::pipe()?;
///     feed.write_all(b"moved, not copied")?;
///     assert_eq!(io::splice(&from, &to, Some(5))?, 5);
///     drop(feed);
///     assert_eq!(io::splice(&from, &to, None)?, 12);
///     drop(to);
///     let mut text = String::new();
///     drain.read_to_string(&mut text)?;
///     assert_eq!(text, "moved, not copied");
///     io::Result::Ok(())
/// })?;
/// # io::Result::Ok(())
/// ```
#[doc(alias = "copy_fd")]
#[track_caller]
pub fn splice(from: impl AsFd, to: impl AsFd, limit: Option<u64>) -> io::Result<u64> {
    let (from, to) = (End::new(from.as_fd(), None)?, End::new(to.as_fd(), None)?);
    let left = limit.unwrap_or(u64::MAX);
    Transfer { from, to, left, moved: 0, site: Location::caller() }.run()
}

/// Sends a range of a file to a socket in the kernel, without a copy in this process. Returns how many
/// bytes were sent: fewer than the range has if it goes beyond the end of the file.
///
/// `..` sends all of the file, as long as it is when this begins. The file's position is neither used
/// nor changed, so threads may send from one file at once. `to` may also be a pipe or another kind of
/// descriptor. Waits, and uses sockets, like [`splice`]; the disk is read off the worker.
///
/// # Errors
///
/// Those of a read at a position of the file, such as `NotSeekable`, and of a write.
///
/// # Examples
///
/// ```
/// use gthread::io;
/// use gthread::net::{TcpListener, TcpStream};
/// use std::fs::File;
/// use std::io::Read;
///
/// gthread::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let addr = listener.local_addr()?;
///     let server = gthread::go!(move || {
///         let (stream, _) = listener.accept()?;
///         io::send_file(File::open("Cargo.toml")?, &stream, ..9)
///     });
///     let mut text = String::new();
///     TcpStream::connect(addr)?.read_to_string(&mut text)?;
///     assert_eq!(text, "[package]");
///     assert_eq!(server.join().unwrap()?, 9);
///     io::Result::Ok(())
/// })?;
/// # io::Result::Ok(())
/// ```
#[doc(alias = "sendfile")]
#[track_caller]
pub fn send_file(file: impl AsFd, to: impl AsFd, range: impl RangeBounds<u64>) -> io::Result<u64> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let mut end = match range.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => u64::MAX,
    };
    // Devices and generated files have no size.
    let size = u64::try_from(fstat(file.as_fd())?.st_size).unwrap_or(0);
    if size > 0 {
        end = end.min(size);
    }
    let (from, to) = (End::new(file.as_fd(), Some(start))?, End::new(to.as_fd(), None)?);
    let left = end.saturating_sub(start);
    let transfer = Transfer { from, to, left, moved: 0, site: Location::caller() };
    match (transfer.from.kind, transfer.to.kind) {
        (Kind::File, Kind::Socket) => transfer.run_sendfile(),
        _ => transfer.run(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Socket,
    Pipe,
    /// A file, or a disk. It is always ready, and blocks.
    File,
    Other,
}

struct End<'fd> {
    fd: BorrowedFd<'fd>,
    kind: Kind,
    /// Where to read, if not at the file's own position.
    offset: Option<u64>,
    nowait: Nowait,
    ready: Foreign<'fd>,
    _nonblocking: Option<Nonblocking<'fd>>,
}

impl<'fd> End<'fd> {
    fn new(fd: BorrowedFd<'fd>, offset: Option<u64>) -> io::Result<Self> {
        let stat = fstat(fd)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => Kind::Socket,
            FileType::Fifo => Kind::Pipe,
            FileType::RegularFile | FileType::BlockDevice => Kind::File,
            _ => Kind::Other,
        };
        let nonblocking = match kind {
            Kind::Socket => Nonblocking::enter(fd, &stat)?,
            _ => None,
        };
        let (nowait, ready) = (Nowait::default(), Foreign::new(fd));
        Ok(Self { fd, kind, offset, nowait, ready, _nonblocking: nonblocking })
    }

    fn wait(&mut self, interest: Interest, site: &'static Location<'static>) -> io::Result<()> {
        self.ready.wait(interest, None::<Instant>, site)
    }

    /// Moves bytes to a descriptor, one of the two being a pipe.
    fn splice_to(&mut self, to: BorrowedFd<'_>, to_kind: Kind, len: usize) -> io::Result<usize> {
        let (fd, offset) = (self.fd, self.offset.as_mut());
        let is_slow = self.kind == Kind::File || to_kind == Kind::File;
        let flags = SpliceFlags::NONBLOCK;
        off_worker(is_slow, || rustix::pipe::splice(fd, offset, to, None, len, flags))
    }

    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match (self.kind, &mut self.offset) {
            (_, Some(offset)) => {
                let done = off_worker(true, || pread(self.fd, &mut *buf, *offset))?;
                *offset += done as u64;
                Ok(done)
            }
            (Kind::Socket, None) => Ok(recv(self.fd, buf, RecvFlags::DONTWAIT)?.0),
            (Kind::Pipe, None) => self.nowait.read(self.fd, buf),
            (Kind::File, None) => off_worker(true, || read(self.fd, buf)),
            (Kind::Other, None) => blocking(|| self.nowait.read(self.fd, buf)),
        }
    }

    fn try_write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.kind {
            Kind::Socket => Ok(send(self.fd, buf, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?),
            Kind::Pipe => self.nowait.write(self.fd, buf),
            Kind::File => off_worker(true, || write(self.fd, buf)),
            Kind::Other => blocking(|| self.nowait.write(self.fd, buf)),
        }
    }

    fn read(&mut self, buf: &mut [u8], site: &'static Location<'static>) -> io::Result<usize> {
        loop {
            match self.try_read(buf) {
                Err(error) if is_blocked(&error) => self.wait(Interest::Read, site)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_all(&mut self, mut buf: &[u8], site: &'static Location<'static>) -> io::Result<()> {
        while !buf.is_empty() {
            match self.try_write(buf) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(done) => buf = &buf[done..],
                Err(error) if is_blocked(&error) => self.wait(Interest::Write, site)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Makes a system call, which may wait for the disk.
fn off_worker<T>(is_slow: bool, call: impl FnOnce() -> rustix::io::Result<T>) -> io::Result<T> {
    let result = if is_slow { blocking(call) } else { call() };
    Ok(result?)
}

fn is_blocked(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

/// Returns `true` if the kernel cannot do this with these descriptors, but may do it otherwise.
fn is_refused(error: &io::Error) -> bool {
    let refusals = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM];
    refusals.iter().any(|refusal| error.raw_os_error() == Some(refusal.raw_os_error()))
}

struct Transfer<'fd> {
    from: End<'fd>,
    to: End<'fd>,
    left: u64,
    moved: u64,
    site: &'static Location<'static>,
}

/// How an attempt to do it in the kernel has ended.
#[derive(PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
}

impl Transfer<'_> {
    fn run(mut self) -> io::Result<u64> {
        let (from, to) = (self.from.kind, self.to.kind);
        let outcome = match (from, to) {
            (Kind::Other, _) | (_, Kind::Other) => Outcome::Refused,
            (Kind::Pipe, _) | (_, Kind::Pipe) => self.splice()?,
            _ => self.splice_through_pipe()?,
        };
        if outcome == Outcome::Refused {
            self.copy()?;
        }
        Ok(self.moved)
    }

    /// Returns how many bytes to ask for.
    fn next_len(&self) -> usize {
        self.left.min(CHUNK as u64) as usize
    }

    fn count(&mut self, moved: usize) {
        self.left -= moved as u64;
        self.moved += moved as u64;
    }

    /// For two ends of which one is a pipe.
    fn splice(&mut self) -> io::Result<Outcome> {
        while self.left > 0 {
            match self.from.splice_to(self.to.fd, self.to.kind, self.next_len()) {
                Ok(0) => break,
                Ok(moved) => {
                    self.count(moved);
                    park::spend(self.site);
                }
                Err(error) if is_blocked(&error) => {
                    self.from.wait(Interest::Read, self.site)?;
                    self.to.wait(Interest::Write, self.site)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_refused(&error) => return Ok(Outcome::Refused),
                Err(error) => return Err(error),
            }
        }
        Ok(Outcome::Done)
    }

    fn splice_through_pipe(&mut self) -> io::Result<Outcome> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let mut middle = End::new(reader.as_fd(), None)?;
        while self.left > 0 {
            let mut inside = match self.from.splice_to(writer.as_fd(), Kind::Pipe, self.next_len())
            {
                Ok(0) => break,
                Ok(taken) => taken,
                Err(error) if is_blocked(&error) => {
                    self.from.wait(Interest::Read, self.site)?;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if is_refused(&error) => return Ok(Outcome::Refused),
                Err(error) => return Err(error),
            };
            while inside > 0 {
                match middle.splice_to(self.to.fd, self.to.kind, inside) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(moved) => {
                        inside -= moved;
                        self.count(moved);
                    }
                    Err(error) if is_blocked(&error) => {
                        self.to.wait(Interest::Write, self.site)?;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if is_refused(&error) => {
                        self.pour_out(&mut middle, inside)?;
                        return Ok(Outcome::Refused);
                    }
                    Err(error) => return Err(error),
                }
            }
            park::spend(self.site);
        }
        Ok(Outcome::Done)
    }

    /// Writes the bytes that are in the pipe in the middle.
    fn pour_out(&mut self, middle: &mut End<'_>, inside: usize) -> io::Result<()> {
        let mut buf = vec![0; inside];
        let mut filled = 0;
        while filled < inside {
            filled += middle.read(&mut buf[filled..], self.site)?;
        }
        self.to.write_all(&buf, self.site)?;
        self.count(inside);
        Ok(())
    }

    fn run_sendfile(mut self) -> io::Result<u64> {
        while self.left > 0 {
            let len = self.left.min(TURN) as usize;
            let (file, to) = (self.from.fd, self.to.fd);
            let offset = self.from.offset.as_mut();
            match off_worker(true, || sendfile(to, file, offset, len)) {
                Ok(0) => break,
                Ok(moved) => {
                    self.count(moved);
                    park::spend(self.site);
                }
                Err(error) if is_blocked(&error) => self.to.wait(Interest::Write, self.site)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_refused(&error) => {
                    self.copy()?;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.moved)
    }

    /// Reads and writes.
    fn copy(&mut self) -> io::Result<()> {
        let mut buf = vec![0; self.next_len()];
        while self.left > 0 {
            let len = self.next_len().min(buf.len());
            let read = self.from.read(&mut buf[..len], self.site)?;
            if read == 0 {
                break;
            }
            self.to.write_all(&buf[..read], self.site)?;
            self.count(read);
            park::spend(self.site);
        }
        Ok(())
    }
}
