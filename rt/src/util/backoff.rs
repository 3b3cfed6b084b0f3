//! Backoff while waiting for a few instructions of another OS thread.

use crate::sys::fork;

/// A wait for another OS thread to advance by a few instructions. It spins first, then yields the
/// processor, and finally sleeps, because this very thread may have preempted the other.
pub(crate) struct Backoff {
    #[cfg(not(loom))]
    backoff: crossbeam_utils::Backoff,
    #[cfg(not(loom))]
    naps: u32,
}

#[cfg(not(loom))]
impl Backoff {
    const YIELDS: u32 = 64;
    const NAP: std::time::Duration = std::time::Duration::from_micros(50);

    pub(crate) fn new() -> Self {
        Self { backoff: crossbeam_utils::Backoff::new(), naps: 0 }
    }

    /// Pauses after a lost race, so as not to disturb the winner, which made progress.
    pub(crate) fn lost(&mut self) {
        self.backoff.spin();
    }

    pub(crate) fn wait(&mut self) {
        if self.backoff.is_completed() {
            self.naps += 1;
        }
        if self.naps > Self::YIELDS {
            if fork::is_child() {
                fork::end(format_args!(
                    "a thread waits for another, which had a lock for some instructions"
                ));
            }
            std::thread::sleep(Self::NAP);
        } else {
            self.backoff.snooze();
        }
    }
}

#[cfg(loom)]
impl Backoff {
    pub(crate) fn new() -> Self {
        Self {}
    }

    pub(crate) fn lost(&mut self) {}

    pub(crate) fn wait(&mut self) {
        loom::thread::yield_now();
    }
}
