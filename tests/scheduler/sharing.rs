//! What is ready is run by one worker or by several, whichever is faster.

use gthread::{Builder, Runtime, channel, go};
use gthread_tests::{Flag, LIMIT, runtime, under_chaos, until, watchdog, yield_until};

/// So many jobs for a pool of threads that do next to nothing with each, and hand it on.
fn jobs(count: u64) {
    const POOL: usize = 4;
    let (jobs, jobs_of) = channel::bounded(0);
    let (results, results_of) = channel::bounded(0);
    let pool: Vec<_> = (0..POOL)
        .map(|_| {
            let (jobs, results) = (jobs_of.clone(), results.clone());
            go!(move || jobs.iter().for_each(|job| results.send(job).unwrap()))
        })
        .collect();
    drop(results);
    let sum = go!(move || results_of.iter().sum::<u64>());
    (0..count).for_each(|job| jobs.send(job).unwrap());
    drop(jobs);
    pool.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(sum.join().unwrap(), count * (count - 1) / 2);
}

#[test]
fn threads_that_soon_wait_for_each_other_stay_together() {
    const JOBS: u64 = 200_000;
    // Without optimisation all that they do takes long.
    if cfg!(debug_assertions) || under_chaos("who runs what") {
        return;
    }
    watchdog(LIMIT, || {
        let runtime = runtime(2);
        // In a round the workers may be stopped so often that it looks as if the threads ran for long.
        until(|| {
            let before = runtime.metrics().steals;
            runtime.run(|| jobs(JOBS));
            runtime.metrics().steals - before < JOBS / 500
        });
    });
}

/// How many picks each worker has made.
fn picks(runtime: &Runtime) -> Vec<u64> {
    runtime.metrics().per_worker.iter().map(|worker| worker.task_switches).collect()
}

#[test]
fn threads_that_never_wait_are_shared() {
    // Sooner or later a stopped worker is rescued, and what it had is shared without an offer: not so often.
    const ROUNDS: u32 = 20;
    const TURNS: u64 = 1000;
    if under_chaos("who runs what") {
        return;
    }
    watchdog(LIMIT, || {
        let runtime = runtime(2);
        for _ in 0..ROUNDS {
            let done = Flag::new();
            let before = picks(&runtime);
            let parent = runtime.spawn({
                let done = done.clone();
                move || {
                    // Queued: a continuation would be stolen, and what it forks is where it is.
                    let start = |_| {
                        let done = done.clone();
                        Builder::new().queued(true).spawn(move || yield_until(|| done.is_up()))
                    };
                    let threads: Vec<_> = (0..4).map(start).collect();
                    threads.into_iter().for_each(|thread| thread.unwrap().join().unwrap());
                }
            });
            // Two of them, of which one may be a spare by now.
            until(|| {
                let now = picks(&runtime);
                let before = before.iter().copied().chain(std::iter::repeat(0));
                now.iter().zip(before).filter(|(now, before)| *now - before > TURNS).count() >= 2
            });
            done.raise();
            parent.join().unwrap();
        }
    });
}
