//! Threads that wait for a moment and then do a little, beside some that compute: the same code for all that
//! block.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use peers_kit::{Job, Report, Waits, kernel};

use crate::Runtime;
use crate::thread::{self, JoinHandle};

/// Long computations that yield after every millisecond.
pub(crate) fn mix(job: &Job) -> Report {
    short_beside_long(job, Duration::from_millis(1))
}

/// Long computations that seldom yield.
pub(crate) fn mix_hogs(job: &Job) -> Report {
    short_beside_long(job, Duration::from_millis(50))
}

/// For so many milliseconds, threads that each wait for a moment and then do a little, beside some that
/// compute all the time, until the last of the others is done. A wait is from that moment until the little is done. Those
/// that compute stop after ten times as long, so that the others do not wait for ever.
fn short_beside_long(job: &Job, burst: Duration) -> Report {
    const SHORT: u32 = 100;
    const LONG: u32 = 4;
    const PERIOD: Duration = Duration::from_millis(10);
    const WORK: Duration = Duration::from_micros(10);

    let requests = job.size as u32 / PERIOD.as_millis() as u32;
    Runtime::new(job).run(|| {
        let left = Arc::new(AtomicU32::new(SHORT));
        let start = Instant::now();
        let limit = start + 10 * PERIOD * requests;
        let short = |id| {
            let left = Arc::clone(&left);
            thread::spawn(move || {
                let mut waits = Waits::default();
                for request in 1..=requests {
                    let due = start + PERIOD * request + PERIOD * id / SHORT;
                    // One that is late goes on, as with Go's `Sleep` and std's: gthread's would let others run.
                    if let Some(time) = due.checked_duration_since(Instant::now()) {
                        thread::sleep(time);
                    }
                    kernel::burn(WORK);
                    waits.add(due.elapsed());
                }
                // Not by whoever joins this: it may have to wait for its turn much longer.
                left.fetch_sub(1, Ordering::Relaxed);
                waits
            })
        };
        let long = |_| {
            let left = Arc::clone(&left);
            thread::spawn(move || {
                let mut steps = 0;
                while left.load(Ordering::Relaxed) > 0 && Instant::now() < limit {
                    steps += kernel::burn(burst);
                    thread::yield_now();
                }
                steps
            })
        };
        let short: Vec<JoinHandle<Waits>> = (0..SHORT).map(short).collect();
        let long: Vec<JoinHandle<u64>> = (0..LONG).map(long).collect();

        let mut waits = Waits::default();
        short.into_iter().for_each(|thread| waits.merge(&thread.join().unwrap()));
        let steps: u64 = long.into_iter().map(|thread| thread.join().unwrap()).sum();
        let work = steps as f64 / start.elapsed().as_secs_f64();
        Report::new(1, waits.count()).with_waits(&waits).with("work", work)
    })
}
