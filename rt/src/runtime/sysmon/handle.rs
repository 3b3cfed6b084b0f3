//! Sysmon as other threads see it: flags, and a way to wake it.

use std::thread;

use crate::loom::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::sys::parker::Parker;

/// The side of sysmon that other threads see.
#[derive(Debug)]
pub(crate) struct Sysmon {
    pub(crate) parker: Parker,
    /// Sysmon sleeps until it is notified.
    pub(crate) dormant: AtomicBool,
    /// Spares asked for and not yet started.
    pub(crate) spares_wanted: AtomicUsize,
    /// Sysmon has reported on stderr that a spare could not be started; once is enough.
    pub(crate) complained: AtomicBool,
    /// Sysmon has taken tasks from a stuck worker, and no worker has claimed to have found them.
    pub(crate) taken_over: AtomicBool,
    /// Work waits behind tasks that compute.
    stalled: AtomicBool,
    /// A retaken worker has come back while work waited.
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

    /// Wakes sysmon if it is dormant, because a worker is awake.
    pub(crate) fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.dormant.load(Ordering::Relaxed) {
            self.parker.unpark();
        }
    }

    /// Wakes sysmon, whatever it sleeps for.
    pub(crate) fn unpark(&self) {
        self.parker.unpark();
    }

    /// Returns `true` if sysmon sleeps until it is notified. The caller sees what sysmon did
    /// before.
    pub(crate) fn is_dormant(&self) -> bool {
        self.dormant.load(Ordering::Acquire) && self.spares_wanted.load(Ordering::Acquire) == 0
    }

    /// Returns `true` if sysmon has taken tasks from a stuck worker since the last call. The task
    /// that just came out of the injector is probably one of them.
    pub(crate) fn has_taken_over(&self) -> bool {
        self.taken_over.load(Ordering::Relaxed) && self.taken_over.swap(false, Ordering::Relaxed)
    }

    /// Notes that sysmon has taken tasks from a worker. With `to_judge`, the worker was not
    /// retaken, and the takeover is to be judged.
    pub(crate) fn note_takeover(&self, to_judge: bool) {
        self.taken_over.fetch_or(to_judge, Ordering::Relaxed);
    }

    /// Notes that a retaken worker has come back while work waited.
    pub(crate) fn note_progress(&self) {
        self.progress.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if progress was noted since the last call.
    pub(crate) fn take_progress(&self) -> bool {
        self.progress.load(Ordering::Relaxed) && self.progress.swap(false, Ordering::Relaxed)
    }

    /// Returns `true` if work waits behind tasks that compute. A hint for workers that come to
    /// help.
    pub(crate) fn sees_stall(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    pub(crate) fn note_stall(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Returns the system's number of sysmon's OS thread.
    pub(crate) fn thread_id(&self) -> i32 {
        self.parker.thread_id()
    }

    pub(crate) fn request_spare(&self) {
        self.spares_wanted.fetch_add(1, Ordering::SeqCst);
        self.parker.unpark();
    }
}
