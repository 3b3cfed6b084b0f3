//! Sleeping until a moment: never less, and on both sides; and how late it ends.

use gthread::time::{Duration, Instant, sleep, sleep_until};
use gthread_tests::{LIMIT, Way, every_way, for_workers, runtime, watchdog};

every_way!(
    it_does_not_end_early,
    a_moment_that_has_passed_ends_it,
    work_in_between_does_not_add_up
);

fn it_does_not_end_early(on: Way) {
    let peers: Vec<_> = (0..20)
        .map(|n| {
            on.spawn(move || {
                for micros in [10, 100, 700, 3000] {
                    let at = Instant::now() + Duration::from_micros(micros * (n % 5 + 1));
                    sleep_until(at);
                    assert!(Instant::now() >= at);
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
}

fn a_moment_that_has_passed_ends_it(on: Way) {
    on.spawn(|| {
        let now = Instant::now();
        sleep_until(now);
        if let Some(past) = now.checked_sub(Duration::from_secs(1)) {
            sleep_until(past);
        }
    })
    .join();
}

fn work_in_between_does_not_add_up(on: Way) {
    const PERIOD: Duration = Duration::from_millis(5);
    let ten = || {
        let start = Instant::now();
        let mut next = start;
        for _ in 0..10 {
            next += PERIOD;
            // Takes half of it, and no processor: there may be others that want one.
            std::thread::sleep(PERIOD / 2);
            sleep_until(next);
        }
        let elapsed = start.elapsed();
        assert!(elapsed >= PERIOD * 10);
        elapsed
    };
    // Ten periods, and not ten halves more. A busy machine may make it as long, but not always.
    on.until(|| on.spawn(ten).join() < PERIOD * 15);
}

/// On an idle machine a sleep ends within a millisecond. This one is not idle: the best of many must.
#[test]
fn a_sleep_alone_ends_soon_after() {
    for_workers(|runtime| {
        let late = (0..100).map(|n| {
            let nap = Duration::from_micros(300 + 41 * n);
            runtime.run(move || {
                let start = Instant::now();
                sleep(nap);
                start.elapsed() - nap
            })
        });
        let best = late.min().unwrap();
        assert!(best < Duration::from_millis(1), "{best:?}");
    });
}

/// A green thread that holds the only worker: sysmon sees to the timers, and another OS thread to
/// what they wake.
#[test]
fn a_sleep_ends_beside_one_that_hogs() {
    watchdog(LIMIT, || {
        let runtime = runtime(1);
        let done = gthread_tests::Flag::new();
        let sleeper = runtime.spawn({
            let done = done.clone();
            move || {
                for _ in 0..5 {
                    sleep_until(Instant::now() + Duration::from_micros(500));
                }
                done.raise();
            }
        });
        let hog = runtime.spawn(move || gthread_tests::hog_until(|| done.is_up()));
        sleeper.join().unwrap();
        hog.join().unwrap();
    });
}
