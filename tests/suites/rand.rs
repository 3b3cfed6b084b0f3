//! As much of the crate `rand` as the suites use, on a generator that belongs to whoever asked for it.

use std::ops::Range;

use gthread_tests::Random;

/// A generator, its seed printed.
pub fn thread_rng() -> Rngs {
    Rngs(Random::new(gthread_tests::seed()))
}

/// What [`thread_rng`] gives.
pub struct Rngs(Random);

/// `rand::Rng`.
pub trait Rng {
    fn gen_range(&mut self, range: Range<usize>) -> usize;
    fn gen_bool(&mut self, p: f64) -> bool;
}

impl Rng for Rngs {
    fn gen_range(&mut self, range: Range<usize>) -> usize {
        range.start + self.0.below((range.end - range.start) as u64) as usize
    }

    fn gen_bool(&mut self, p: f64) -> bool {
        (self.0.next() as f64) < p * u64::MAX as f64
    }
}
