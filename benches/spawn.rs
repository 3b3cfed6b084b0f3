//! Starting threads and waiting for them.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gthread_benches::{Threads, Workload, compare, time};

/// One thread at a time: start it, join it.
#[derive(Clone, Copy)]
struct SpawnJoin;

impl Workload for SpawnJoin {
    fn run<S: Threads>(self, threads: S, times: u64) -> Duration {
        time(|| {
            for n in 0..times {
                assert_eq!(S::join(threads.spawn(move || n)), n);
            }
        })
    }
}

/// A thousand threads at once, then join them all. The time is for one of them.
#[derive(Clone, Copy)]
struct SpawnThousand;

impl Workload for SpawnThousand {
    fn run<S: Threads>(self, threads: S, times: u64) -> Duration {
        let mut handles = Vec::with_capacity(1000);
        let mut left = times;
        time(|| {
            while left > 0 {
                let batch = left.min(1000);
                left -= batch;
                handles.extend((0..batch).map(|n| threads.spawn(move || n)));
                let sum: u64 = handles.drain(..).map(S::join).sum();
                assert_eq!(sum, batch * (batch - 1) / 2);
            }
        })
    }
}

fn benches(criterion: &mut Criterion) {
    compare(criterion, "spawn one, join it", SpawnJoin);
    compare(criterion, "spawn 1,000, join all", SpawnThousand);
}

criterion_group! {
    name = spawn;
    config = Criterion::default().sample_size(20);
    targets = benches
}
criterion_main!(spawn);
