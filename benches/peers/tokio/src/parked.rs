//! So many tasks that wait at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use peers_kit::process::{self, GiveBack};
use peers_kit::{Job, Report};
use tokio::sync::watch;
use tokio::task::{self, JoinHandle};
use tokio::time;

use crate::run;

/// Starts tasks that all wait for one channel, looks at what memory they take, and wakes them by dropping
/// the sender. Does so again, now with memory that was used before, and looks how long it takes to go back
/// to the system.
pub(crate) fn parked(job: &Job) -> Report {
    let tasks = job.size;
    run(job, async move {
        let each = |time: Duration| time.as_nanos() as f64 / tasks as f64;
        let before = process::memory();
        let first = Wave::begin(tasks).await;
        let parked = process::memory();
        let maps = process::maps();
        let start = each(first.start);
        let (ended, wake) = first.end().await;

        let again = Wave::begin(tasks).await;
        let peak = parked.max(process::memory());
        let start_again = each(again.start);
        let (ended_again, _) = again.end().await;

        let mut clock = GiveBack::begin(before, peak);
        while !clock.look() {
            time::sleep(GiveBack::INTERVAL).await;
        }
        Report::new(1, ended + ended_again)
            .with("start", start)
            .with("wake", each(wake))
            .with("bytes", parked.saturating_sub(before) as f64 / tasks as f64)
            .with("maps", maps as f64)
            .with("start-again", start_again)
            .with("given-back", clock.millis())
    })
}

/// Tasks that wait for a channel to be closed. Of tokio's channels, watch is the one that many can wait for.
struct Wave {
    sender: watch::Sender<()>,
    handles: Vec<JoinHandle<u64>>,
    /// From the first's start until all have run.
    start: Duration,
}

impl Wave {
    /// Starts them, and returns when all wait.
    async fn begin(tasks: usize) -> Self {
        let parked = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = watch::channel(());
        let start = Instant::now();
        let task = |_| {
            let (mut receiver, parked) = (receiver.clone(), Arc::clone(&parked));
            tokio::spawn(async move {
                parked.fetch_add(1, Ordering::Relaxed);
                receiver.changed().await.expect_err("nothing is sent");
                1
            })
        };
        let handles = (0..tasks).map(task).collect();
        while parked.load(Ordering::Relaxed) < tasks {
            task::yield_now().await;
        }
        Self { sender, handles, start: start.elapsed() }
    }

    /// Wakes them, and gives how many have ended and how long it took.
    async fn end(self) -> (u64, Duration) {
        let start = Instant::now();
        drop(self.sender);
        let mut ended = 0;
        for handle in self.handles {
            ended += handle.await.unwrap();
        }
        (ended, start.elapsed())
    }
}
