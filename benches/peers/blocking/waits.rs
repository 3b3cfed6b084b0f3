//! How late threads are woken, from outside and by timers: the same code for all that block.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use peers_kit::{Job, Report, Waits, kernel, process};

use crate::Runtime;
use crate::channel::{bounded, unbounded};
use crate::thread::{self, JoinHandle};

/// An OS thread wakes one that waits for a message, so many times, with pauses in which the workers fall
/// asleep.
pub(crate) fn wake(job: &Job) -> Report {
    const PAUSE: Duration = Duration::from_micros(300);
    let runtime = Runtime::new(job);
    let (sender, receiver) = unbounded::<Instant>();
    let woken = runtime.spawn(move || {
        let mut waits = Waits::default();
        receiver.iter().for_each(|sent| waits.add(sent.elapsed()));
        waits
    });
    for _ in 0..job.size {
        std::thread::sleep(PAUSE);
        sender.send(Instant::now()).unwrap();
    }
    drop(sender);
    let waits = woken.join().unwrap();
    Report::new(1, waits.count()).with_waits(&waits)
}

/// So many threads sleep at once, each until a moment of its own. They begin when all have started; the
/// first is due after four times as many microseconds as there are sleepers, the last after six times.
pub(crate) fn timers(job: &Job) -> Report {
    #[derive(Default)]
    struct Gate {
        ready: AtomicU64,
        opened: OnceLock<Instant>,
    }
    let size = job.size as u64;
    Runtime::new(job).run(|| {
        let gate = Arc::new(Gate::default());
        let (door, closed) = bounded::<()>(0);
        let start = |i| {
            let (gate, closed) = (Arc::clone(&gate), closed.clone());
            thread::spawn(move || {
                gate.ready.fetch_add(1, Ordering::Relaxed);
                closed.recv().expect_err("nothing is sent");
                let opened = *gate.opened.get().expect("it was opened before the door");
                let due =
                    opened + Duration::from_micros(4 * size + kernel::scramble(i) % (2 * size));
                thread::sleep(due.saturating_duration_since(Instant::now()));
                due.elapsed()
            })
        };
        let sleepers: Vec<JoinHandle<Duration>> = (0..size).map(start).collect();
        while gate.ready.load(Ordering::Relaxed) < size {
            thread::yield_now();
        }
        let before = process::cpu_time();
        gate.opened.set(Instant::now()).expect("it is opened once");
        drop(door);
        let mut late = Waits::default();
        sleepers.into_iter().for_each(|sleeper| late.add(sleeper.join().unwrap()));
        let cpu = (process::cpu_time() - before).as_nanos() as f64 / size as f64;
        Report::new(1, late.count()).with("cpu", cpu).with_waits(&late)
    })
}
