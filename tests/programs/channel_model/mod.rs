//! Random programs of channel operations, against a model.
//!
//! One thread: every outcome must be the model's, and crossbeam-channel's. Many threads: what was sent is
//! received once or left, in the order of each sender, and dropped once; and nobody waits who need not. `GTHREAD_STRESS_SECS` and
//! `GTHREAD_TEST_SEED` as in the stress tests; a failure prints the smallest program that fails.

mod alone;
mod crowd;
mod leaving;
mod model;

use std::time::Instant;

use gthread_tests::{LIMIT, Random, Watchdog, seed, stress_time};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// An operation that a select may choose.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Arm {
    channel: usize,
    sends: bool,
}

fn capacity() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![Just(Some(0)), Just(Some(1)), Just(Some(2)), Just(Some(5)), Just(None)]
}

/// Programs of proptest's, from our seed, until the time is over.
fn for_programs<S: Strategy>(strategy: S, check: impl Fn(S::Value)) {
    let mut random = Random::new(seed());
    let _watchdog = Watchdog::new(LIMIT + stress_time(), "did not end");
    let end = Instant::now() + stress_time();
    loop {
        let seed: Vec<u8> = (0..4).flat_map(|_| random.next().to_le_bytes()).collect();
        let config = Config { cases: 50, failure_persistence: None, ..Config::default() };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let result = TestRunner::new_with_rng(config, rng).run(&strategy, |program| {
            check(program);
            Ok(())
        });
        if let Err(failure) = result {
            panic!("{failure}");
        }
        if Instant::now() >= end {
            break;
        }
    }
}
