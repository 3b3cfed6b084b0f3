//! The standard streams of the process.
//!
//! Their descriptors are shared with other processes, which would see `O_NONBLOCK`. So it is never
//! set, and the descriptors may be replaced at any time (`dup2`): stdin is registered in the poller
//! only while a thread waits.
//!
//! stdout and stderr are std's own, with std's buffer, so that `println!` and these are one stream,
//! and what is in the buffer is written when the process ends. std's locks belong to OS threads. So
//! there is another lock for each stream, which belongs to a thread, green or OS; std's is taken for
//! each single operation.

use std::fmt::{self, Write as _};
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, IsTerminal as _, Lines, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::Stdio;
use std::sync::{LazyLock, PoisonError};

use rustix::io::Errno;

use crate::io::descriptor::{Descriptor, Place};
use crate::sync::{Mutex, MutexGuard};
use crate::wait::park::blocking;

static STDIN: LazyLock<Mutex<BufReader<RawStdin>>> =
    LazyLock::new(|| Mutex::new(BufReader::new(RawStdin)));
static STDOUT: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);
static STDERR: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

/// Locks a stream. A thread that has panicked leaves nothing behind that would matter.
#[track_caller]
fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The descriptor of stdin, without a buffer.
struct RawStdin;

impl Read for RawStdin {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let stdin = Descriptor::new(rustix::stdio::stdin());
        match stdin.read(Place::Current, &mut [IoSliceMut::new(buf)]) {
            // A process may be started without stdin.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::BADF) => Ok(0),
            result => result,
        }
    }
}

/// Returns a handle to the standard input of the process, like [`std::io::stdin`].
///
/// # Examples
///
/// ```no_run
/// let name = gthread::go!(|| {
///     let mut line = String::new();
///     gthread::io::stdin().read_line(&mut line).map(|_| line)
/// });
/// println!("{}", name.join().unwrap()?);
/// # std::io::Result::Ok(())
/// ```
#[must_use]
pub fn stdin() -> Stdin {
    Stdin(())
}

/// The standard input of the process, like [`std::io::Stdin`]: a buffer that all threads share.
///
/// A read that finds neither buffered nor waiting input parks the green thread, or blocks the OS
/// thread. Other threads that want to read wait until it is their turn.
///
/// The buffer is not std's. A program reads either here or from std's `stdin`: what one has in its
/// buffer, the other does not see.
pub struct Stdin(());

/// An exclusive handle to the standard input, like [`std::io::StdinLock`].
///
/// It belongs to the thread that has it, green or OS. A thread that locks twice waits for itself.
pub struct StdinLock<'a>(MutexGuard<'a, BufReader<RawStdin>>);

impl Stdin {
    /// Locks the stream, and waits for that if another thread has it.
    #[must_use]
    #[track_caller]
    pub fn lock(&self) -> StdinLock<'static> {
        StdinLock(lock(&STDIN))
    }

    /// Reads a line with its end, and adds it to `buf`; see [`BufRead::read_line`].
    ///
    /// # Errors
    ///
    /// Those of the system call; `InvalidData` if the line is not UTF-8.
    #[track_caller]
    pub fn read_line(&self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_line(buf)
    }

    /// Locks the stream, and returns its lines; see [`BufRead::lines`].
    #[track_caller]
    pub fn lines(self) -> Lines<StdinLock<'static>> {
        self.lock().lines()
    }

    /// Returns `true` if this is a terminal. std's trait [`IsTerminal`](std::io::IsTerminal) is closed
    /// to other crates, so this is a method.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }
}

impl StdinLock<'_> {
    /// Returns `true` if this is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }
}

impl Read for &Stdin {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buf)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.lock().read_vectored(bufs)
    }

    #[track_caller]
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.lock().read_to_end(buf)
    }

    #[track_caller]
    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.lock().read_to_string(buf)
    }

    #[track_caller]
    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.lock().read_exact(buf)
    }
}

impl Read for Stdin {
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

    #[track_caller]
    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        (&*self).read_exact(buf)
    }
}

impl Read for StdinLock<'_> {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(bufs)
    }

    #[track_caller]
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.0.read_to_end(buf)
    }

    #[track_caller]
    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.0.read_to_string(buf)
    }

    #[track_caller]
    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(buf)
    }
}

impl BufRead for StdinLock<'_> {
    #[track_caller]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }

    #[track_caller]
    fn read_until(&mut self, byte: u8, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.0.read_until(byte, buf)
    }

    #[track_caller]
    fn read_line(&mut self, buf: &mut String) -> io::Result<usize> {
        self.0.read_line(buf)
    }
}

/// Returns a handle to the standard output of the process, like [`std::io::stdout`].
///
/// # Examples
///
/// ```
/// use std::io::Write;
///
/// gthread::run(|| writeln!(gthread::io::stdout(), "green"))?;
/// # std::io::Result::Ok(())
/// ```
#[must_use]
pub fn stdout() -> Stdout {
    Stdout(())
}

/// The standard output of the process, like [`std::io::Stdout`], with std's buffer.
///
/// If the stream accepts nothing for a while, a write blocks an OS thread, but only one: other
/// threads that want to write wait in gthread, and another worker takes the place of the blocked
/// one.
pub struct Stdout(());

/// An exclusive handle to the standard output, like [`std::io::StdoutLock`].
///
/// It belongs to the thread that has it, green or OS, and excludes others that use
/// [`gthread::io::stdout`](stdout), but not std's `println!`. Unlike std's it is not re-entrant: a
/// thread that locks twice waits for itself.
pub struct StdoutLock<'a> {
    _guard: MutexGuard<'a, ()>,
}

/// Returns a handle to the standard error stream of the process, like [`std::io::stderr`].
#[must_use]
pub fn stderr() -> Stderr {
    Stderr(())
}

/// The standard error stream of the process, like [`std::io::Stderr`]. It has no buffer.
///
/// A write may block an OS thread, like one to [`Stdout`].
pub struct Stderr(());

/// An exclusive handle to the standard error stream, like [`std::io::StderrLock`].
///
/// See [`StdoutLock`]; what is said there of `println!` holds for `eprintln!` and for the messages of
/// panics.
pub struct StderrLock<'a> {
    _guard: MutexGuard<'a, ()>,
}

/// Formats first, and writes the text as a whole. `Display` is the user's code, and may wait.
#[track_caller]
fn write_formatted(to: &mut impl Write, args: fmt::Arguments<'_>) -> io::Result<()> {
    if let Some(text) = args.as_str() {
        return to.write_all(text.as_bytes());
    }
    let mut text = String::new();
    text.write_fmt(args).map_err(|_| io::Error::other("formatter error"))?;
    to.write_all(text.as_bytes())
}

/// Implements what stdout and stderr have in common.
macro_rules! output {
    ($name:ident, $lock:ident, $mutex:ident, $std:path, $fd:path) => {
        impl $name {
            /// Locks the stream, and waits for that if another thread has it.
            #[must_use]
            #[track_caller]
            pub fn lock(&self) -> $lock<'static> {
                $lock { _guard: lock(&$mutex) }
            }

            /// Returns `true` if this is a terminal. std's trait
            /// [`IsTerminal`](std::io::IsTerminal) is closed to other crates, so this is a method.
            #[must_use]
            pub fn is_terminal(&self) -> bool {
                $std().is_terminal()
            }
        }

        impl $lock<'_> {
            /// Returns `true` if this is a terminal.
            #[must_use]
            pub fn is_terminal(&self) -> bool {
                $std().is_terminal()
            }
        }

        impl Write for $lock<'_> {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                blocking(|| $std().write(buf))
            }

            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                blocking(|| $std().write_vectored(bufs))
            }

            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                blocking(|| $std().write_all(buf))
            }

            fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
                write_formatted(self, args)
            }

            fn flush(&mut self) -> io::Result<()> {
                blocking(|| $std().flush())
            }
        }

        impl Write for &$name {
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.lock().write(buf)
            }

            #[track_caller]
            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.lock().write_vectored(bufs)
            }

            #[track_caller]
            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                self.lock().write_all(buf)
            }

            /// Formats before it locks.
            #[track_caller]
            fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
                write_formatted(self, args)
            }

            #[track_caller]
            fn flush(&mut self) -> io::Result<()> {
                self.lock().flush()
            }
        }

        impl Write for $name {
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                (&*self).write(buf)
            }

            #[track_caller]
            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            #[track_caller]
            fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                (&*self).write_all(buf)
            }

            #[track_caller]
            fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
                (&*self).write_fmt(args)
            }

            #[track_caller]
            fn flush(&mut self) -> io::Result<()> {
                (&*self).flush()
            }
        }

        impl From<$name> for Stdio {
            fn from(_: $name) -> Self {
                $std().into()
            }
        }

        impl UnwindSafe for $lock<'_> {}
        impl RefUnwindSafe for $lock<'_> {}

        stream!($name, $lock, $fd);
    };
}

/// Implements what all three streams have in common.
macro_rules! stream {
    ($name:ident, $lock:ident, $fd:path) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl fmt::Debug for $lock<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($lock)).finish_non_exhaustive()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                $fd()
            }
        }

        impl AsFd for $lock<'_> {
            fn as_fd(&self) -> BorrowedFd<'_> {
                $fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                $fd().as_raw_fd()
            }
        }

        impl AsRawFd for $lock<'_> {
            fn as_raw_fd(&self) -> RawFd {
                $fd().as_raw_fd()
            }
        }
    };
}

stream!(Stdin, StdinLock, rustix::stdio::stdin);
output!(Stdout, StdoutLock, STDOUT, io::stdout, rustix::stdio::stdout);
output!(Stderr, StderrLock, STDERR, io::stderr, rustix::stdio::stderr);
