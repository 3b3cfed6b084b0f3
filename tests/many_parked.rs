//! A hundred thousand parked threads. Alone in its process: it measures.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread::{channel, go};
use gthread_tests::{LIMIT, resident, runtime, watchdog};

const THREADS: usize = 100_000;

#[test]
fn a_hundred_thousand_threads_wait_at_once() {
    watchdog(LIMIT * 2, || {
        // Where each guard takes a memory map, the kernel's limit on those is the runtime's.
        if is_old_kernel() {
            println!("skipped: no MADV_GUARD_INSTALL here");
            return;
        }
        let runtime = runtime(2);
        let (before, _) = resident();
        let (tx, rx) = channel::bounded::<usize>(0);
        let parked = Arc::new(AtomicUsize::new(0));
        runtime.run(|| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    let (rx, parked) = (rx.clone(), Arc::clone(&parked));
                    go!(move || {
                        parked.fetch_add(1, Ordering::Relaxed);
                        rx.recv().unwrap()
                    })
                })
                .collect();
            gthread_tests::yield_until(|| parked.load(Ordering::Relaxed) == THREADS);
            let each = (resident().0 - before) / THREADS as u64;
            println!("{each} bytes for each thread");
            assert!(each < 16 << 10, "{each} bytes for each thread");
            (0..THREADS).for_each(|n| tx.send(n).unwrap());
            let sum: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(sum, THREADS * (THREADS - 1) / 2);
        });
    });
}

fn is_old_kernel() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) < (Some(6), Some(13))
}
