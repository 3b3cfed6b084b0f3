//! Memory of stacks goes back to the kernel once nobody needs it. Alone in its process: it measures.

use std::time::Instant;

use gthread::{Runtime, channel, go};
use gthread_tests::{LIMIT, resident, runtime, test_path, under_chaos, until, use_stack};

use crate::alone;

/// Resident memory and page tables.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPTE:")).unwrap();
    let tables: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    resident().0 + (tables << 10)
}

/// Has so many threads wait at once, each that deep; gives the memory that they took.
fn burst(runtime: &Runtime, threads: usize, depth: usize) -> u64 {
    runtime.run(|| {
        let (tx, rx) = channel::bounded::<()>(0);
        let waiting: Vec<_> = (0..threads)
            .map(|_| {
                let rx = rx.clone();
                go!(move || (use_stack(depth), rx.recv().is_err()).1)
            })
            .collect();
        let taken = memory();
        drop(tx);
        assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
        taken
    })
}

#[test]
fn memory_is_given_back() {
    if under_chaos("how many stacks are in use at once") {
        return;
    }
    alone(&test_path!("memory_is_given_back"), LIMIT * 3, || {
        // With mprotect fewer guards can be had.
        let threads = 20_000;
        for workers in [1, 2, 8] {
            let runtime = runtime(workers);
            burst(&runtime, 100, 1 << 10);
            let before = memory();
            for depth in [1 << 10, 30 << 10] {
                let start = Instant::now();
                let peak = burst(&runtime, threads, depth) - before;
                assert!(peak > (threads * 4096) as u64, "{peak} bytes for {threads} threads");
                let burst = start.elapsed();
                // The handles' memory is the allocator's, and little.
                until(|| memory().saturating_sub(before) < peak / 20);
                println!("{workers}: {depth}: {peak} bytes, {burst:?}, gone {:?}", start.elapsed());
            }
        }
        deep_pages_of_the_few_that_are_kept_are_given_back();
        deep_pages_of_a_stack_in_use_are_given_back();
        the_stack_of_a_large_class_is_given_back();
    });
}

/// Those stacks stay in stock, but not what is deep in them.
fn deep_pages_of_the_few_that_are_kept_are_given_back() {
    let runtime = runtime(1);
    burst(&runtime, 40, 1 << 10);
    let before = memory();
    let peak = burst(&runtime, 40, 200 << 10) - before;
    assert!(peak > 40 * (150 << 10), "{peak}");
    until(|| memory() < before + peak / 4);
}

/// Those of the one stack that is used again and again, too. Large, because the kernel counts what is
/// resident in rough steps.
fn deep_pages_of_a_stack_in_use_are_given_back() {
    let runtime = Runtime::builder().workers(1).stack_size(15 << 20).build().unwrap();
    let busy = runtime.spawn(|| {
        go!(|| use_stack(12 << 20)).join().unwrap();
        let peak = memory();
        while memory() > peak - (8 << 20) {
            (0..1000).for_each(|_| go!(|| ()).join().unwrap());
        }
    });
    busy.join().unwrap();
}

fn the_stack_of_a_large_class_is_given_back() {
    let runtime = runtime(2);
    runtime.run(|| ());
    let before = memory();
    let peak = runtime.run(|| {
        gthread::with_stack(64 << 20, || {
            use_stack(50 << 20);
            memory()
        })
    });
    assert!(peak - before > 45 << 20, "{peak} {before}");
    until(|| memory() < before + (5 << 20));
}
