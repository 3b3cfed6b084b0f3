//! An object with a descriptor, whose operations wait in the poller.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::io::options::{Interest, Options};
use crate::io::source::{How, Source};
use crate::task::wait_info::Reason;

/// See the head of this file. The object is std's, and all that does not block is left to it.
pub(crate) struct Watched<T: AsFd> {
    inner: ManuallyDrop<T>,
    source: Source,
    options: Arc<Options>,
}

impl<T: AsFd> Watched<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self::with_options(inner, Arc::default())
    }

    /// For a clone: it shares the options.
    pub(crate) fn with_options(inner: T, options: Arc<Options>) -> Self {
        Self { inner: ManuallyDrop::new(inner), source: Source::new(), options }
    }

    pub(crate) fn inner(&self) -> &T {
        &self.inner
    }

    pub(crate) fn options(&self) -> &Arc<Options> {
        &self.options
    }

    /// Returns the object, which no longer waits in the poller.
    pub(crate) fn into_inner(self) -> T {
        let mut this = ManuallyDrop::new(self);
        this.end();
        // SAFETY: `this` is not used any more, nor dropped.
        unsafe {
            drop(ptr::read(&raw const this.source));
            drop(ptr::read(&raw const this.options));
            ManuallyDrop::take(&mut this.inner)
        }
    }

    fn end(&mut self) {
        self.source.end(self.inner.as_fd(), &self.options);
    }

    fn how(&self, interest: Interest, reason: Reason, site: &'static Location<'static>) -> How<'_> {
        How { interest, reason, options: &self.options, site }
    }

    /// Runs a system call that reads and does not block, and waits as long as it would block
    /// ([`Source::run`]).
    #[inline]
    pub(crate) fn read<R>(
        &self,
        reason: Reason,
        site: &'static Location<'static>,
        drained: impl Fn(&R) -> bool,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let how = self.how(Interest::Read, reason, site);
        self.source.run(self.inner.as_fd(), how, drained, || op(&self.inner))
    }

    /// As [`read`](Self::read), for a system call that writes.
    #[inline]
    pub(crate) fn write<R>(
        &self,
        reason: Reason,
        site: &'static Location<'static>,
        drained: impl Fn(&R) -> bool,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let how = self.how(Interest::Write, reason, site);
        self.source.run(self.inner.as_fd(), how, drained, || op(&self.inner))
    }

    /// Waits until the descriptor is ready.
    pub(crate) fn wait(
        &self,
        interest: Interest,
        reason: Reason,
        site: &'static Location<'static>,
    ) -> io::Result<()> {
        self.source.wait(self.inner.as_fd(), self.how(interest, reason, site))
    }

    /// Sets the deadline in a direction, also for threads that wait now.
    pub(crate) fn set_deadline(&self, interest: Interest, deadline: Option<Instant>) {
        self.options.set_deadline(interest, deadline);
    }

    pub(crate) fn timeout(&self, interest: Interest) -> Option<Duration> {
        self.options.timeout(interest)
    }

    pub(crate) fn set_timeout(
        &self,
        interest: Interest,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.options.set_timeout(interest, timeout)
    }
}

impl<T: AsFd> Drop for Watched<T> {
    fn drop(&mut self) {
        self.end();
        // SAFETY: it is dropped here only, once.
        unsafe { ManuallyDrop::drop(&mut self.inner) };
    }
}

impl<T: AsFd> AsFd for Watched<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Watched<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_fd().as_raw_fd()
    }
}

/// The methods of a socket that say how long its operations wait, or whether they do. `$std` is the
/// path of std's type; the other texts name an operation in each direction, and all of them.
macro_rules! wait_limits {
    ($std:literal, $read:literal, $write:literal, $all:literal) => {
        #[doc = concat!("Sets how long ", $read, " may wait, like [`", $std, "::set_read_timeout`]: one")]
        /// that waits longer fails with `WouldBlock`. `None` is for ever. Costs no system call.
        ///
        /// # Errors
        ///
        /// `InvalidInput` if the time-out is zero.
        pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.io.set_timeout(Interest::Read, timeout)
        }

        #[doc = concat!("Sets how long ", $write, " may wait, like")]
        /// [`set_read_timeout`](Self::set_read_timeout).
        ///
        /// # Errors
        ///
        /// `InvalidInput` if the time-out is zero.
        pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.io.set_timeout(Interest::Write, timeout)
        }

        #[doc = concat!("Returns how long ", $read, " may wait.")]
        ///
        /// # Errors
        ///
        /// None; as in std there could be one.
        pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.io.timeout(Interest::Read))
        }

        #[doc = concat!("Returns how long ", $write, " may wait.")]
        ///
        /// # Errors
        ///
        /// None; as in std there could be one.
        pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.io.timeout(Interest::Write))
        }

        #[doc = concat!("Sets the moment at which all ", $all, " that wait fail with `TimedOut`, those")]
        /// that wait already too, and each one later. `None` takes it away. Clones share it. Unlike a
        /// time-out it covers many operations together, as `SetDeadline` does in Go.
        ///
        /// # Errors
        ///
        /// None at present.
        pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
            self.set_read_deadline(deadline)?;
            self.set_write_deadline(deadline)
        }

        #[doc = concat!("Like [`set_deadline`](Self::set_deadline), for ", $read, ".")]
        ///
        /// # Errors
        ///
        /// None at present.
        pub fn set_read_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
            self.io.set_deadline(Interest::Read, deadline);
            Ok(())
        }

        #[doc = concat!("Like [`set_deadline`](Self::set_deadline), for ", $write, ".")]
        ///
        /// # Errors
        ///
        /// None at present.
        pub fn set_write_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
            self.io.set_deadline(Interest::Write, deadline);
            Ok(())
        }

        /// Sets whether operations that would wait fail with `WouldBlock` instead, like
        #[doc = concat!("[`", $std, "::set_nonblocking`]. Clones share it, and the raw descriptor has")]
        /// it too.
        ///
        /// # Errors
        ///
        /// Those of the system call.
        pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
            self.io.inner().set_nonblocking(nonblocking)?;
            self.io.options().set_nonblocking(nonblocking);
            Ok(())
        }
    };
}

pub(crate) use wait_limits;
