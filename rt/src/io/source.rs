//! A descriptor that threads wait for: its record in the poller, and how an operation waits.
//!
//! A descriptor is registered at the first wait for it, once, and until it is closed. One that
//! never waits costs nothing. If the first wait is to read, writing is registered later, when a
//! write waits: datagram and Unix sockets report an edge whenever the peer has taken something, and
//! would wake an idle worker for each message that a thread sends.
//!
//! The kernel takes each descriptor once. But one that belongs to a socket of ours may also be
//! waited for on its own (`ready.rs`). Whichever comes second has a duplicate registered in its
//! place.
//!
//! Records are never freed, and found by their number without a lock. A record that is used again has
//! another *generation*. An event carries both, so an event of the descriptor before is dropped, as
//! far as it is seen; one that is not is an edge too many, after which a thread tries in vain.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use crate::boot;
use crate::io::nowait::expect_ready;
use crate::io::options::{Interest, Options};
use crate::io::readiness::Direction;
use crate::loom::{AtomicU32, Ordering};
use crate::runtime::context;
use crate::runtime::driver::poller::{self, Hooks, Poller, Readiness};
use crate::runtime::shared::Shared;
use crate::sys::fork;
use crate::task::header::Wake;
use crate::task::wait_info::Reason;
use crate::task::wait_note::Target;
use crate::wait::park;

#[derive(Debug)]
struct Record {
    index: u32,
    generation: AtomicU32,
    read: Direction,
    write: Direction,
}

impl Record {
    fn new(index: u32) -> Self {
        let (read, write) = (Direction::new(), Direction::new());
        Self { index, generation: AtomicU32::new(0), read, write }
    }

    fn token(&self) -> u64 {
        u64::from(self.index) << 32 | u64::from(self.generation.load(Ordering::Relaxed))
    }

    fn directions(&'static self) -> [&'static Direction; 2] {
        [&self.read, &self.write]
    }

    fn direction(&self, interest: Interest) -> &Direction {
        match interest {
            Interest::Read => &self.read,
            Interest::Write => &self.write,
        }
    }
}

/// All records, in segments, each twice as large as the one before.
struct Table {
    segments: [OnceLock<Box<[Record]>>; SEGMENTS],
    free: Mutex<Free>,
}

const SEGMENTS: usize = 26;
const FIRST: u32 = 64;

struct Free {
    records: Vec<&'static Record>,
    /// How many records there are.
    count: u32,
    /// What was registered in place of descriptors that were registered already, by record.
    duplicates: BTreeMap<u32, OwnedFd>,
}

impl Free {
    /// Adds a descriptor to the poller, or a duplicate of it.
    fn add(
        &mut self,
        poller: &Poller,
        fd: BorrowedFd<'_>,
        record: &Record,
        writes: bool,
    ) -> io::Result<()> {
        match poller.add(fd, record.token(), writes) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            result => return result,
        }
        let duplicate = fd.try_clone_to_owned()?;
        poller.add(duplicate.as_fd(), record.token(), writes)?;
        self.duplicates.insert(record.index, duplicate);
        Ok(())
    }

    /// Returns the descriptor that the poller knows.
    fn registered<'a>(&'a self, fd: BorrowedFd<'a>, record: &Record) -> BorrowedFd<'a> {
        self.duplicates.get(&record.index).map_or(fd, AsFd::as_fd)
    }
}

static TABLE: Table = Table {
    segments: [const { OnceLock::new() }; SEGMENTS],
    free: Mutex::new(Free { records: Vec::new(), count: 0, duplicates: BTreeMap::new() }),
};

impl Table {
    /// Returns the segment of a record, and the record's place there.
    fn place(index: u32) -> (usize, usize) {
        let number = index / FIRST + 1;
        let segment = number.ilog2();
        let start = FIRST * ((1 << segment) - 1);
        (segment as usize, (index - start) as usize)
    }

    fn get(&self, index: u32) -> Option<&Record> {
        let (segment, place) = Self::place(index);
        self.segments.get(segment)?.get()?.get(place)
    }

    fn take(&'static self, free: &mut Free) -> &'static Record {
        if let Some(record) = free.records.pop() {
            return record;
        }
        let index = free.count;
        let (segment, place) = Self::place(index);
        let records = self.segments[segment].get_or_init(|| {
            let len = FIRST << segment;
            (index..index + len).map(Record::new).collect()
        });
        free.count += 1;
        &records[place]
    }
}

/// Ends the waits that an event ends.
fn on_event(token: u64, ready: Readiness, wake: &mut dyn FnMut(Wake)) {
    let (index, generation) = ((token >> 32) as u32, token as u32);
    let Some(record) = TABLE.get(index) else { return };
    if record.generation.load(Ordering::Acquire) != generation {
        return;
    }
    if ready.readable {
        record.read.set(ready.read_closed, wake);
    }
    if ready.writable {
        record.write.set(ready.write_closed, wake);
    }
}

const HOOKS: Hooks = Hooks { on_event, is_waited_for, start_runtime };

fn start_runtime() {
    // If it fails, the next thread that waits tries again.
    let _ = boot::default_runtime();
}

/// Returns `true` if a thread waits for a descriptor.
fn is_waited_for() -> bool {
    let count = TABLE.free.lock().unwrap_or_else(PoisonError::into_inner).count;
    let mut records = (0..count).filter_map(|index| TABLE.get(index));
    records.any(|record| record.read.has_waiters() || record.write.has_waiters())
}

/// The registration of one descriptor. [Ended](Self::end) before the descriptor is closed.
#[derive(Debug, Default)]
pub(crate) struct Source {
    record: OnceLock<&'static Record>,
    /// Set if it is registered for writing too. Written under the table's lock.
    writes: OnceLock<()>,
}

// A record's directions are consistent at any time.
impl UnwindSafe for Source {}
impl RefUnwindSafe for Source {}

impl Source {
    pub(crate) const fn new() -> Self {
        Self { record: OnceLock::new(), writes: OnceLock::new() }
    }

    /// Returns a direction, if the descriptor is registered for it.
    #[inline]
    fn direction(&self, interest: Interest) -> Option<&'static Direction> {
        let record = self.record.get()?;
        let registered = interest == Interest::Read || self.writes.get().is_some();
        registered.then(|| record.direction(interest))
    }

    /// Registers the descriptor for a direction, if it is not yet.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` if the descriptor is always ready; others if there are too many
    /// descriptors, or too little memory.
    #[cold]
    fn register(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        options: &Options,
    ) -> io::Result<&'static Direction> {
        fork::check()?;
        let mut free = TABLE.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(direction) = self.direction(interest) {
            return Ok(direction);
        }
        let poller = poller::get(HOOKS).map_err(refused)?;
        let writes = interest == Interest::Write;
        let record = match self.record.get() {
            Some(record) => {
                let fd = free.registered(fd, record);
                poller.add_writes(fd, record.token()).map_err(refused)?;
                record
            }
            None => {
                let record = TABLE.take(&mut free);
                if let Err(error) = free.add(poller, fd, record, writes) {
                    free.records.push(record);
                    return Err(refused(error));
                }
                options.add(record.directions());
                self.record.get_or_init(|| record)
            }
        };
        if writes {
            let _ = self.writes.set(());
        }
        Ok(record.direction(interest))
    }

    /// Ends the registration. No thread waits.
    pub(crate) fn end(&mut self, fd: BorrowedFd<'_>, options: &Options) {
        let Some(record) = self.record.take() else { return };
        self.writes.take();
        options.remove(record.directions());
        if fork::is_child() {
            // The epoll is the parent's too, and so is the registration.
            return;
        }
        let mut free = TABLE.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(poller) = poller::existing() {
            poller.remove(free.registered(fd, record));
        }
        free.duplicates.remove(&record.index);
        let next = record.generation.load(Ordering::Relaxed).wrapping_add(1);
        record.generation.store(next, Ordering::Release);
        record.read.reset();
        record.write.reset();
        free.records.push(record);
    }

    /// Runs `op`, a system call that does not block, and waits as long as it would block. `op` is
    /// repeated if a signal has interrupted it.
    ///
    /// If `drained` returns `true`, a successful call has left nothing, so that the next would block.
    ///
    /// # Errors
    ///
    /// Those of `op`; `WouldBlock` if that is what `options` say, or their time-out is over; `TimedOut`
    /// after their deadline; those of a registration.
    #[inline]
    pub(crate) fn run<R>(
        &self,
        fd: BorrowedFd<'_>,
        how: How<'_>,
        drained: impl Fn(&R) -> bool,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        let direction = self.direction(how.interest);
        let seen = direction.map(Direction::see);
        if seen.is_none_or(|seen| seen.is_ready()) {
            match op() {
                Ok(value) => {
                    if let (Some(direction), Some(seen)) = (direction, seen) {
                        if drained(&value) {
                            direction.drain(seen);
                        }
                    }
                    park::spend(how.site);
                    return Ok(value);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if let (Some(direction), Some(seen)) = (direction, seen) {
                        direction.clear(seen);
                    }
                    if how.options.is_nonblocking() {
                        park::spend(how.site);
                        return Err(error);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.run_slow(fd, how, &drained, &mut op)
    }

    #[cold]
    fn run_slow<R>(
        &self,
        fd: BorrowedFd<'_>,
        how: How<'_>,
        drained: &dyn Fn(&R) -> bool,
        op: &mut dyn FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        let How { interest, reason, options, site } = how;
        let timeout = options.timeout(interest);
        let start = timeout.map(|_| Instant::now());
        let timeout = start.zip(timeout).and_then(|(start, timeout)| start.checked_add(timeout));
        let mut waited = None;
        // Whether to try once although there was no edge.
        let mut tries = false;
        // The error if the next attempt fails.
        let mut over = options.is_nonblocking().then_some(ErrorKind::WouldBlock);
        let result = loop {
            let direction = self.direction(interest);
            let seen = direction.map(Direction::see);
            if over.is_some() || tries || seen.is_some_and(|seen| seen.is_ready()) {
                tries = false;
                match op() {
                    Ok(value) => {
                        if let (Some(direction), Some(seen)) = (direction, seen) {
                            if drained(&value) {
                                direction.drain(seen);
                            }
                        }
                        break Ok(value);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        if let (Some(direction), Some(seen)) = (direction, seen) {
                            direction.clear(seen);
                        }
                        match over {
                            Some(ErrorKind::WouldBlock) => break Err(error),
                            Some(kind) => break Err(kind.into()),
                            None => {}
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => break Err(error),
                }
                continue;
            }
            let direction = match direction {
                Some(direction) => direction,
                None => match self.register(fd, interest, options) {
                    // What has ended writing since the attempt may not be reported as an edge
                    // (`Options::retry`).
                    Ok(_) if interest == Interest::Write => {
                        tries = true;
                        continue;
                    }
                    Ok(direction) => direction,
                    Err(error) => break Err(error),
                },
            };
            let deadline = options.deadline(interest);
            let now = timeout.or(deadline).map(|_| Instant::now());
            let is_over = |at: Option<Instant>| at.zip(now).is_some_and(|(at, now)| at <= now);
            if is_over(timeout) {
                over = Some(ErrorKind::WouldBlock);
            } else if is_over(deadline) {
                over = Some(ErrorKind::TimedOut);
            } else {
                if let Some(task) = context::running() {
                    task.note_target(Target::Descriptor(fd.as_raw_fd()));
                }
                ensure_poller();
                waited = Some(direction);
                let until = timeout.into_iter().chain(deadline).min();
                let changed = || options.deadline(interest) != deadline;
                direction.wait(changed, reason, until, site);
            }
        };
        if let Some(direction) = waited {
            direction.pass_on();
        }
        result
    }

    /// Waits until the descriptor is ready, as far as the kernel has said so.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(crate) fn wait(&self, fd: BorrowedFd<'_>, how: How<'_>) -> io::Result<()> {
        let mut is_ready = || expect_ready(fd, how.interest);
        match self.run_slow(fd, how, &|()| false, &mut is_ready) {
            // Files are always ready.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
            result => result,
        }
    }
}

/// How an operation waits.
#[derive(Clone, Copy)]
pub(crate) struct How<'a> {
    pub(crate) interest: Interest,
    pub(crate) reason: Reason,
    pub(crate) options: &'a Options,
    pub(crate) site: &'static Location<'static>,
}

/// Sees to it that somebody polls, while the calling thread waits. A worker that runs does, later; for
/// an OS thread, or a worker that blocks, a runtime must.
fn ensure_poller() {
    if park::is_green() {
        return;
    }
    if poller::is_deserted() {
        let wake = |shared: &Shared| shared.answer(shared.idle.notify_outside());
        let own = context::with(|worker| worker.map(|worker| wake(&worker.shared)).is_some());
        if !own {
            // If there can be no runtime, a sysmon of another may still poll.
            boot::default_runtime().into_iter().for_each(|shared| wake(shared));
        }
    }
}

fn refused(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::EPERM) {
        return error;
    }
    let message = format!(
        "cannot wait for a descriptor: {error}; the limit may be the process's (ulimit -n), the \
         system's (fs.file-max), the user's (fs.epoll.max_user_watches), or memory"
    );
    io::Error::new(error.kind(), message)
}
