//! Many more workers than processors: everything still adds up, everybody falls asleep, wakes and ends. (That
//! they use no CPU when idle is in `idle_cpu`, which is alone in its process.)

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gthread::channel::{self, bounded, select, unbounded};
use gthread::sync::{Barrier, Mutex, WaitGroup};
use gthread::{Runtime, go};
use gthread_tests::{LIMIT, Watchdog, runtime, until};

const MANY: [usize; 2] = [64, 256];

/// Runs `body` with each number of workers.
fn for_many(body: impl Fn(&Runtime, usize)) {
    for workers in MANY {
        let _watchdog = Watchdog::new(LIMIT, format_args!("{workers} workers"));
        let runtime = runtime(workers);
        body(&runtime, workers);
        assert_eq!(runtime.metrics().workers, workers);
    }
}

/// Until every worker has slept, and nobody has picked or gone to sleep for a while: all but surely they sleep.
/// No test relies on it to pass; it makes them test what they are for.
fn until_all_asleep(runtime: &Runtime) {
    let mut before = (0, 0);
    let asleep = || {
        let metrics = runtime.metrics();
        (metrics.task_switches, metrics.sleeps)
    };
    until(|| runtime.metrics().per_worker.iter().all(|worker| worker.sleeps > 0));
    loop {
        let now = asleep();
        if now == before {
            return;
        }
        before = now;
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = gthread::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

#[test]
fn fork_join() {
    for_many(|runtime, _| {
        for _ in 0..3 {
            assert_eq!(runtime.run(|| fib(18)), 2584);
        }
    });
}

#[test]
fn crowds_spawned_and_joined() {
    for_many(|runtime, workers| {
        let sum: usize = runtime.run(|| {
            // Each of many spawns some, which others may join.
            let parents: Vec<_> = (0..4 * workers)
                .map(|parent| {
                    go!(move || {
                        let children: Vec<_> =
                            (0..10).map(|child| go!(move || parent * child)).collect();
                        gthread::yield_now();
                        children
                    })
                })
                .collect();
            let children = parents.into_iter().flat_map(|parent| parent.join().unwrap());
            children.map(|child| child.join().unwrap()).sum()
        });
        let parents = 4 * workers;
        assert_eq!(sum, 45 * (parents * (parents - 1) / 2));
    });
}

/// Every worker is running a thread at the same time: the wakes, one at a time, reach all of them.
#[test]
fn work_reaches_every_worker() {
    for_many(|runtime, workers| {
        until_all_asleep(runtime);
        for _ in 0..2 {
            // Each holds its OS thread, and goes on only if so many come.
            let leaders = runtime.run(|| {
                let meet = Arc::new(std::sync::Barrier::new(workers));
                let threads: Vec<_> = (0..workers)
                    .map(|_| {
                        let meet = Arc::clone(&meet);
                        go!(move || meet.wait().is_leader())
                    })
                    .collect();
                threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
            });
            assert_eq!(leaders, 1);
            until_all_asleep(runtime);
        }
    });
}

#[test]
fn channels_of_many_to_many() {
    for_many(|runtime, workers| {
        for capacity in [Some(0), Some(7), None] {
            let (tx, rx) = capacity.map_or_else(unbounded, bounded);
            let total: usize = runtime.run(|| {
                for sender in 0..workers {
                    let tx = tx.clone();
                    drop(go!(move || (0..20).for_each(|n| tx.send(sender * 20 + n).unwrap())));
                }
                drop(tx);
                let receivers: Vec<_> = (0..workers)
                    .map(|_| {
                        let rx = rx.clone();
                        go!(move || rx.iter().sum::<usize>())
                    })
                    .collect();
                receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum()
            });
            let values = workers * 20;
            assert_eq!(total, values * (values - 1) / 2);
        }
    });
}

#[test]
fn selects() {
    for_many(|runtime, workers| {
        runtime.run(|| {
            let ((ping, pings), (pong, pongs)) = (bounded(0), bounded::<usize>(1));
            let (stop, stopped) = bounded::<()>(0);
            let threads: Vec<_> = (0..workers)
                .map(|_| {
                    let (pings, pong, stopped) = (pings.clone(), pong.clone(), stopped.clone());
                    go!(move || {
                        let mut seen = 0;
                        loop {
                            select! {
                                recv(pings) -> ping => pong.send(ping.unwrap()).unwrap(),
                                recv(stopped) -> _ => return seen,
                            }
                            seen += 1;
                        }
                    })
                })
                .collect();
            let mut echoed = 0;
            let mut sent = 0;
            while echoed < 500 {
                if sent < 500 {
                    select! {
                        send(ping, sent) -> result => { result.unwrap(); sent += 1 }
                        recv(pongs) -> value => { assert!(value.unwrap() < 500); echoed += 1 }
                    }
                } else {
                    assert!(pongs.recv().unwrap() < 500);
                    echoed += 1;
                }
            }
            drop(stop);
            let seen: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(seen, 500);
        });
    });
}

#[test]
fn a_mutex_and_a_barrier() {
    for_many(|runtime, workers| {
        let total = runtime.run(|| {
            let shared = Arc::new((Mutex::new(0), Barrier::new(workers)));
            let threads: Vec<_> = (0..workers)
                .map(|_| {
                    let shared = Arc::clone(&shared);
                    go!(move || {
                        for _ in 0..20 {
                            let mut total = shared.0.lock().unwrap();
                            let value = *total;
                            // Held while others come, so that they queue.
                            gthread::yield_now();
                            *total = value + 1;
                        }
                        shared.1.wait().is_leader()
                    })
                })
                .collect();
            let leaders = threads.into_iter().map(|thread| usize::from(thread.join().unwrap()));
            assert_eq!(leaders.sum::<usize>(), 1);
            *shared.0.lock().unwrap()
        });
        assert_eq!(total, 20 * workers);
    });
}

#[test]
fn timers() {
    for_many(|runtime, workers| {
        let fired = Arc::new(AtomicUsize::new(0));
        runtime.run(|| {
            let group = WaitGroup::new();
            let (_never, silence) = channel::unbounded::<()>();
            for n in 0..4 * workers {
                let (fired, group, silence) = (Arc::clone(&fired), group.clone(), silence.clone());
                group.add(1);
                drop(go!(move || {
                    let time = Duration::from_micros(n as u64 * 7919 % 20_000);
                    let start = Instant::now();
                    if n % 2 == 0 {
                        gthread::sleep(time);
                    } else {
                        assert!(silence.recv_timeout(time).is_err());
                    }
                    assert!(start.elapsed() >= time, "too early");
                    fired.fetch_add(1, Relaxed);
                    group.done();
                }));
            }
            group.wait();
        });
        assert_eq!(fired.load(Relaxed), 4 * workers);
    });
}

/// OS threads wake what is parked in a runtime of which every worker sleeps.
#[test]
fn all_fall_asleep_and_are_woken_from_outside() {
    for_many(|runtime, workers| {
        let (tx, rx) = unbounded::<usize>();
        let (answer, answers) = unbounded();
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                let (rx, answer) = (rx.clone(), answer.clone());
                runtime.spawn(move || rx.iter().for_each(|n| answer.send(2 * n).unwrap()))
            })
            .collect();
        for round in 0..4 {
            until_all_asleep(runtime);
            // One, and then a burst from several threads.
            tx.send(round).unwrap();
            assert_eq!(answers.recv(), Ok(2 * round));
            std::thread::scope(|scope| {
                for os in 0..4 {
                    let tx = &tx;
                    scope.spawn(move || {
                        (0..workers).for_each(|n| tx.send(os * workers + n).unwrap())
                    });
                }
            });
            let sum: usize = (0..4 * workers).map(|_| answers.recv().unwrap()).sum();
            assert_eq!(sum, 4 * workers * (4 * workers - 1));
        }
        drop(tx);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn built_and_dropped_again_and_again() {
    let _watchdog = Watchdog::new(LIMIT, "64 workers, some times");
    for n in 0..20 {
        let runtime = runtime(64);
        // Dropped while the workers start, sleep, or run.
        match n % 4 {
            0 => {}
            1 => until_all_asleep(&runtime),
            2 => assert_eq!(runtime.run(|| fib(10)), 55),
            _ => {
                let thread = runtime.spawn(|| fib(12));
                assert_eq!(thread.join().unwrap(), 144);
            }
        }
    }
}
