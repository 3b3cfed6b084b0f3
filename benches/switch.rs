//! Two threads that yield to each other.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gthread_benches::{Threads, Workload, compare, time};

/// The time is for one yield.
#[derive(Clone, Copy)]
struct Yield;

impl Workload for Yield {
    fn run<S: Threads>(self, threads: S, times: u64) -> Duration {
        let half = times.div_ceil(2);
        time(|| {
            let other = threads.spawn(move || (0..half).for_each(|_| threads.yield_now()));
            (0..half).for_each(|_| threads.yield_now());
            S::join(other);
        })
    }
}

fn benches(criterion: &mut Criterion) {
    compare(criterion, "yield", Yield);
}

criterion_group! {
    name = switch;
    config = Criterion::default().sample_size(20);
    targets = benches
}
criterion_main!(switch);
