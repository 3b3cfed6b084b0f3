//! Fork and join, with a `join(a, b)` that may run both at once: the same code for all that have one.

use std::time::{Duration, Instant};

use peers_kit::kernel::{self, Factors, ROWS_AT_ONCE, SORTED_AT_ONCE};
use peers_kit::{Job, Report, Timed, time};

use crate::{Runtime, join};

pub(crate) fn fib(job: &Job) -> Report {
    fn fib(n: usize) -> u64 {
        if n < 2 {
            return n as u64;
        }
        let (a, b) = join(|| fib(n - 1), || fib(n - 2));
        a + b
    }
    let (runtime, size) = (Runtime::new(job), job.size);
    job.repeat(|n| runtime.run(|| time(|| (0..n).map(|_| fib(size)).sum())))
}

pub(crate) fn quicksort(job: &Job) -> Report {
    fn sort(numbers: &mut [u64]) {
        if numbers.len() <= SORTED_AT_ONCE {
            return numbers.sort_unstable();
        }
        let (small, large) = kernel::partition(numbers);
        join(|| sort(small), || sort(large));
    }
    let (runtime, numbers) = (Runtime::new(job), kernel::numbers(job.size));
    job.repeat(|n| {
        runtime.run(|| {
            let (mut taken, mut checksum) = (Duration::ZERO, 0_u64);
            for _ in 0..n {
                let mut numbers = numbers.clone();
                let start = Instant::now();
                sort(&mut numbers);
                taken += start.elapsed();
                checksum = checksum.wrapping_add(kernel::checksum(numbers));
            }
            Timed { taken, checksum }
        })
    })
}

pub(crate) fn matmul(job: &Job) -> Report {
    fn multiply(factors: &Factors, first: usize, rows: &mut [f64]) {
        let count = rows.len() / factors.size();
        if count <= ROWS_AT_ONCE {
            return factors.multiply(first, rows);
        }
        let (upper, lower) = rows.split_at_mut(count / 2 * factors.size());
        join(|| multiply(factors, first, upper), || multiply(factors, first + count / 2, lower));
    }
    let (runtime, factors) = (Runtime::new(job), Factors::new(job.size));
    let mut product = vec![0.0; job.size * job.size];
    job.repeat(|n| {
        runtime.run(|| {
            let start = Instant::now();
            (0..n).for_each(|_| multiply(&factors, 0, &mut product));
            let taken = start.elapsed();
            Timed { taken, checksum: kernel::checksum(product.iter().map(|&entry| entry as u64)) }
        })
    })
}
