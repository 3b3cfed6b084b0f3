//! So many threads that wait at once: the same code for all that block.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use peers_kit::process::{self, GiveBack};
use peers_kit::{Job, Report};

use crate::Runtime;
use crate::channel::{Sender, bounded};
use crate::thread::{self, JoinHandle};

/// Starts threads that all wait to receive from one unbuffered channel, looks at what memory they take, and
/// wakes them by dropping the sender. Does so again, now with stacks that were used before, and looks how
/// long the memory takes to go back to the system.
pub(crate) fn parked(job: &Job) -> Report {
    let threads = job.size;
    let each = |time: Duration| time.as_nanos() as f64 / threads as f64;
    Runtime::new(job).run(|| {
        let before = process::memory();
        let first = Wave::begin(threads);
        let parked = process::memory();
        let maps = process::maps();
        let start = each(first.start);
        let (ended, wake) = first.end();

        let again = Wave::begin(threads);
        let peak = parked.max(process::memory());
        let start_again = each(again.start);
        let (ended_again, _) = again.end();

        let mut clock = GiveBack::begin(before, peak);
        while !clock.look() {
            thread::sleep(GiveBack::INTERVAL);
        }
        Report::new(1, ended + ended_again)
            .with("start", start)
            .with("wake", each(wake))
            .with("bytes", parked.saturating_sub(before) as f64 / threads as f64)
            .with("maps", maps as f64)
            .with("start-again", start_again)
            .with("given-back", clock.millis())
    })
}

/// Threads that wait for a channel to be disconnected.
struct Wave {
    sender: Sender<()>,
    handles: Vec<JoinHandle<u64>>,
    /// From the first's start until all have run.
    start: Duration,
}

impl Wave {
    /// Starts them, and returns when all wait.
    fn begin(threads: usize) -> Self {
        let parked = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = bounded::<()>(0);
        let start = Instant::now();
        let thread = |_| {
            let (receiver, parked) = (receiver.clone(), Arc::clone(&parked));
            thread::spawn(move || {
                parked.fetch_add(1, Ordering::Relaxed);
                receiver.recv().expect_err("nothing is sent");
                1
            })
        };
        let handles = (0..threads).map(thread).collect();
        while parked.load(Ordering::Relaxed) < threads {
            thread::yield_now();
        }
        Self { sender, handles, start: start.elapsed() }
    }

    /// Wakes them, and gives how many have ended and how long it took.
    fn end(self) -> (u64, Duration) {
        let start = Instant::now();
        drop(self.sender);
        let ended = self.handles.into_iter().map(|handle| handle.join().unwrap()).sum();
        (ended, start.elapsed())
    }
}
