//! What a runtime counts.

use gthread::{Metrics, channel, go};
use gthread_tests::{
    LIMIT, hog_until, runtime, under_chaos, unhelped, until, watchdog, yield_often,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

fn assert_adds_up(metrics: &Metrics) {
    let sum =
        |of: fn(&gthread::WorkerMetrics) -> u64| metrics.per_worker.iter().map(of).sum::<u64>();
    assert_eq!(metrics.per_worker.len(), metrics.workers + metrics.spare_workers);
    assert_eq!(metrics.task_switches, sum(|worker| worker.task_switches));
    assert!(metrics.steals >= sum(|worker| worker.steals));
    assert_eq!(metrics.sleeps, sum(|worker| worker.sleeps));
}

#[test]
fn one_worker_shares_nothing() {
    let metrics = unhelped(|runtime| {
        runtime.run(|| (0..1000).for_each(|n| assert_eq!(go!(move || n).join().unwrap(), n)));
        runtime.metrics()
    });
    assert_adds_up(&metrics);
    assert!(metrics.task_switches >= 1000, "{metrics:?}");
    assert!(metrics.ticks >= metrics.task_switches / 61, "{metrics:?}");
    assert_eq!((metrics.steals, metrics.takeovers, metrics.publications), (0, 0, 0), "{metrics:?}");
    // The one that `run` started.
    assert_eq!(metrics.injected, 1, "{metrics:?}");
}

#[test]
fn a_parent_that_goes_on_elsewhere_is_offered_and_taken() {
    if under_chaos("who goes on with what") {
        return;
    }
    watchdog(LIMIT, || {
        let runtime = runtime(2);
        runtime.run(|| {
            let released = Arc::new(AtomicBool::new(false));
            let child = {
                let released = Arc::clone(&released);
                go!(move || hog_until(|| released.load(Ordering::Acquire)))
            };
            // The child has the worker: this is another one.
            released.store(true, Ordering::Release);
            child.join().unwrap();
        });
        let metrics = runtime.metrics();
        assert_adds_up(&metrics);
        assert!(metrics.steals > 0, "{metrics:?}");
        assert!(metrics.searches > 0, "{metrics:?}");
    });
}

#[test]
fn whom_one_wakes_that_goes_on_is_run_by_another_at_once() {
    const ROUNDS: u64 = 100;
    if under_chaos("who runs whom") {
        return;
    }
    watchdog(LIMIT, || {
        let runtime = runtime(2);
        runtime.run(|| {
            let (sender, receiver) = channel::unbounded();
            let seen = Arc::new(AtomicU64::new(0));
            let consumer = {
                let seen = Arc::clone(&seen);
                go!(move || receiver.iter().for_each(|n| seen.store(n, Ordering::Release)))
            };
            for n in 1..=ROUNDS {
                let before = runtime.metrics();
                sender.send(n).unwrap();
                // The other worker alone can run the consumer. Then it sleeps again, and has to be woken.
                hog_until(|| {
                    seen.load(Ordering::Acquire) == n && runtime.metrics().sleeps > before.sleeps
                });
            }
            drop(sender);
            consumer.join().unwrap();
        });
        let metrics = runtime.metrics();
        assert_adds_up(&metrics);
        assert!(metrics.wakes >= ROUNDS / 2, "{metrics:?}");
        // Otherwise it would take one to find each of them in the hands of the worker that goes on.
        assert!(metrics.takeovers < ROUNDS / 2, "{metrics:?}");
    });
}

#[test]
fn who_is_alone_and_rarely_has_anything_to_do_does_not_search() {
    const TICKS: u64 = 20;
    if under_chaos("when a worker waits") {
        return;
    }
    watchdog(LIMIT, || {
        let runtime = runtime(2);
        // One that a busy machine runs too late finds its next timer due, does not sleep, and searches. So
        // some runs may be otherwise, but not all.
        until(|| {
            let before = runtime.metrics();
            runtime.run(|| (0..TICKS).for_each(|_| gthread::sleep(Duration::from_millis(2))));
            let after = runtime.metrics();
            let (sleeps, searches) =
                (after.sleeps - before.sleeps, after.searches - before.searches);
            println!("{TICKS} ticks: {sleeps} sleeps, {searches} searches");
            sleeps >= TICKS && searches < TICKS / 2
        });
    });
}

#[test]
fn idle_workers_sleep_and_are_woken() {
    watchdog(LIMIT, || {
        let runtime = runtime(2);
        until(|| runtime.metrics().sleeps >= 2);
        // One that counts itself asleep may still find the first by itself.
        until(|| {
            runtime.run(yield_often);
            runtime.metrics().wakes > 0
        });
        let before = runtime.metrics();
        runtime.spawn(|| ()).join().unwrap();
        assert!(runtime.metrics().injected > before.injected);
    });
}
