//! Waiting for a green thread to end, with a timeout.

use std::panic::Location;
use std::result;
use std::thread::Result;
use std::time::{Duration, Instant};

use crate::runtime::shared::Shared;
use crate::runtime::timed_joiners::TimedJoiners;
use crate::task::header::TaskRef;
use crate::task::join_state::JoinState;
use crate::task::wait_info::Reason;
use crate::task::wait_state::WakeReason;
use crate::thread::spawn::{JoinHandle, Joining, RuntimeDropped};
use crate::wait::park::{Wait, may_suspend};

impl<T> JoinHandle<T> {
    /// Like [`join`](Self::join), but waits for no longer than `timeout`, and returns the handle if
    /// the thread has not ended by then. A timeout of zero does not wait.
    ///
    /// # Errors
    ///
    /// Returns the handle if the time is over. `Ok` contains the result of [`join`](Self::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use gthread::{channel, go};
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = channel::bounded::<u32>(0);
    /// let thread = go!(move || rx.recv().unwrap() + 1);
    /// // It waits for a message.
    /// let thread = thread.join_timeout(Duration::from_millis(5)).unwrap_err();
    /// tx.send(1).unwrap();
    /// match thread.join_timeout(Duration::from_secs(60)) {
    ///     Ok(result) => assert_eq!(result.unwrap(), 2),
    ///     Err(_handle) => unreachable!("a minute is enough"),
    /// }
    /// ```
    #[track_caller]
    pub fn join_timeout(self, timeout: Duration) -> result::Result<Result<T>, Self> {
        self.join_timeout_at(timeout, Location::caller())
    }

    pub(crate) fn join_timeout_at(
        self,
        timeout: Duration,
        site: &'static Location<'static>,
    ) -> result::Result<Result<T>, Self> {
        // A deadline that the clock cannot represent means no deadline.
        match Instant::now().checked_add(timeout) {
            None => Ok(self.join_at(site)),
            Some(deadline) => match wait_until(self.task(), deadline, site) {
                Outcome::Ended => Ok(self.join_at(site)),
                Outcome::Never => {
                    // As in `join`, which does not detach in this case.
                    std::mem::forget(self);
                    Ok(Err(Box::new(RuntimeDropped.text())))
                }
                Outcome::TimedOut => Err(self),
            },
        }
    }
}

enum Outcome {
    Ended,
    TimedOut,
    /// It will never end, because its runtime was dropped.
    Never,
}

/// Blocks until `task` is done or `deadline` has passed. The caller holds the task's handle.
fn wait_until(task: TaskRef, deadline: Instant, site: &'static Location<'static>) -> Outcome {
    may_suspend(site);
    let shared = Shared::of(&task);
    loop {
        if task.join.is_done() {
            return Outcome::Ended;
        }
        if Instant::now() >= deadline {
            return Outcome::TimedOut;
        }
        let Some(joining) = Joining::arm(task, site) else {
            return match task.join.is_done() {
                true => Outcome::Ended,
                false => Outcome::Never,
            };
        };
        sleep(&joining.wait, (task, &task.join), &shared.timed_joiners, Some(deadline), site);
        // It has ended, the time is over, or the runtime was dropped; or this thread was woken in
        // vain.
    }
}

/// Sleeps in an armed wait until the task has ended or `deadline` has passed; may be woken in vain.
/// When this returns, the waiter is not registered with the task any more.
fn sleep(
    wait: &Wait,
    (task, word): (TaskRef, &JoinState),
    joiners: &TimedJoiners,
    deadline: Option<Instant>,
    site: &'static Location<'static>,
) -> WakeReason {
    joiners.enter(task, wait.waiter());
    let op = if word.announce_timed() {
        wait.park(Reason::Join, deadline, site)
    } else {
        wait.cancel().unwrap_or(0)
    };
    joiners.leave(task);
    op
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::{AtomicUsize, Ordering};
    use crate::task::join_state::Finish;
    use crate::task::wait_state::TIMED_OUT;
    use loom::sync::Arc;
    use loom::thread;
    use std::ptr::NonNull;

    struct World {
        word: JoinState,
        joiners: TimedJoiners,
        ended: AtomicUsize,
    }

    fn task() -> TaskRef {
        // SAFETY: only its address is used, for comparison.
        unsafe { TaskRef::from_raw(NonNull::dangling()) }
    }

    impl World {
        fn new() -> Arc<Self> {
            let ended = AtomicUsize::new(0);
            Arc::new(Self { word: JoinState::begun(), joiners: TimedJoiners::default(), ended })
        }

        /// Ends the task, like the worker does.
        fn finish(&self) {
            self.ended.store(1, Ordering::Relaxed);
            let Finish::Handed { timed, .. } = self.word.finish() else { unreachable!() };
            if timed {
                self.joiners.claim(task()).into_iter().for_each(crate::runtime::handle::wake);
            }
        }

        /// Waits like a joiner. Returns `true` if the task has ended.
        fn wait_once(&self, deadline: Option<Instant>) -> bool {
            let site = Location::caller();
            let wait = Wait::arm(site);
            let op = sleep(&wait, (task(), &self.word), &self.joiners, deadline, site);
            assert!(self.word.is_done() || op == TIMED_OUT, "woken for nothing");
            if self.word.is_done() {
                assert_eq!(self.ended.load(Ordering::Relaxed), 1, "its effects are seen");
            }
            self.word.is_done()
        }
    }

    #[test]
    fn an_end_is_not_missed() {
        loom::model(|| {
            let world = World::new();
            let finisher = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.finish())
            };
            assert!(world.wait_once(None));
            finisher.join().unwrap();
        });
    }

    /// A joiner that times out leaves no waiter behind, and may wait again.
    #[test]
    fn a_joiner_may_leave_and_come_back() {
        loom::model(|| {
            let world = World::new();
            let finisher = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.finish())
            };
            let over = Some(Instant::now());
            assert!(world.wait_once(over) || world.wait_once(None));
            finisher.join().unwrap();
            assert!(world.joiners.is_empty());
        });
    }
}
