//! A million parked threads; in debug builds, whose frames are large, a hundred thousand. Alone in its
//! process: it measures.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread::{channel, go};
use gthread_tests::{LIMIT, resident, runtime, test_path};

use crate::alone;

const THREADS: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// What each may take: a page, its share of page tables, and a handle; in debug builds more pages.
const BYTES_EACH: u64 = if cfg!(debug_assertions) { 16 << 10 } else { 4_700 };

/// Memory maps of the process.
fn maps() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// A field of the process's status, in bytes.
fn status(field: &str, file: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn a_million_threads_wait_at_once() {
    alone(&test_path!("a_million_threads_wait_at_once"), LIMIT * 2, || {
        let available = status("MemAvailable:", "/proc/meminfo");
        if available < THREADS as u64 * BYTES_EACH * 3 / 2 {
            println!("skipped: {available} bytes of memory are too few");
            return;
        }
        // Where each guard takes a memory map, the kernel's limit on those is the runtime's.
        if is_old_kernel() {
            println!("skipped: no MADV_GUARD_INSTALL here");
            return;
        }
        let runtime = runtime(2);
        let memory = || resident().0 + status("VmPTE:", "/proc/self/status");
        let (before, maps_before) = (memory(), maps());
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
            let (each, maps) = ((memory() - before) / THREADS as u64, maps() - maps_before);
            println!("{each} bytes for each thread, {maps} more memory maps");
            assert!(each <= BYTES_EACH, "{each} bytes for each thread");
            assert!(maps <= 64, "{maps} more memory maps");
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
