//! Sysmon as other threads see it: flags, and a way to wake it.

use std::thread;

use crate::loom::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::sys::parker::Parker;

/// The side of the monitor that other threads see.
#[derive(Debug)]
pub(crate) struct Sysmon {
    pub(crate) parker: Parker,
    /// It sleeps until stirred.
    pub(crate) dormant: AtomicBool,
    /// Spares asked for and not yet started.
    pub(crate) spares_wanted: AtomicUsize,
    /// It has said on stderr that a spare could not be started; once is enough.
    pub(crate) complained: AtomicBool,
    /// It has taken tasks from a stuck worker, and nobody has said that he has them.
    pub(crate) taken_over: AtomicBool,
    /// Work waits behind tasks that compute.
    pub(crate) stalled: AtomicBool,
    /// A worker that was covered has come back, while work waited.
    pub(crate) progress: AtomicBool,
    /// How many OS threads the machine runs at once.
    pub(crate) processors: usize,
}

impl Sysmon {
    pub(crate) fn new() -> Self {
        Self {
            processors: thread::available_parallelism().map_or(1, usize::from),
            parker: Parker::new(),
            dormant: AtomicBool::new(false),
            spares_wanted: AtomicUsize::new(0),
            complained: AtomicBool::new(false),
            taken_over: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            progress: AtomicBool::new(false),
        }
    }

    /// A worker is awake: the monitor should be too.
    pub(crate) fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.dormant.load(Ordering::Relaxed) {
            self.parker.unpark();
        }
    }

    /// Wakes it whatever it sleeps for.
    pub(crate) fn unpark(&self) {
        self.parker.unpark();
    }

    /// Whether it sleeps until stirred. What it did before is seen.
    pub(crate) fn is_dormant(&self) -> bool {
        self.dormant.load(Ordering::Acquire) && self.spares_wanted.load(Ordering::Acquire) == 0
    }

    /// Whether it has taken tasks from a stuck worker since this was last asked: the one that just came out of the
    /// injector is probably one of them.
    pub(crate) fn has_taken_over(&self) -> bool {
        self.taken_over.load(Ordering::Relaxed) && self.taken_over.swap(false, Ordering::Relaxed)
    }

    /// It has taken tasks from a worker, which was not covered: then that is to be judged.
    pub(crate) fn note_takeover(&self, to_judge: bool) {
        self.taken_over.fetch_or(to_judge, Ordering::Relaxed);
    }

    /// A worker that was covered has come back, while work waited.
    pub(crate) fn note_progress(&self) {
        self.progress.store(true, Ordering::Relaxed);
    }

    /// Whether that was noted since this was last asked.
    pub(crate) fn take_progress(&self) -> bool {
        self.progress.load(Ordering::Relaxed) && self.progress.swap(false, Ordering::Relaxed)
    }

    /// Whether work waits behind tasks that compute: a hint for those who come to help.
    pub(crate) fn sees_stall(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    pub(crate) fn note_stall(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    /// The system's number of its OS thread.
    pub(crate) fn thread_id(&self) -> i32 {
        self.parker.thread_id()
    }

    pub(crate) fn request_spare(&self) {
        self.spares_wanted.fetch_add(1, Ordering::SeqCst);
        self.parker.unpark();
    }
}
