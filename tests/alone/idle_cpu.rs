//! A runtime in which nothing is runnable uses no CPU. Alone in its process: it measures.

use std::time::{Duration, Instant};

use gthread::{Runtime, channel, go};
use gthread_tests::{LIMIT, cpu_time, runtime, test_path, times_slept};

use crate::alone;

const WINDOW: Duration = Duration::from_millis(300);

/// How long a runtime may take to settle: memory of stacks is given back for a second or so after work, and the
/// machine may be busy with others. One that never settles fails whatever the machine does.
const SETTLED: Duration = Duration::from_secs(15);

/// Measures until a window shows an idle process.
fn assert_idle(what: &str) {
    let begun = Instant::now();
    let mut seen = Vec::new();
    while begun.elapsed() < SETTLED {
        let (cpu, slept) = (cpu_time(), times_slept());
        std::thread::sleep(WINDOW);
        let (cpu, slept) = (cpu_time() - cpu, times_slept() - slept);
        // The second catches those who wake up, find nothing, and sleep again.
        if cpu < Duration::from_millis(3) && slept <= 10 {
            return;
        }
        seen.push((cpu, slept));
    }
    panic!("{what}: (CPU time, times slept) in {WINDOW:?}: {seen:?}");
}

fn busy(runtime: &Runtime) {
    fn tree(depth: u32) {
        if depth > 0 {
            gthread::join(|| tree(depth - 1), || tree(depth - 1));
        }
    }
    runtime.run(|| tree(12));
}

#[test]
fn idle_runtimes_use_no_cpu() {
    alone(&test_path!("idle_runtimes_use_no_cpu"), 3 * LIMIT, || {
        let runtimes = [runtime(1), runtime(2), runtime(8), runtime(64)];
        assert_idle("fresh");
        runtimes.iter().for_each(busy);
        assert_idle("after work");

        let (tx, rx) = channel::unbounded::<()>();
        for runtime in &runtimes {
            for n in 0..30 {
                let rx = rx.clone();
                drop(runtime.spawn(move || match n % 5 {
                    0 => gthread::park(),
                    1 => drop(rx.recv()),
                    2 => gthread::sleep(Duration::from_secs(3600)),
                    3 => drop(rx.recv_timeout(Duration::from_secs(3600))),
                    _ => gthread::park_timeout(Duration::MAX),
                }));
            }
        }
        assert_idle("with parked threads and timers");
        drop(tx);

        for runtime in &runtimes {
            runtime.run(|| {
                let (tx, rx) = std::sync::mpsc::channel();
                let blocks: Vec<_> = (0..5)
                    .map(|_| {
                        let tx = tx.clone();
                        go!(move || gthread::blocking(|| {
                            std::thread::sleep(Duration::from_millis(2));
                            tx.send(()).unwrap();
                        }))
                    })
                    .collect();
                gthread::blocking(|| (0..5).for_each(|_| rx.recv().unwrap()));
                blocks.into_iter().for_each(|thread| thread.join().unwrap());
            });
        }
        assert_idle("with idle spares");

        let (end, rx) = std::sync::mpsc::channel();
        let blocks = runtimes[1].spawn(move || gthread::blocking(|| rx.recv().unwrap()));
        assert_idle("with one that blocks, and says so");
        end.send(()).unwrap();
        blocks.join().unwrap();

        runtimes.iter().for_each(busy);
        assert_idle("after everything");
    });
}
