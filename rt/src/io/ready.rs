//! Waiting for descriptors that belong to somebody else.
//!
//! Nobody tells when such a descriptor is closed, so it cannot stay registered. It is registered for
//! as long as it is borrowed, and only if the thread has to wait.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::Location;
use std::time::Instant;

use rustix::event::Timespec;

use crate::io::nowait::poll_one;
use crate::io::options::Interest;
use crate::io::watched::Watched;
use crate::task::wait_info::Reason;
use crate::wait::no_switch;
use crate::wait::park;

/// Waits until a descriptor is ready for reading: until a read would not block. That is so too at the
/// end of the data, and after an error.
///
/// Parks the green thread, a suspension point, or blocks the OS thread. Returns at once for descriptors
/// that are always ready, such as regular files. The descriptor may belong to a library, as a database
/// client's socket does; it is not made non-blocking. Several threads may wait for one descriptor, and
/// all of them are woken: with several readers, one of them may find nothing.
///
/// Use it before a call of a library that would block the OS thread. For sockets, pipes and the like
/// that a program opens itself, the types of this crate are simpler and faster.
///
/// # Errors
///
/// `TimedOut` if the descriptor is not ready at the deadline, which may have passed already: then this
/// only asks. Those of the system, if it cannot watch another descriptor.
///
/// # Examples
///
/// ```
/// use gthread::io::{self, ErrorKind};
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use std::time::{Duration, Instant};
///
/// gthread::run(|| {
///     let (mut ours, mut theirs) = UnixStream::pair()?;
///     let soon = Instant::now() + Duration::from_millis(2);
///     assert_eq!(io::readable(&ours, Some(soon)).unwrap_err().kind(), ErrorKind::TimedOut);
///     theirs.write_all(b"!")?;
///     io::readable(&ours, None)?;
///     ours.read_exact(&mut [0])
/// })?;
/// # io::Result::Ok(())
/// ```
#[track_caller]
pub fn readable(fd: impl AsFd, deadline: Option<Instant>) -> io::Result<()> {
    Foreign::new(fd.as_fd()).wait(Interest::Read, deadline, Location::caller())
}

/// Waits until a descriptor is ready for writing: until a write of a little would not block. Otherwise
/// like [`readable`].
///
/// # Errors
///
/// See [`readable`].
#[track_caller]
pub fn writable(fd: impl AsFd, deadline: Option<Instant>) -> io::Result<()> {
    Foreign::new(fd.as_fd()).wait(Interest::Write, deadline, Location::caller())
}

/// A borrowed descriptor, registered from its first wait on.
pub(crate) struct Foreign<'fd> {
    fd: BorrowedFd<'fd>,
    watched: Option<Watched<BorrowedFd<'fd>>>,
}

impl<'fd> Foreign<'fd> {
    pub(crate) fn new(fd: BorrowedFd<'fd>) -> Self {
        Self { fd, watched: None }
    }

    /// Waits until the descriptor is ready, or the deadline has passed.
    pub(crate) fn wait(
        &mut self,
        interest: Interest,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> io::Result<()> {
        park::may_suspend(site);
        if poll_now(self.fd, interest)? {
            park::spend(site);
            return Ok(());
        }
        if deadline.is_some_and(|at| at <= Instant::now()) {
            return Err(ErrorKind::TimedOut.into());
        }
        if park::is_green() {
            return self.wait_in_poller(interest, deadline, site);
        }
        no_switch::check(site);
        park::blocking(|| poll_until(self.fd, interest, deadline))
    }

    fn wait_in_poller(
        &mut self,
        interest: Interest,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> io::Result<()> {
        let watched = self.watched.get_or_insert_with(|| Watched::new(self.fd));
        watched.options().set_deadline(interest, deadline);
        watched.wait(interest, Reason::Ready, site)
    }
}

/// Returns `true` if the descriptor is ready.
fn poll_now(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<bool> {
    loop {
        match poll_one(fd, interest, Some(&Timespec::default())) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Blocks the OS thread until the descriptor is ready, or the deadline has passed.
fn poll_until(fd: BorrowedFd<'_>, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        // A time that the kernel cannot represent means no limit.
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll_one(fd, interest, timeout.as_ref()) {
            Ok(true) => return Ok(()),
            Ok(false) if left.is_some_and(|left| left.is_zero()) => {
                return Err(ErrorKind::TimedOut.into());
            }
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
