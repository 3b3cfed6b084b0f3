//! Backoff for waiting for another OS thread to execute a few instructions.

use crate::sys::fork;

/// Backoff for waiting for another OS thread to execute a few instructions. It spins first, then
/// yields the processor, and in the end sleeps, because the other thread may have been preempted by
/// this very thread.
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

    /// Pauses after losing a race, in which the winner made progress, so as not to disturb it.
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
