//! The sequential parts of the workloads, the same for every Rust contestant.

use std::hint;
use std::time::{Duration, Instant};

/// A step of a generator of numbers that look random.
pub fn scramble(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    n ^ (n >> 32)
}

/// Computes so many steps.
pub fn steps(count: u64) {
    hint::black_box((0..count).fold(hint::black_box(1), |n, _| scramble(n + 1)));
}

/// Steps of a turn in which a lock is held.
pub const LOCKED: u64 = 10;
/// Steps of the rest of the turn.
pub const UNLOCKED: u64 = 100;

/// Steps that a stage of a pipeline takes for a value.
pub const STAGE: u64 = 1000;

/// What a stage of a pipeline does: it gives the value.
pub fn stage(value: u64) -> u64 {
    steps(STAGE);
    value
}

/// Computes for so long, and gives how many steps that were.
pub fn burn(time: Duration) -> u64 {
    const BETWEEN_LOOKS: u64 = 1000;
    let (start, mut steps, mut n) = (Instant::now(), 0, 1);
    while start.elapsed() < time {
        n = (0..BETWEEN_LOOKS).fold(n, |n, _| scramble(n + 1));
        steps += BETWEEN_LOOKS;
    }
    hint::black_box(n);
    steps
}

/// What is sorted at a time.
pub const SORTED_AT_ONCE: usize = 512;

/// The numbers to be sorted.
pub fn numbers(count: usize) -> Vec<u64> {
    (1..=count as u64).map(scramble).collect()
}

/// Moves what is small before what is large, and gives both parts. Neither is empty, if there are two
/// numbers.
pub fn partition(numbers: &mut [u64]) -> (&mut [u64], &mut [u64]) {
    let (mut low, mut high) = (0, numbers.len() - 1);
    let mut three = [numbers[low], numbers[high / 2], numbers[high]];
    three.sort_unstable();
    let pivot = three[1];
    loop {
        while numbers[low] < pivot {
            low += 1;
        }
        while numbers[high] > pivot {
            high -= 1;
        }
        if low >= high {
            return numbers.split_at_mut(high + 1);
        }
        numbers.swap(low, high);
        low += 1;
        high -= 1;
    }
}

/// Depends on every number and its place.
pub fn checksum(numbers: impl IntoIterator<Item = u64>) -> u64 {
    (1..).zip(numbers).fold(0_u64, |sum, (place, n)| sum.wrapping_add(n.wrapping_mul(place)))
}

/// How many rows of a product are computed at a time.
pub const ROWS_AT_ONCE: usize = 4;

/// Two square matrices to be multiplied. The entries are small whole numbers, so the product is exact.
#[derive(Debug)]
pub struct Factors {
    size: usize,
    left: Vec<f64>,
    right: Vec<f64>,
}

impl Factors {
    /// Matrices of so many rows.
    pub fn new(size: usize) -> Self {
        let entries = |seed: u64| {
            (0..(size * size) as u64).map(|at| (scramble(at + seed) % 10) as f64).collect()
        };
        Self { size, left: entries(1), right: entries(2) }
    }

    /// How many rows and columns they have.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Computes some rows of the product, from the first given one on.
    pub fn multiply(&self, first: usize, rows: &mut [f64]) {
        for (row, left) in rows.chunks_mut(self.size).zip(self.left.chunks(self.size).skip(first)) {
            row.fill(0.0);
            for (factor, right) in left.iter().zip(self.right.chunks(self.size)) {
                row.iter_mut().zip(right).for_each(|(sum, entry)| *sum += factor * entry);
            }
        }
    }
}

/// A chess board with some queens on its first rows.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// A bit for each column.
    all: u32,
    /// What the queens attack on the next row: down, and in the two slanting directions.
    columns: u32,
    left: u32,
    right: u32,
}

impl Board {
    /// An empty board with so many rows.
    pub fn new(size: usize) -> Self {
        Self { all: (1 << size) - 1, columns: 0, left: 0, right: 0 }
    }

    /// Whether there is a queen on each row.
    pub fn is_full(self) -> bool {
        self.columns == self.all
    }

    /// The boards with one queen more, which no other attacks.
    pub fn next(self) -> impl Iterator<Item = Self> {
        let mut free = self.all & !(self.columns | self.left | self.right);
        std::iter::from_fn(move || {
            let queen = free & free.wrapping_neg();
            free ^= queen;
            (queen != 0).then_some(Self {
                all: self.all,
                columns: self.columns | queen,
                left: (self.left | queen) << 1,
                right: (self.right | queen) >> 1,
            })
        })
    }
}
