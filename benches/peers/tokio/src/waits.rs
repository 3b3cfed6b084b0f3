//! How late tasks are woken, from outside and by timers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use peers_kit::{Job, Report, Waits, kernel, process};
use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinHandle};
use tokio::time;

use crate::{run, runtime};

/// An OS thread wakes a task that waits for a message, so many times, with pauses in which the workers fall
/// asleep.
pub(crate) fn wake(job: &Job) -> Report {
    const PAUSE: Duration = Duration::from_micros(300);
    let runtime = runtime(job);
    let (sender, mut receiver) = mpsc::unbounded_channel::<Instant>();
    let woken = runtime.spawn(async move {
        let mut waits = Waits::default();
        while let Some(sent) = receiver.recv().await {
            waits.add(sent.elapsed());
        }
        waits
    });
    for _ in 0..job.size {
        std::thread::sleep(PAUSE);
        sender.send(Instant::now()).unwrap();
    }
    drop(sender);
    let waits = runtime.block_on(woken).unwrap();
    Report::new(1, waits.count()).with_waits(&waits)
}

/// So many tasks sleep at once, each until a moment of its own. They begin when all have started; the first
/// is due after four times as many microseconds as there are sleepers, the last after six times.
pub(crate) fn timers(job: &Job) -> Report {
    #[derive(Default)]
    struct Gate {
        ready: AtomicU64,
        opened: OnceLock<Instant>,
    }
    let size = job.size as u64;
    run(job, async move {
        let gate = Arc::new(Gate::default());
        let (door, closed) = watch::channel(());
        let start = |i| {
            let (gate, mut closed) = (Arc::clone(&gate), closed.clone());
            tokio::spawn(async move {
                gate.ready.fetch_add(1, Ordering::Relaxed);
                closed.changed().await.expect_err("nothing is sent");
                let opened = *gate.opened.get().expect("it was opened before the door");
                let due =
                    opened + Duration::from_micros(4 * size + kernel::scramble(i) % (2 * size));
                time::sleep_until(due.into()).await;
                due.elapsed()
            })
        };
        let sleepers: Vec<JoinHandle<Duration>> = (0..size).map(start).collect();
        while gate.ready.load(Ordering::Relaxed) < size {
            task::yield_now().await;
        }
        let before = process::cpu_time();
        gate.opened.set(Instant::now()).expect("it is opened once");
        drop(door);
        let mut late = Waits::default();
        for sleeper in sleepers {
            late.add(sleeper.await.unwrap());
        }
        let cpu = (process::cpu_time() - before).as_nanos() as f64 / size as f64;
        Report::new(1, late.count()).with("cpu", cpu).with_waits(&late)
    })
}
