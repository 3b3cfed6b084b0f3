//! OS threads as waiters: what a green thread has in its control block, an OS thread has here.

use std::cell::{Cell, OnceCell};
use std::num::NonZeroU64;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_utils::Backoff;

use super::locals::Locals;
use super::state::{Commit, Op, TIMED_OUT, WaitCell};
use crate::prim::os_thread::{self, Thread};

/// One OS thread that has waited, or been asked for by `current()`.
#[derive(Debug)]
pub(crate) struct OsThread {
    pub(crate) wait: WaitCell,
    pub(crate) thread: Thread,
    pub(crate) id: NonZeroU64,
}

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
        Arc::new(Self {
            wait: WaitCell::new(),
            thread: os_thread::current(),
            id: crate::sched::next_ids(1),
        })
    }

    /// Blocks the calling OS thread in its armed wait until it is claimed or `deadline` has passed.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) -> Op {
        // A wake often follows within the time that going to sleep would take.
        let backoff = Backoff::new();
        while !cfg!(loom) && !backoff.is_completed() {
            if let Some(op) = self.wait.selected() {
                return op;
            }
            backoff.snooze();
        }
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
