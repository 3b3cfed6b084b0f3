//! OS threads as waiters: what a green thread has in its control block, an OS thread has here.
//! The very end of an OS thread: after all its thread-locals.
//!
//! A thread-local with a destructor cannot own what is to be there until then. Destructors of thread-locals run one after
//! the other, in an order that depends on which variable was touched first, and those that run later may still ask for
//! it. The destructors of POSIX thread-specific data run after all of them, and in rounds: one that finds its value set
//! again is called in the next round. Every system has four at least, so the last of them comes after the first
//! three rounds of everybody else's. std lets go of `std::thread::current()` in the same way.

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

/// One OS thread that has waited, or been asked for by `current()`.
#[derive(Debug)]
pub(crate) struct OsThread {
    pub(crate) wait: WaitState,
    pub(crate) thread: Thread,
    pub(crate) id: NonZeroU64,
    /// The system's number of it.
    number: i32,
    /// What it waits for, and since when. Written by itself, before it sleeps.
    note: Mutex<Option<(OsWait, Instant)>>,
    /// In how many waits from now on it does not look first, and how often in a row that was in vain. Its own.
    skip: AtomicU32,
    failures: AtomicU32,
    /// The thread that it waits to join, if that is what it waits for. As above.
    joins: Mutex<Option<NonZeroU64>>,
}

/// An OS thread that was seen asleep in gthread.
#[derive(Debug)]
pub(crate) struct OsAsleep {
    thread: Arc<OsThread>,
    /// What no other sleep of this thread has.
    pub(crate) mark: u64,
    pub(crate) wait: OsWait,
    pub(crate) since: Instant,
    /// The green thread that must end first.
    pub(crate) joins: Option<NonZeroU64>,
}

impl OsAsleep {
    /// The system's number of the thread.
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

    /// Ends this wait, if it has no deadline, may be interrupted, and is not over: then the caller wakes the thread.
    #[must_use]
    pub(crate) fn interrupt(&self) -> Option<Thread> {
        let endless = !self.has_deadline() && self.wait.interruptible;
        let claimed = endless && self.thread.wait.claim_asleep(self.mark, TIMED_OUT);
        claimed.then(|| self.thread.thread.clone())
    }
}

/// All that have waited, to find out whether they all sleep. Those that have ended go when others come.
static ALL: Mutex<Vec<Weak<OsThread>>> = Mutex::new(Vec::new());

thread_local! {
    /// The calling OS thread's, which owns a count of it; null until it is asked for. Without a destructor, and so
    /// there as long as the thread runs anything. `end_thread` gives the count back.
    static CURRENT: Cell<*const OsThread> = const { Cell::new(ptr::null()) };
}

impl OsThread {
    /// The calling OS thread's: one from its first call to its end, so that its token, its id, and what a `Once`
    /// remembers of its runner, are its own in the destructors of its thread-locals too.
    ///
    /// Not inlined, and gives out an owned handle: nothing of the thread-local's address remains in
    /// the caller, which may be a green thread about to move.
    #[inline(never)]
    pub(crate) fn current() -> Arc<Self> {
        // Loom runs all threads of a model on one: there each wait has its own.
        if cfg!(loom) {
            return Self::new();
        }
        let mut this = CURRENT.get();
        if this.is_null() {
            this = Arc::into_raw(Self::new());
            CURRENT.set(this);
            arrange();
        }
        // SAFETY: the pointer is from `into_raw`, and the thread owns a count of it as long as `CURRENT` has it.
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

    /// The OS threads that wait in gthread.
    pub(crate) fn all_asleep() -> Vec<OsAsleep> {
        // What ends last with a thread is not dropped under the lock.
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
        // If this is the note of its next wait, the first was over before that was written, which the lock passes on.
        let same = self.wait.asleep_mark() == Some(mark);
        same.then_some(OsAsleep { thread: self, mark, wait, since, joins })
    }

    /// Notes before a wait to join which thread that is for.
    pub(crate) fn note_joined(&self, thread: NonZeroU64) {
        *lock(&self.joins) = Some(thread);
    }

    /// Blocks the calling OS thread in its armed wait until it is claimed or its deadline has passed. It may look for a
    /// moment first whether it is claimed.
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
            // std's token serves us and the user's own `std::thread::park` alike, and we may have
            // taken one that was the user's. Leave one: a spurious return from `park` is allowed, a
            // lost wake is not.
            self.thread.unpark();
        }
        // Not claimed: the deadline has passed.
        self.wait.cancel().unwrap_or(TIMED_OUT)
    }
}

/// The most waits in a row in which a thread does not look, as a power of two.
const MOST_FAILURES: u32 = 9;

impl OsThread {
    /// Looks for some microseconds whether the wait is claimed: a wake often follows within the time that going to sleep would
    /// take. It does where two threads on two processors pass messages to and fro. Elsewhere it is in vain, and costs others the
    /// processor; so after each time that it was, twice as many waits go by until the next.
    ///
    /// Not for a lock, nor where the caller has looked before.
    fn linger(&self) -> Option<WakeReason> {
        if cfg!(loom) {
            return None;
        }
        let skip = self.skip.load(Ordering::Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Ordering::Relaxed);
            return None;
        }
        // Without yields: those that one gets on by running others in between are not worth it.
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
    /// What the calling OS thread keeps in its `green_local!`s. Without a destructor, as `CURRENT`: one that has a
    /// drop cannot be asked for while that runs.
    static LOCALS: Locals = const { Locals::new() };
}

/// The values that the calling OS thread keeps in its `green_local!`s. Valid as long as the OS thread.
///
/// They are dropped with its thread-locals, also those that are initialized in the destructors of those. What is initialized
/// in a third round of these is dropped at the very end, where std's `current` and `park` are no more.
///
/// Not inlined, as [`OsThread::current`].
#[inline(never)]
pub(crate) fn os_locals() -> NonNull<Locals> {
    struct AtExit;

    // One that is being dropped, or was, cannot be used again. Values that are initialized then are the next one's, as
    // long as there is one: so they are dropped while std's thread-locals are still there.
    thread_local! {
        static FIRST: AtExit = const { AtExit };
        static SECOND: AtExit = const { AtExit };
        static THIRD: AtExit = const { AtExit };
    }

    impl Drop for AtExit {
        fn drop(&mut self) {
            arrange();
            // SAFETY: this is the thread's, and all frames that could use a value have ended. A panic aborts
            // the process, as std's thread-locals do.
            LOCALS.with(|locals| unsafe { locals.drop_values() });
        }
    }

    let arranged = [&FIRST, &SECOND, &THIRD].iter().any(|at_exit| at_exit.try_with(|_| ()).is_ok());
    if !arranged {
        arrange();
    }
    LOCALS.with(|locals| NonNull::from(locals))
}

/// Ends what is the calling OS thread's until its very end. By `os_end`.
pub(crate) fn end_thread() {
    // SAFETY: this is the thread's, of which nothing else runs any more. A panic aborts the process.
    LOCALS.with(|locals| unsafe { locals.end() });
    let this = CURRENT.replace(ptr::null());
    if !this.is_null() {
        // SAFETY: the pointer is from the `into_raw` in `current`, whose count is the thread's; nobody finds it any more.
        drop(unsafe { Arc::from_raw(this) });
    }
}

/// `_POSIX_THREAD_DESTRUCTOR_ITERATIONS`: what every system grants. One fewer for `tools/tsan`: ThreadSanitizer
/// forgets the thread in the last round.
const ROUNDS: usize = if cfg!(tsan) { 3 } else { 4 };

/// Arranges for [`crate::task::os_thread::end_thread`] to be called when the calling OS thread ends.
///
/// It is not called, and what it would free stays, once for an OS thread: where the system has no key left or no memory
/// for its value, on a main thread that returns from `main`, and if the first call comes from another key's
/// destructor, when some rounds are over.
pub(crate) fn arrange() {
    if let Some(key) = key() {
        // SAFETY: the key was made, and is never deleted.
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

/// Has the destructor called, and told the round: whether that is possible.
fn set(key: libc::pthread_key_t, round: usize) -> bool {
    // SAFETY: the key was made, and is never deleted. Its values are numbers, not pointers.
    unsafe { libc::pthread_setspecific(key, ptr::without_provenance(round)) == 0 }
}

unsafe extern "C" fn end(round: *mut c_void) {
    let next = round.addr() + 1;
    if next > ROUNDS || !key().is_some_and(|key| set(key, next)) {
        crate::task::os_thread::end_thread();
    }
}
