//! The poller: one epoll for the whole process, in which an idle worker sleeps instead of in a futex.
//!
//! Descriptors belong to the process, and a socket may be used by threads of several runtimes and by
//! OS threads. So there is one epoll, made at the first wait for a descriptor, and kept. It knows
//! descriptors by tokens; `io/source.rs` knows what a token means, and ends waits
//! ([`Poller::on_event`]).
//!
//! Only one thread at a time calls `epoll_wait`: the one that has the *role*, a lock that nobody waits
//! for. It keeps the role until it has handed out all events that it took.
//!
//! - A worker that goes to sleep tries to take the role, and then sleeps in `epoll_wait`
//!   (`worker/park.rs`). It is the last sleeper that is woken for other work.
//! - A running worker polls without sleeping when it is out of tasks of its own, and at a tick if
//!   nobody has for [`STALE`].
//! - Sysmon polls, while workers run, if nobody has for [`LATE`] (the *lost poller*: the worker
//!   that polled got work that runs for long, and all others sleep in futexes).
//!
//! Invariant: while a descriptor is registered, the role is taken, or a worker of some runtime runs
//! or is owed a wake, or that runtime's sysmon is awake and about to look.
//!
//! - A worker that goes to sleep is in the list of sleepers, and has passed the barrier of
//!   `Idle::sleep`, when it asks whether descriptors are registered and tries to take the role.
//! - If the role was taken at that moment, it was taken by a sleeper, for which the invariant holds
//!   as long as it sleeps; or by a running worker, which later sleeps itself; or by a sysmon, which
//!   looks at the role once more before it sleeps while no worker runs (`sysmon/run.rs`), and has a
//!   sleeper woken if the role is free.
//! - A thread that is no running worker and registers a descriptor, or waits for one, fences and then
//!   looks at the role. If it is free, the thread has a sleeper woken ([`is_deserted`]). With the
//!   barrier of `Idle::sleep` this is Dekker's pattern (`README.md` §3): the sleeper sees the
//!   descriptor, or the thread sees the sleeper.
//! - So do a worker that is about to block, and the workers and the sysmon of a runtime that stops: they
//!   have a worker of each other runtime woken (`registry.rs`). If no runtime is left and an OS thread
//!   waits for a descriptor, the default runtime is started.
//!
//! A sleeper that holds the role is woken through an eventfd in the epoll (`sys/wake_fd.rs`).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, atomic};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::loom::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use crate::sys::wake_fd;
use crate::task::header::Wake;

/// The most events that are taken in one call.
const BATCH: usize = 256;

/// A running worker polls at a tick if nobody has for so long.
pub(crate) const STALE: Duration = Duration::from_micros(100);

/// Sysmon polls if nobody has for so long.
pub(crate) const LATE: Duration = Duration::from_micros(500);

/// The token of the eventfd. No descriptor's token is this.
const WAKE: u64 = u64::MAX;

/// What the kernel says of a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer sends no more, or the connection is over: there will be no further edge. Or there
    /// is urgent data: a read ends before it, and may leave something although it was asked for
    /// more.
    pub(crate) read_closed: bool,
    pub(crate) write_closed: bool,
}

impl Readiness {
    fn of(flags: EventFlags) -> Self {
        let has = |flag| flags.intersects(flag);
        let error = has(EventFlags::ERR);
        let hup = has(EventFlags::HUP);
        let read_closed = hup || error || has(EventFlags::RDHUP | EventFlags::PRI);
        Self {
            readable: read_closed || has(EventFlags::IN),
            writable: hup || error || has(EventFlags::OUT),
            read_closed,
            write_closed: hup || error,
        }
    }
}

/// Ends the waits that an event ends. Given the token, and a function to call with each thread that is
/// to run.
pub(crate) type OnEvent = fn(u64, Readiness, &mut dyn FnMut(Wake));

/// What the layer above does for the poller.
#[derive(Clone, Copy)]
pub(crate) struct Hooks {
    pub(crate) on_event: OnEvent,
    /// Returns `true` if a thread waits for a descriptor.
    pub(crate) is_waited_for: fn() -> bool,
    /// Starts a runtime that polls, because there is none.
    pub(crate) start_runtime: fn(),
}

/// The role, and the number of descriptors that there is to poll.
struct Seat {
    taken: AtomicBool,
    sources: AtomicUsize,
}

impl Seat {
    fn new() -> Self {
        Self { taken: AtomicBool::new(false), sources: AtomicUsize::new(0) }
    }

    /// Counts a descriptor, before it is registered.
    fn add(&self) {
        self.sources.fetch_add(1, Ordering::SeqCst);
    }

    fn remove(&self) {
        self.sources.fetch_sub(1, Ordering::SeqCst);
    }

    /// Returns `true` if there is something to poll. A worker that goes to sleep asks after the
    /// barrier of `Idle::sleep`.
    #[inline]
    fn is_active(&self) -> bool {
        self.sources.load(Ordering::Relaxed) > 0
    }

    fn try_take(&self) -> Option<Taken<'_>> {
        if self.taken.load(Ordering::Relaxed) {
            return None;
        }
        let (ordering, failure) = (Ordering::SeqCst, Ordering::Relaxed);
        self.taken.compare_exchange(false, true, ordering, failure).ok()?;
        Some(Taken { seat: self })
    }

    /// Returns `true` if there is something to poll and nobody has the role. For threads that have a
    /// sleeper woken then.
    fn is_deserted(&self) -> bool {
        fence(Ordering::SeqCst);
        self.is_active() && !self.taken.load(Ordering::Relaxed)
    }
}

/// The role, until it is dropped.
struct Taken<'a> {
    seat: &'a Seat,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.seat.taken.store(false, Ordering::SeqCst);
    }
}

pub(crate) struct Poller {
    epoll: OwnedFd,
    seat: Seat,
    /// The events that the holder of the role has taken. Nobody else locks this.
    events: Mutex<Vec<(u64, EventFlags)>>,
    /// When the last poll ended, in nanoseconds since `start`.
    polled: AtomicU64,
    start: Instant,
    hooks: Hooks,
}

static POLLER: OnceLock<Poller> = OnceLock::new();

/// Returns the poller if a descriptor is registered.
#[inline]
pub(crate) fn active() -> Option<&'static Poller> {
    POLLER.get().filter(|poller| poller.seat.is_active())
}

/// Returns the poller, if there is one.
pub(crate) fn existing() -> Option<&'static Poller> {
    POLLER.get()
}

/// Returns `true` if a thread waits for a descriptor, so that the outside world may wake it.
pub(crate) fn is_waited_for() -> bool {
    active().is_some_and(|poller| (poller.hooks.is_waited_for)())
}

/// Starts a runtime that polls, if a thread waits for a descriptor. Called when no runtime is left.
pub(crate) fn start_runtime() {
    if let Some(poller) = active().filter(|_| is_waited_for()) {
        (poller.hooks.start_runtime)();
    }
}

/// Returns `true` if descriptors are registered and nobody has the role. Passes a fence. For threads
/// that have a sleeper woken then.
pub(crate) fn is_deserted() -> bool {
    POLLER.get().is_some_and(|poller| poller.seat.is_deserted())
}

/// Returns the poller. Its first caller makes it.
///
/// # Errors
///
/// If the process has too many descriptors, or the kernel too little memory.
pub(crate) fn get(hooks: Hooks) -> io::Result<&'static Poller> {
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(poller) = POLLER.get() {
        return Ok(poller);
    }
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    match POLLER.get() {
        Some(poller) => Ok(poller),
        None => {
            let poller = Poller::new(hooks)?;
            Ok(POLLER.get_or_init(|| poller))
        }
    }
}

impl Poller {
    fn new(hooks: Hooks) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let waker = wake_fd::get()?;
        epoll::add(&epoll, waker, EventData::new_u64(WAKE), EventFlags::IN | EventFlags::ET)?;
        Ok(Self {
            epoll,
            seat: Seat::new(),
            events: Mutex::new(Vec::with_capacity(BATCH)),
            polled: AtomicU64::new(0),
            start: Instant::now(),
            hooks,
        })
    }

    /// Registers a descriptor for reading, and for writing if `writes`. What it is ready for
    /// already comes as an event.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` for a descriptor that is always ready, like a file's. Others if there is
    /// too little memory, or the user watches too many descriptors.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64, writes: bool) -> io::Result<()> {
        debug_assert_ne!(token, WAKE);
        // Counted first, so that the worker that polls next does.
        self.seat.add();
        let added = epoll::add(&self.epoll, fd, EventData::new_u64(token), flags(writes));
        if added.is_err() {
            self.seat.remove();
        }
        Ok(added?)
    }

    /// Registers a descriptor for writing too, that was [added](Self::add) for reading. What it is
    /// ready for already comes as an event.
    ///
    /// # Errors
    ///
    /// If there is too little memory.
    pub(crate) fn add_writes(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token), flags(true))?)
    }

    /// Undoes [`add`](Self::add). Events that were taken before may still come.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        // Nothing can be done about an error; closing the descriptor does the same, as a rule.
        let _ = epoll::delete(&self.epoll, fd);
        self.seat.remove();
    }

    /// Takes the role, if nobody has it.
    pub(crate) fn try_take(&'static self) -> Option<Role> {
        let taken = self.seat.try_take()?;
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Role { poller: self, events, _taken: taken })
    }

    /// Takes the role if nobody has polled for `time`.
    pub(crate) fn try_take_after(&'static self, time: Duration) -> Option<Role> {
        let polled = Duration::from_nanos(self.polled.load(Ordering::Relaxed));
        if self.start.elapsed() < polled + time {
            return None;
        }
        self.try_take()
    }
}

/// The events that a descriptor is registered for.
fn flags(writes: bool) -> EventFlags {
    let reads = EventFlags::IN | EventFlags::RDHUP | EventFlags::PRI | EventFlags::ET;
    if writes { reads | EventFlags::OUT } else { reads }
}

/// The right to poll.
pub(crate) struct Role {
    poller: &'static Poller,
    // Given back in this order.
    events: MutexGuard<'static, Vec<(u64, EventFlags)>>,
    _taken: Taken<'static>,
}

impl Role {
    /// Takes events, and waits for some until `deadline` if there are none. Also returns if it is
    /// interrupted. Returns `true` if there are events to [hand out](Self::hand_out).
    pub(crate) fn wait_until(&mut self, deadline: Option<Instant>) -> bool {
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        self.wait(timeout)
    }

    /// Takes the events that are there.
    pub(crate) fn look(&mut self) -> bool {
        self.wait(Some(Duration::ZERO))
    }

    fn wait(&mut self, timeout: Option<Duration>) -> bool {
        self.events.clear();
        let mut places = [const { MaybeUninit::uninit() }; BATCH];
        // A signal is no error: the caller looks again.
        let taken = wait(self.poller.epoll.as_fd(), &mut places, timeout).unwrap_or_default();
        let taken = taken.iter().map(|event| (event.data.u64(), event.flags));
        self.events.extend(taken.filter(|&(token, _)| token != WAKE));
        let now = u64::try_from(self.poller.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.poller.polled.store(now, Ordering::Relaxed);
        !self.events.is_empty()
    }

    /// Hands out the events that were taken. Calls `wake` with each thread that is to run.
    pub(crate) fn hand_out(mut self, mut wake: impl FnMut(Wake)) {
        let on_event = self.poller.hooks.on_event;
        for (token, flags) in self.events.drain(..) {
            on_event(token, Readiness::of(flags), &mut wake);
        }
    }
}

type Places = [MaybeUninit<epoll::Event>; BATCH];

/// Waits in epoll, with a timeout in nanoseconds where the kernel can. Returns the events.
fn wait<'a>(
    epoll: BorrowedFd<'_>,
    places: &'a mut Places,
    timeout: Option<Duration>,
) -> io::Result<&'a [epoll::Event]> {
    static LACKS_PWAIT2: atomic::AtomicBool = atomic::AtomicBool::new(false);
    let fine = timeout.filter(|timeout| timeout.subsec_nanos() % 1_000_000 != 0);
    if let Some(timeout) = fine.filter(|_| !LACKS_PWAIT2.load(Ordering::Relaxed)) {
        let count = wait_finely(epoll, places, timeout);
        let error = || io::Error::last_os_error();
        match usize::try_from(count).map_err(|_| error()) {
            Ok(count) => {
                let events = places[..count].as_ptr().cast::<epoll::Event>();
                // SAFETY: the kernel has written so many.
                return Ok(unsafe { std::slice::from_raw_parts(events, count) });
            }
            // Seccomp filters refuse what they do not know with `EPERM`.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                LACKS_PWAIT2.store(true, Ordering::Relaxed);
            }
            Err(error) => return Err(error),
        }
    }
    // Rounded up: a timer must not be early, and a thread that wakes too early polls again and again.
    let millis = timeout.map(|timeout| timeout.as_nanos().div_ceil(1_000_000));
    let timeout = millis.map(|millis| {
        let millis = i64::try_from(millis).unwrap_or(i64::MAX).min(i64::from(i32::MAX));
        rustix::event::Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 }
    });
    let (events, _) = epoll::wait(epoll, &mut places[..], timeout.as_ref())?;
    Ok(events)
}

/// `epoll_pwait2`. Not rustix's, which has no second way for kernels before 5.11. Returns the number of
/// events that were written, or -1 with an error in `errno`.
fn wait_finely(epoll: BorrowedFd<'_>, places: &mut Places, timeout: Duration) -> libc::c_long {
    let time = libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the kernel writes at most as many events as there are places. The signal mask is null:
    // it stays as it is.
    unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            places.as_mut_ptr(),
            places.len(),
            &raw const time,
            std::ptr::null::<libc::sigset_t>(),
            0usize,
        )
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::{Condvar, Mutex, lock};
    use crate::runtime::idle::{Idle, Summon};
    use loom::sync::Arc;
    use loom::thread;

    /// One place to sleep in, with a flag: a futex or the epoll.
    struct Bed {
        woken: Mutex<bool>,
        changed: Condvar,
    }

    impl Bed {
        fn new() -> Self {
            Self { woken: Mutex::new(false), changed: Condvar::new() }
        }

        fn wake(&self) {
            *lock(&self.woken) = true;
            self.changed.notify_one();
        }

        fn sleep(&self) {
            let mut woken = lock(&self.woken);
            while !std::mem::take(&mut *woken) {
                woken = self.changed.wait(woken).unwrap();
            }
        }

        fn take(&self) -> bool {
            std::mem::take(&mut *lock(&self.woken))
        }
    }

    /// A runtime with some workers, reduced to their sleep.
    struct World {
        idle: Idle,
        seat: Seat,
        futexes: Vec<Bed>,
        /// As in `Parker`.
        in_epoll: AtomicBool,
        epoll: Bed,
        event: AtomicBool,
    }

    impl World {
        fn new(workers: u32) -> Arc<Self> {
            Arc::new(Self {
                idle: Idle::new(workers),
                seat: Seat::new(),
                futexes: (0..workers).map(|_| Bed::new()).collect(),
                in_epoll: AtomicBool::new(false),
                epoll: Bed::new(),
                event: AtomicBool::new(false),
            })
        }

        fn answer(&self, summon: Summon) {
            match summon {
                Summon::Nobody => {}
                Summon::Worker(worker) => {
                    self.futexes[worker as usize].wake();
                    fence(Ordering::SeqCst);
                    if self.in_epoll.load(Ordering::SeqCst) {
                        self.epoll.wake();
                    }
                }
                Summon::Spare => self.idle.spare_failed(),
            }
        }

        /// Sleeps again and again, until the event comes in the epoll.
        fn work(&self, worker: u32) {
            let mut searching = false;
            loop {
                self.idle.sleep(worker, searching);
                if self.seat.is_active() {
                    if let Some(role) = self.seat.try_take() {
                        if self.sleep_in_epoll(worker) {
                            return;
                        }
                        drop(role);
                        searching = true;
                        continue;
                    }
                }
                self.futexes[worker as usize].sleep();
                searching = true;
            }
        }

        /// As `Parker::park_in_epoll`. Returns `true` if there was an event.
        fn sleep_in_epoll(&self, worker: u32) -> bool {
            let futex = &self.futexes[worker as usize];
            self.in_epoll.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            let mut woken = futex.take();
            if !woken {
                self.epoll.sleep();
            }
            self.in_epoll.store(false, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            woken |= futex.take();
            if !woken && !self.idle.wake_self(worker) {
                // Someone owes a wake.
                futex.sleep();
            }
            self.event.load(Ordering::SeqCst)
        }

        fn post_event(&self) {
            self.event.store(true, Ordering::SeqCst);
            self.epoll.wake();
        }

        /// As an OS thread that waits for a descriptor.
        fn register(&self) {
            self.seat.add();
            if self.seat.is_deserted() {
                self.answer(self.idle.notify_outside());
            }
        }
    }

    /// A thread that is no worker registers a descriptor while the last worker goes to sleep: it ends
    /// up asleep in the epoll, where the event finds it.
    #[test]
    fn a_descriptor_does_not_come_too_late() {
        loom::model(|| {
            let world = World::new(1);
            let worker = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.work(0))
            };
            world.register();
            world.post_event();
            worker.join().unwrap();
        });
    }

    /// Sysmon looks for events while the last worker goes to sleep, and finds nothing.
    #[test]
    fn a_look_of_sysmon_leaves_the_role_to_a_sleeper() {
        loom::model(|| {
            let world = World::new(1);
            world.seat.add();
            let worker = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.work(0))
            };
            // As `poll` in `sysmon/run.rs`, again and again while it finds that no worker runs.
            drop(world.seat.try_take());
            if world.idle.is_quiet() && world.seat.is_deserted() {
                world.answer(world.idle.notify_outside());
            }
            // A worker that slept since is seen by the next look, before which sysmon does not sleep.
            drop(world.seat.try_take());
            while !world.idle.is_quiet() {
                thread::yield_now();
            }
            if world.seat.is_deserted() {
                world.answer(world.idle.notify_outside());
            }
            world.post_event();
            worker.join().unwrap();
        });
    }
}
