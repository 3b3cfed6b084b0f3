//! OS threads as waiters: what a green thread has in its control block, an OS thread has here.

use std::cell::{Cell, OnceCell};
use std::num::NonZeroU64;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use super::linger::Linger;
use super::locals::Locals;
use super::state::{Commit, Op, TIMED_OUT, WaitCell};
use crate::prim::os_thread::{self, Thread};
use crate::prim::{AtomicBool, Ordering};

/// One OS thread that has waited, or been asked for by `current()`.
#[derive(Debug)]
pub(crate) struct OsThread {
    pub(crate) wait: WaitCell,
    pub(crate) thread: Thread,
    pub(crate) id: NonZeroU64,
    /// The system's number of it.
    number: i32,
    /// Its wait has a deadline. Written by itself, before it sleeps.
    timed: AtomicBool,
    linger: Linger,
}

/// All that have waited, to find out whether they all sleep. Those that have ended go when others come.
static ALL: Mutex<Vec<Weak<OsThread>>> = Mutex::new(Vec::new());

impl OsThread {
    /// The calling OS thread's.
    ///
    /// Not inlined, and gives out an owned handle: nothing of the thread-local's address remains in
    /// the caller, which may be a green thread about to move.
    #[inline(never)]
    pub(crate) fn current() -> Arc<Self> {
        // Loom runs all threads of a model on one: there each wait has its own.
        if cfg!(loom) {
            return Self::new();
        }
        thread_local! {
            static CURRENT: OnceCell<Arc<OsThread>> = const { OnceCell::new() };
        }
        CURRENT
            .try_with(|current| Arc::clone(current.get_or_init(Self::new)))
            // While the thread's locals are being destroyed a new one serves for the one wait.
            .unwrap_or_else(|_| Self::new())
    }

    fn new() -> Arc<Self> {
        let new = Arc::new(Self {
            wait: WaitCell::new(),
            thread: os_thread::current(),
            id: crate::sched::next_ids(1),
            number: os_thread_number(),
            timed: AtomicBool::new(false),
            linger: Linger::new(),
        });
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(|thread| thread.strong_count() > 0);
        }
        all.push(Arc::downgrade(&new));
        new
    }

    /// The OS threads that wait in gthread without a deadline: the system's number, ours, and that of the wait.
    pub(crate) fn all_asleep() -> Vec<(i32, NonZeroU64, u64)> {
        let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let asleep = all.iter().filter_map(Weak::upgrade).filter_map(|thread| {
            let wait = thread.wait.asleep_mark()?;
            // Acquire: if this is the next wait's already, a second look sees that the first is over.
            let timed = thread.timed.load(Ordering::Acquire);
            (!timed).then_some((thread.number, thread.id, wait))
        });
        asleep.collect()
    }

    /// Blocks the calling OS thread in its armed wait until it is claimed or `deadline` has passed.
    #[inline(never)]
    pub(crate) fn sleep(&self, deadline: Option<Instant>) -> Op {
        // In a model it would be looks at the same word, one after the other.
        let claimed = if cfg!(loom) { None } else { self.linger.look(|| self.wait.selected()) };
        if let Some(op) = claimed {
            return op;
        }
        self.timed.store(deadline.is_some(), Ordering::Release);
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

/// The system's number of the calling OS thread; zero, which none has, where it does not say.
pub(crate) fn os_thread_number() -> i32 {
    #[cfg(target_os = "linux")]
    // SAFETY: gettid has no preconditions.
    return unsafe { libc::syscall(libc::SYS_gettid) } as i32;
    #[cfg(not(target_os = "linux"))]
    0
}

/// The values that the calling OS thread keeps in its `green_local!`s; `None` once they have been dropped.
/// Valid as long as the OS thread.
///
/// Not inlined, as [`OsThread::current`].
#[inline(never)]
pub(crate) fn os_locals() -> Option<NonNull<Locals>> {
    /// Ends them with the thread. They cannot do so themselves, because a thread-local that has a drop cannot
    /// be asked for while that runs.
    struct AtExit;

    thread_local! {
        static LOCALS: Locals = const { Locals::new() };
        static ENDED: Cell<bool> = const { Cell::new(false) };
        static AT_EXIT: AtExit = const { AtExit };
    }

    impl Drop for AtExit {
        fn drop(&mut self) {
            // SAFETY: this is the thread's, and all frames that could use a value have ended. A panic aborts
            // the process, as std's thread-locals do.
            LOCALS.with(|locals| unsafe { locals.end() });
            ENDED.set(true);
        }
    }

    // Arranges for it to be dropped; no matter if that is happening now.
    let _ = AT_EXIT.try_with(|_| ());
    (!ENDED.get()).then(|| LOCALS.with(|locals| NonNull::from(locals)))
}
