//! The parker: how a thread of the runtime sleeps in the kernel.

use std::sync::atomic::AtomicI32;
use std::thread::{self, Thread};
use std::time::Instant;

use crate::loom::{AtomicBool, Mutex, Ordering, lock};
use crate::sys::tid::os_thread_number;
#[cfg(feature = "io")]
use crate::sys::wake_fd;

/// A flag for which one thread sleeps. Wakes do not add up. A wake that comes before the sleep is
/// kept.
#[derive(Debug)]
pub(crate) struct Parker {
    woken: AtomicBool,
    /// The thread sleeps in epoll instead.
    #[cfg(feature = "io")]
    in_epoll: AtomicBool,
    thread: Mutex<Option<Thread>>,
    /// The system's number of the thread, or zero while there is none.
    number: AtomicI32,
}

impl Parker {
    pub(crate) fn new() -> Self {
        let number = AtomicI32::new(0);
        Self {
            woken: AtomicBool::new(false),
            #[cfg(feature = "io")]
            in_epoll: AtomicBool::new(false),
            thread: Mutex::new(None),
            number,
        }
    }

    /// Makes the calling thread the sleeper of this parker.
    pub(crate) fn adopt(&self) {
        *lock(&self.thread) = Some(thread::current());
        self.number.store(os_thread_number(), Ordering::Relaxed);
    }

    /// Removes the calling thread, which is about to end: the system will give its number to
    /// another thread.
    pub(crate) fn disown(&self) {
        self.number.store(0, Ordering::Release);
    }

    /// Returns the system's number of the sleeper, or zero if there is none.
    pub(crate) fn thread_id(&self) -> i32 {
        self.number.load(Ordering::Relaxed)
    }

    /// Sleeps until woken or until `deadline`. Returns `true` if woken. Called only by the adopted
    /// thread.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        loop {
            if self.woken.swap(false, Ordering::SeqCst) {
                return true;
            }
            match deadline {
                None => thread::park(),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    thread::park_timeout(left);
                }
            }
        }
    }

    /// Calls `sleep`, which sleeps in epoll and returns early for the thread's [`wake_fd`], unless
    /// the thread is woken already. Returns `true` if woken. Called only by the adopted thread.
    ///
    /// Dekker's pattern: this thread sets `in_epoll`, and then reads `woken`; a waker sets `woken`,
    /// and then reads `in_epoll`. So the sleeper sees that it is woken, or the waker sees where it
    /// sleeps.
    #[cfg(feature = "io")]
    pub(crate) fn park_in_epoll(&self, sleep: impl FnOnce()) -> bool {
        self.in_epoll.store(true, Ordering::SeqCst);
        if !self.woken.load(Ordering::SeqCst) {
            sleep();
        }
        self.in_epoll.store(false, Ordering::SeqCst);
        self.woken.swap(false, Ordering::SeqCst)
    }

    /// Stands in for the one above.
    #[cfg(not(feature = "io"))]
    pub(crate) fn park_in_epoll(&self, _sleep: impl FnOnce()) -> bool {
        unreachable!("nothing is registered in epoll")
    }

    pub(crate) fn unpark(&self) {
        self.woken.store(true, Ordering::SeqCst);
        #[cfg(feature = "io")]
        if self.in_epoll.load(Ordering::SeqCst) {
            return wake_fd::wake();
        }
        // Locked after the flag was set: a thread adopted later sees the flag before it sleeps.
        if let Some(thread) = &*lock(&self.thread) {
            thread.unpark();
        }
    }
}
