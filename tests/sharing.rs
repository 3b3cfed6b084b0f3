//! What is ready is run by one worker or by several, whichever is faster.

use gthread::{Runtime, channel, go, yield_now};
use gthread_tests::{LIMIT, runtime, under_chaos, until, watchdog};

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
    runtime.metrics().per_worker.iter().map(|worker| worker.picks).collect()
}

#[test]
fn threads_that_never_wait_are_shared() {
    const TURNS: u64 = 10_000;
    if under_chaos("who runs what") {
        return;
    }
    watchdog(LIMIT, || {
        let runtime = runtime(2);
        until(|| {
            let before = picks(&runtime);
            runtime.run(|| {
                let threads: Vec<_> =
                    (0..4).map(|_| go!(|| (0..TURNS).for_each(|_| yield_now()))).collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            });
            let after = picks(&runtime);
            after.iter().zip(&before).all(|(after, before)| after - before > TURNS)
        });
    });
}
