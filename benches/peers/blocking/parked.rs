//! So many threads that wait at once: the same code for all that block.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use peers_kit::process::{self, GiveBack};
use peers_kit::{Job, Report};

use crate::channel::{Sender, bounded};
use crate::{Runtime, WaitGroup, thread};

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
    threads: WaitGroup,
    counts: Arc<Counts>,
    /// From the first's start until all have run.
    start: Duration,
}

#[derive(Default)]
struct Counts {
    parked: AtomicUsize,
    woken: AtomicUsize,
}

impl Wave {
    /// Starts them, and returns when all wait.
    fn begin(threads: usize) -> Self {
        let (group, counts) = (WaitGroup::new(), Arc::new(Counts::default()));
        let (sender, receiver) = bounded::<()>(0);
        let start = Instant::now();
        for _ in 0..threads {
            let (receiver, counts) = (receiver.clone(), Arc::clone(&counts));
            group.go(move || {
                counts.parked.fetch_add(1, Ordering::Relaxed);
                receiver.recv().expect_err("nothing is sent");
                counts.woken.fetch_add(1, Ordering::Relaxed);
            });
        }
        while counts.parked.load(Ordering::Relaxed) < threads {
            thread::yield_now();
        }
        Self { sender, threads: group, counts, start: start.elapsed() }
    }

    /// Wakes them, and gives how many have ended and how long it took.
    fn end(self) -> (u64, Duration) {
        let start = Instant::now();
        drop(self.sender);
        self.threads.wait();
        (self.counts.woken.load(Ordering::Relaxed) as u64, start.elapsed())
    }
}
