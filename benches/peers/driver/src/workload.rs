//! The workloads: what they are called, how large they are, what they must compute, what is to be reached.

use crate::expected::{fibonacci, sum_below, sum_of_primes};

/// One workload.
pub(crate) struct Workload {
    /// Its name in the protocol.
    pub(crate) name: &'static str,
    /// What it does, as the page calls it.
    pub(crate) title: &'static str,
    /// How large it is, and how large with `--quick`.
    pub(crate) size: u64,
    pub(crate) quick: u64,
    /// The checksum, from size and repetitions.
    pub(crate) checksum: fn(u64, u64) -> u64,
    pub(crate) figures: &'static [Figure],
}

/// Something that a workload measures.
pub(crate) struct Figure {
    /// Its name in the protocol.
    pub(crate) name: &'static str,
    /// What it is, if the workload has more than one.
    pub(crate) title: &'static str,
    /// What it is divided by, from the size: operations in a repetition.
    pub(crate) per: fn(u64) -> f64,
    /// What gthread is to reach, with one worker and with two.
    pub(crate) target: Option<[f64; 2]>,
}

/// The time of an operation, of which a repetition has as many as `per` says.
const fn time(per: fn(u64) -> f64, target: Option<[f64; 2]>) -> Figure {
    Figure { name: "ns", title: "", per, target }
}

fn one(_: u64) -> f64 {
    1.0
}

fn size(size: u64) -> f64 {
    size as f64
}

/// Calls of the naive recursion that fork.
fn fib_forks(size: u64) -> f64 {
    (fibonacci(size + 1) - 1) as f64
}

/// All of them, in the order of the page.
pub(crate) const ALL: &[Workload] = &[
    Workload {
        name: "spawn-one",
        title: "spawn one, join it",
        size: 1,
        quick: 1,
        checksum: |_, n| sum_below(n),
        figures: &[time(one, Some([30.0, 40.0]))],
    },
    Workload {
        name: "spawn-many",
        title: "spawn 1,000, join all; each",
        size: 1000,
        quick: 1000,
        checksum: |size, n| sum_below(size).wrapping_mul(n),
        figures: &[time(size, Some([40.0, 40.0]))],
    },
    Workload {
        name: "fib",
        title: "fork-join fib(25), a fork",
        size: 25,
        quick: 25,
        checksum: |size, n| fibonacci(size).wrapping_mul(n),
        figures: &[time(fib_forks, Some([30.0, 17.0]))],
    },
    Workload {
        name: "skynet",
        title: "skynet, 1,000,000 leaves; each",
        size: 1_000_000,
        quick: 100_000,
        checksum: |size, n| sum_below(size).wrapping_mul(n),
        figures: &[time(size, Some([150.0, 90.0]))],
    },
    Workload {
        name: "ping-pong",
        title: "unbuffered ping-pong, a round trip",
        size: 1,
        quick: 1,
        checksum: |_, n| sum_below(n),
        figures: &[time(one, Some([80.0, 90.0]))],
    },
    Workload {
        name: "ring",
        title: "503-thread ring, a hop",
        size: 503,
        quick: 503,
        checksum: |size, laps| size * laps,
        figures: &[time(size, Some([40.0, 45.0]))],
    },
    Workload {
        name: "spsc",
        title: "one producer, one consumer, buffer 1,024; a value",
        size: 1024,
        quick: 1024,
        checksum: |_, n| sum_below(n),
        figures: &[time(one, Some([15.0, 20.0]))],
    },
    Workload {
        name: "mpmc",
        title: "4 producers, 4 consumers, buffer 1,024; a value",
        size: 1024,
        quick: 1024,
        checksum: |_, n| sum_below(n),
        figures: &[time(one, Some([15.0, 30.0]))],
    },
    Workload {
        name: "select",
        title: "select over 4 channels, a value",
        size: 4,
        quick: 4,
        checksum: |_, n| sum_below(n),
        figures: &[time(one, Some([90.0, 100.0]))],
    },
    Workload {
        name: "sieve",
        title: "prime sieve, the first 800",
        size: 800,
        quick: 800,
        checksum: |size, n| sum_of_primes(size).wrapping_mul(n),
        figures: &[time(one, Some([20e6, 16e6]))],
    },
    Workload {
        name: "yield",
        title: "yield",
        size: 2,
        quick: 2,
        checksum: |_, n| n,
        figures: &[time(one, Some([12.0, 12.0]))],
    },
    Workload {
        name: "mutex",
        title: "mutex, 8 contenders; lock and unlock",
        size: 8,
        quick: 8,
        checksum: |_, n| n,
        figures: &[time(one, Some([10.0, 20.0]))],
    },
];
