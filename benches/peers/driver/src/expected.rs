//! What correct runs compute: the checksums of the workloads, on one thread.

use peers_kit::kernel::{self, Board, Factors};

/// The sum of `0..n`, as are the values that are sent or returned in most workloads.
pub(crate) fn sum_below(n: u64) -> u64 {
    // Halved before it can overflow; the product wraps as the contestants' sums do.
    if n.is_multiple_of(2) {
        (n / 2).wrapping_mul(n.wrapping_sub(1))
    } else {
        n.wrapping_mul(n / 2)
    }
}

/// The number of Fibonacci.
pub(crate) fn fibonacci(n: u64) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

/// The sum of the first so many primes.
pub(crate) fn sum_of_primes(count: u64) -> u64 {
    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..).filter(is_prime).take(count as usize).sum()
}

/// The checksum of the numbers to be sorted, sorted.
pub(crate) fn sorted_checksum(count: u64) -> u64 {
    let mut numbers = kernel::numbers(count as usize);
    numbers.sort();
    kernel::checksum(numbers)
}

/// The checksum of the product of the matrices.
pub(crate) fn product_checksum(size: u64) -> u64 {
    let factors = Factors::new(size as usize);
    let mut product = vec![0.0; (size * size) as usize];
    factors.multiply(0, &mut product);
    kernel::checksum(product.into_iter().map(|entry| entry as u64))
}

/// In how many ways so many queens can stand on a board without attacking each other.
pub(crate) fn solutions(size: u64) -> u64 {
    count(Board::new(size as usize), &|board| u64::from(board.is_full()))
}

/// How many boards there are on the way there, but for the empty one.
pub(crate) fn placements(size: u64) -> u64 {
    count(Board::new(size as usize), &|_| 1) - 1
}

fn count(board: Board, worth: &impl Fn(Board) -> u64) -> u64 {
    worth(board) + board.next().map(|next| count(next, worth)).sum::<u64>()
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

    #[test]
    fn queens() {
        assert_eq!([1, 4, 6, 8].map(solutions), [1, 2, 4, 92]);
        assert_eq!([1, 2, 3].map(placements), [1, 2, 5]);
    }

    #[test]
    fn products() {
        // Row by row gives what all rows at once give.
        let factors = Factors::new(8);
        let (mut all, mut each) = (vec![0.0; 64], vec![0.0; 64]);
        factors.multiply(0, &mut all);
        each.chunks_mut(8).enumerate().for_each(|(row, entries)| factors.multiply(row, entries));
        assert_eq!(all, each);
        assert!(all.iter().any(|&entry| entry > 9.0));
    }

    #[test]
    fn partitions() {
        for count in 2..200 {
            for modulus in [1, 2, 3, 1000] {
                let mut numbers: Vec<u64> =
                    kernel::numbers(count).iter().map(|n| n % modulus).collect();
                let (small, large) = kernel::partition(&mut numbers);
                assert!(!small.is_empty() && !large.is_empty());
                assert!(small.iter().max() <= large.iter().min());
            }
        }
    }
}
