//! A million threads that sleep at once; in debug builds, whose frames are large, a hundred thousand.
//! Alone in its process: it takes all memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gthread::{go, sleep_until};
use gthread_tests::{LIMIT, Random, runtime, seed, test_path};

use crate::alone;

const THREADS: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
/// What each may take of memory, for sure.
const BYTES_EACH: u64 = if cfg!(debug_assertions) { 16 << 10 } else { 5_000 };

#[test]
fn a_million_threads_sleep_at_once() {
    let available = std::fs::read_to_string("/proc/meminfo").unwrap();
    let available = available.lines().find(|line| line.starts_with("MemAvailable:")).unwrap();
    let kib: u64 = available.split_whitespace().nth(1).unwrap().parse().unwrap();
    if kib << 10 < THREADS as u64 * BYTES_EACH * 3 / 2 {
        println!("skipped: {kib} KiB of memory are too few");
        return;
    }
    // Where each guard takes a memory map, the kernel's limit on those is the runtime's.
    if gthread_guards_take_maps() {
        println!("skipped: no MADV_GUARD_INSTALL here");
        return;
    }
    alone(&test_path!("a_million_threads_sleep_at_once"), LIMIT * 2, || {
        let mut random = Random::new(seed());
        runtime(2).run(|| {
            let sleeping = Arc::new(AtomicUsize::new(0));
            // Late enough for all to sleep by then on most machines; it is no matter if they do not.
            let first = Instant::now() + Duration::from_micros(5) * THREADS as u32;
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    let at = first + random.micros(2_000_000);
                    let sleeping = Arc::clone(&sleeping);
                    go!(move || {
                        sleeping.fetch_add(1, Ordering::Relaxed);
                        sleep_until(at);
                        assert!(Instant::now() >= at, "woke early");
                        sleeping.fetch_sub(1, Ordering::Relaxed);
                    })
                })
                .collect();
            println!("{} sleep", sleeping.load(Ordering::Relaxed));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(sleeping.load(Ordering::Relaxed), 0);
        });
    });
}

fn gthread_guards_take_maps() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) < (Some(6), Some(13))
        || std::env::var("GTHREAD_GUARD").is_ok_and(|kind| kind == "mprotect")
}
