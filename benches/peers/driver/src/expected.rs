//! What correct runs compute: the checksums of the workloads, by another way.

/// The sum of `0..n`, as are the values that are sent or returned in most workloads.
pub(crate) fn sum_below(n: u64) -> u64 {
    // Halved before it can overflow; the product wraps as the contestants' sums do.
    if n % 2 == 0 { (n / 2).wrapping_mul(n.wrapping_sub(1)) } else { n.wrapping_mul(n / 2) }
}

/// The number of Fibonacci.
pub(crate) fn fibonacci(n: u64) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

/// The sum of the first so many primes.
pub(crate) fn sum_of_primes(count: u64) -> u64 {
    let is_prime = |n: &u64| {
        (2..).take_while(|divisor| divisor * divisor <= *n).all(|divisor| n % divisor != 0)
    };
    (2..).filter(is_prime).take(count as usize).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn against_the_obvious() {
        for n in 0..50 {
            assert_eq!(sum_below(n), (0..n).sum());
        }
        assert_eq!((0..8).map(fibonacci).collect::<Vec<_>>(), [0, 1, 1, 2, 3, 5, 8, 13]);
        assert_eq!((0..6).map(sum_of_primes).collect::<Vec<_>>(), [0, 2, 5, 10, 17, 28]);
    }
}
