//! What the clones of a socket have in common: time-outs, deadlines, and whether it blocks.

use std::io::{self, ErrorKind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::io::readiness::Direction;

/// The direction of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
}

/// In nanoseconds; zero means none.
#[derive(Debug, Default)]
struct Limits {
    timeout: AtomicU64,
    /// Since [`epoch`].
    deadline: AtomicU64,
}

/// The options of a socket and its clones.
#[derive(Debug, Default)]
pub(crate) struct Options {
    nonblocking: AtomicBool,
    /// Of a listening socket: a clone of it is no longer ours (`io/adopt.rs`).
    given_away: AtomicBool,
    /// Of a datagram socket: nothing will be received any more (`net/datagram_ops.rs`).
    shut_down: AtomicBool,
    read: Limits,
    write: Limits,
    /// Where threads wait: the registrations of all clones. Reading and writing.
    registered: Mutex<Vec<[&'static Direction; 2]>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A moment before every deadline that counts.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Options {
    fn limits(&self, interest: Interest) -> &Limits {
        match interest {
            Interest::Read => &self.read,
            Interest::Write => &self.write,
        }
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    pub(crate) fn is_given_away(&self) -> bool {
        self.given_away.load(Ordering::Relaxed)
    }

    pub(crate) fn set_given_away(&self) {
        self.given_away.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shut_down.load(Ordering::SeqCst)
    }

    pub(crate) fn set_shut_down(&self) {
        self.shut_down.store(true, Ordering::SeqCst);
    }

    /// Returns the time-out of each operation.
    pub(crate) fn timeout(&self, interest: Interest) -> Option<Duration> {
        match self.limits(interest).timeout.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Sets the time-out of each operation that begins from now on.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is zero, as in std.
    pub(crate) fn set_timeout(
        &self,
        interest: Interest,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            let text = "cannot set a 0 duration timeout";
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        let nanos = timeout.map_or(0, nanos);
        self.limits(interest).timeout.store(nanos, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the deadline of all operations.
    pub(crate) fn deadline(&self, interest: Interest) -> Option<Instant> {
        match self.limits(interest).deadline.load(Ordering::SeqCst) {
            0 => None,
            nanos => epoch().checked_add(Duration::from_nanos(nanos)),
        }
    }

    /// Notes the registration of a clone.
    pub(crate) fn add(&self, directions: [&'static Direction; 2]) {
        lock(&self.registered).push(directions);
    }

    /// Forgets the registration of a clone.
    pub(crate) fn remove(&self, [read, _]: [&'static Direction; 2]) {
        lock(&self.registered).retain(|[other, _]| !ptr::eq(*other, read));
    }

    /// Sets the deadline of all operations, those too that wait already.
    pub(crate) fn set_deadline(&self, interest: Interest, deadline: Option<Instant>) {
        let nanos = deadline.map_or(0, |at| nanos(at.saturating_duration_since(epoch())).max(1));
        self.limits(interest).deadline.store(nanos, Ordering::SeqCst);
        for directions in &*lock(&self.registered) {
            directions[interest as usize].rouse();
        }
    }

    /// Lets the operations that wait try again. For what the kernel does not report to those that
    /// wait in epoll, like the end of writing if the buffer is full.
    pub(crate) fn retry(&self, interest: Interest) {
        for directions in &*lock(&self.registered) {
            directions[interest as usize].retry();
        }
    }
}
