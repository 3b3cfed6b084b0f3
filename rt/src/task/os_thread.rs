//! OS threads as waiters. An OS thread keeps here what a green thread has in its control block.
//! Also the very end of an OS thread: code that runs after all its thread-locals are gone.
//!
//! A thread-local with a destructor cannot own data that must exist until the very end. The
//! destructors of thread-locals run one after the other, in an order that depends on which variable
//! was touched first, and later ones may still ask for the data. The destructors of POSIX
//! thread-specific data run after all of them, in rounds: a destructor that finds its value set
//! again is called in the next round. Every system has at least four rounds, so the last one comes
//! after the first three rounds of all other keys. std drops `std::thread::current()` in the same
//! way.

use std::cell::Cell;
use std::ffi::c_void;
use std::num::NonZeroU64;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use crossbeam_utils::Backoff;

use crate::loom::os_thread::{self, Thread};
use crate::sys::tid::os_thread_number;
use crate::task::locals::Locals;
use crate::task::wait_info::{OsWait, Reason};
use crate::task::wait_state::{Commit, TIMED_OUT, WaitState, WakeReason};

/// An OS thread that has waited, or for which `current()` was called.
#[derive(Debug)]
pub(crate) struct OsThread {
    pub(crate) wait: WaitState,
    pub(crate) thread: Thread,
    pub(crate) id: NonZeroU64,
    /// The system's number of the thread.
    number: i32,
    /// The wait that the thread is in, and its start. Written by the thread itself, before it
    /// sleeps.
    note: Mutex<Option<(OsWait, Instant)>>,
    /// The number of waits from now on in which the thread does not linger. Used only by the thread
    /// itself.
    skip: AtomicU32,
    /// The number of times in a row that the thread lingered and was not claimed. Used only by the
    /// thread itself.
    failures: AtomicU32,
    /// The thread that it waits to join, if its wait is for that. Written by the thread itself,
    /// before it sleeps.
    joins: Mutex<Option<NonZeroU64>>,
}

/// An OS thread that was seen asleep in gthread.
#[derive(Debug)]
pub(crate) struct OsAsleep {
    thread: Arc<OsThread>,
    /// A number that no other sleep of this thread has.
    pub(crate) mark: u64,
    pub(crate) wait: OsWait,
    pub(crate) since: Instant,
    /// The green thread that must end first.
    pub(crate) joins: Option<NonZeroU64>,
}

impl OsAsleep {
    /// Returns the system's number of the thread.
    pub(crate) fn number(&self) -> i32 {
        self.thread.number
    }

    pub(crate) fn id(&self) -> NonZeroU64 {
        self.thread.id
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.thread.thread.name()
    }

    pub(crate) fn has_deadline(&self) -> bool {
        self.wait.deadline.is_some()
    }

    /// Ends this wait, if it has no deadline, may be interrupted, and is not over. Returns the
    /// thread then, which the caller wakes.
    #[must_use]
    pub(crate) fn interrupt(&self) -> Option<Thread> {
        let endless = !self.has_deadline() && self.wait.interruptible;
        let claimed = endless && self.thread.wait.claim_asleep(self.mark, TIMED_OUT);
        claimed.then(|| self.thread.thread.clone())
    }
}

/// All OS threads that have waited, to find out whether they all sleep. Entries of ended threads
/// are removed when the list would grow.
static ALL: Mutex<Vec<Weak<OsThread>>> = Mutex::new(Vec::new());

thread_local! {
    /// The calling OS thread's record, of which the thread owns a count. Null until it is asked
    /// for. It has no destructor, so it exists as long as the thread runs anything. `end_thread`
    /// gives the count back.
    static CURRENT: Cell<*const OsThread> = const { Cell::new(ptr::null()) };
}

impl OsThread {
    /// Returns the calling OS thread's record. It is the same from the first call to the thread's
    /// end. So its token, its id, and the runner that a `Once` remembers also remain its own in the
    /// destructors of its thread-locals.
    ///
    /// Not inlined, and returns an owned handle: no address of the thread-local remains in the
    /// caller, which may be a green thread about to move.
    #[inline(never)]
    pub(crate) fn current() -> Arc<Self> {
        // Loom runs all threads of a model on one OS thread, so each wait gets a record of its own.
        if cfg!(loom) {
            return Self::new();
        }
        let mut this = CURRENT.get();
        if this.is_null() {
            this = Arc::into_raw(Self::new());
            CURRENT.set(this);
            arrange();
        }
        // SAFETY: the pointer is from `into_raw`, and the thread owns a count of it as long as it
        // is in `CURRENT`. The increment makes the second count, which `from_raw` takes.
        unsafe {
            Arc::increment_strong_count(this);
            Arc::from_raw(this)
        }
    }

    fn new() -> Arc<Self> {
        let new = Arc::new(Self {
            wait: WaitState::new(),
            thread: os_thread::current(),
            id: crate::task::id::next_ids(1),
            number: os_thread_number(),
            note: Mutex::new(None),
            skip: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            joins: Mutex::new(None),
        });
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(|thread| thread.strong_count() > 0);
        }
        all.push(Arc::downgrade(&new));
        new
    }

    /// Returns the OS threads that wait in gthread.
    pub(crate) fn all_asleep() -> Vec<OsAsleep> {
        // Collected first, so that the last count of an ended thread is not dropped under the lock.
        let all: Vec<_> = {
            let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        all.into_iter().filter_map(Self::asleep).collect()
    }

    fn asleep(self: Arc<Self>) -> Option<OsAsleep> {
        let mark = self.wait.asleep_mark()?;
        let (wait, since) = (*lock(&self.note))?;
        let joins = lock(&self.joins).filter(|_| matches!(wait.reason, Reason::Join | Reason::Run));
        // If the note is of a later wait, the first wait was over before the note was written. The
        // note's lock makes that visible here.
        let same = self.wait.asleep_mark() == Some(mark);
        same.then_some(OsAsleep { thread: self, mark, wait, since, joins })
    }

    /// Notes which thread the next wait joins. Called before that wait.
    pub(crate) fn note_joined(&self, thread: NonZeroU64) {
        *lock(&self.joins) = Some(thread);
    }

    /// Blocks the calling OS thread in its armed wait until the wait is claimed or its deadline has
    /// passed. If `looks`, the thread may first spin for a moment for the claim.
    #[inline(never)]
    pub(crate) fn sleep(&self, wait: OsWait, looks: bool) -> WakeReason {
        let deadline = wait.deadline;
        if let Some(op) = looks.then(|| self.linger()).flatten() {
            return op;
        }
        *lock(&self.note) = Some((wait, Instant::now()));
        if self.wait.commit() == Commit::Parked {
            loop {
                match deadline {
                    None => os_thread::park(),
                    Some(deadline) => {
                        let left = deadline.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            break;
                        }
                        os_thread::park_timeout(left);
                    }
                }
                if self.wait.selected().is_some() {
                    break;
                }
            }
            // std's token serves gthread and the user's own `std::thread::park` alike, and this
            // loop may have taken a token that was the user's. So leave one: a spurious return from
            // `park` is allowed, a lost wakeup is not.
            self.thread.unpark();
        }
        // `None`: not claimed, so the deadline has passed.
        self.wait.cancel().unwrap_or(TIMED_OUT)
    }
}

/// The limit of `failures`: at most 2^9 - 1 waits in a row go without lingering.
const MOST_FAILURES: u32 = 9;

impl OsThread {
    /// Spins for a few microseconds for the claim. A wake often follows within the time that going
    /// to sleep would take, as when two threads on two processors pass messages to and fro.
    /// Elsewhere spinning gains nothing, and takes the processor from others. So after each failure
    /// in a row, twice as many waits go by until the next attempt.
    ///
    /// Not for locks, nor for callers that have spun already.
    fn linger(&self) -> Option<WakeReason> {
        if cfg!(loom) {
            return None;
        }
        let skip = self.skip.load(Ordering::Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Ordering::Relaxed);
            return None;
        }
        // Without yields: a wake that comes only after others have run in between is not worth it.
        let backoff = Backoff::new();
        for _ in 0..8 {
            if let op @ Some(_) = self.wait.selected() {
                self.failures.store(0, Ordering::Relaxed);
                return op;
            }
            backoff.spin();
        }
        let failures = self.failures.load(Ordering::Relaxed);
        self.failures.store(MOST_FAILURES.min(failures + 1), Ordering::Relaxed);
        self.skip.store((1 << failures) - 1, Ordering::Relaxed);
        None
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// The calling OS thread's `green_local!`s. Like `CURRENT`, it has no destructor: a
    /// thread-local with a destructor cannot be accessed while that runs.
    static LOCALS: Locals = const { Locals::new() };
}

/// Returns the values that the calling OS thread keeps in its `green_local!`s. Valid as long as the
/// OS thread.
///
/// They are dropped with the thread's thread-locals, including values that are initialized in the
/// destructors of thread-locals. Values that are initialized in a third round are dropped at the
/// very end, where std's `current` and `park` no longer work.
///
/// Not inlined, like [`OsThread::current`].
#[inline(never)]
pub(crate) fn os_locals() -> NonNull<Locals> {
    struct AtExit;

    // A thread-local that is being dropped, or was, cannot be used again. Values that are
    // initialized then belong to the next of these, as long as there is one. So they are dropped
    // while std's thread-locals still exist.
    thread_local! {
        static FIRST: AtExit = const { AtExit };
        static SECOND: AtExit = const { AtExit };
        static THIRD: AtExit = const { AtExit };
    }

    impl Drop for AtExit {
        fn drop(&mut self) {
            arrange();
            // SAFETY: this is the list of the calling thread, and all frames that could use a value
            // have ended. A panic aborts the process, as in std's thread-locals.
            LOCALS.with(|locals| unsafe { locals.drop_values() });
        }
    }

    let arranged = [&FIRST, &SECOND, &THIRD].iter().any(|at_exit| at_exit.try_with(|_| ()).is_ok());
    if !arranged {
        arrange();
    }
    LOCALS.with(|locals| NonNull::from(locals))
}

/// Frees what the calling OS thread keeps until its very end. Called by [`end`].
fn end_thread() {
    // SAFETY: this is the list of the calling thread, which runs nothing else any more. A panic
    // aborts the process.
    LOCALS.with(|locals| unsafe { locals.end() });
    let this = CURRENT.replace(ptr::null());
    if !this.is_null() {
        // SAFETY: the pointer is from the `into_raw` in `current`, whose count belongs to the
        // thread. It is no longer in `CURRENT`, so the count is dropped once.
        drop(unsafe { Arc::from_raw(this) });
    }
}

/// `_POSIX_THREAD_DESTRUCTOR_ITERATIONS`: the number of rounds that every system grants. One fewer
/// for `tools/tsan`: ThreadSanitizer forgets the thread in the last round.
const ROUNDS: usize = if cfg!(tsan) { 3 } else { 4 };

/// Arranges for [`end_thread`] to be called when the calling OS thread ends.
///
/// In some cases the call is not made, and the memory leaks, once for an OS thread: if the system
/// has no key left or no memory for its value; on a main thread that returns from `main`; if the
/// first call of this function comes from another key's destructor, after some rounds.
fn arrange() {
    if let Some(key) = key() {
        // SAFETY: the key was created, and is never deleted.
        if unsafe { libc::pthread_getspecific(key) }.is_null() {
            set(key, 1);
        }
    }
}

fn key() -> Option<libc::pthread_key_t> {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the key's place is ours, and the destructor may be called on any thread.
        let made = unsafe { libc::pthread_key_create(&raw mut key, Some(end)) };
        (made == 0).then_some(key)
    })
}

/// Has the destructor called with this round's number. Returns `false` if that is not possible.
fn set(key: libc::pthread_key_t, round: usize) -> bool {
    // SAFETY: the key was created, and is never deleted. Its values are numbers, not pointers.
    unsafe { libc::pthread_setspecific(key, ptr::without_provenance(round)) == 0 }
}

unsafe extern "C" fn end(round: *mut c_void) {
    let next = round.addr() + 1;
    if next > ROUNDS || !key().is_some_and(|key| set(key, next)) {
        crate::task::os_thread::end_thread();
    }
}
