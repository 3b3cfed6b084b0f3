//! A chain of a million threads, each of which starts its successor and ends, needs the memory of some.
//! Alone in its process: it measures.

use gthread::{channel, go};
use gthread_tests::{LIMIT, resident, runtime, test_path};

use crate::alone;

const RUNNERS: u64 = 1_000_000;

fn run(left: u64, done: channel::Sender<u64>) {
    if left == 0 {
        done.send(RUNNERS).unwrap();
    } else {
        go!(move || run(left - 1, done));
    }
}

#[test]
fn a_million_runners_need_the_memory_of_some() {
    alone(&test_path!("a_million_runners_need_the_memory_of_some"), LIMIT * 2, || {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let (before, _) = resident();
            let (done, ended) = channel::bounded(1);
            drop(runtime.spawn(move || run(RUNNERS / workers as u64, done)));
            assert_eq!(ended.recv(), Ok(RUNNERS));
            let (_, peak) = resident();
            let stacks = runtime.metrics().stacks;
            println!("{workers} workers: {stacks} stacks, {} KiB more", (peak - before) >> 10);
            assert!(stacks < 20_000, "{stacks} stacks at the end");
            // A page or two for each would be gigabytes.
            assert!(peak - before < 256 << 20, "{} bytes at the peak", peak - before);
        }
    });
}
