//! Fork and join. A task owns what it works on, as it cannot borrow.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peers_kit::kernel::{self, Board, Factors, ROWS_AT_ONCE, SORTED_AT_ONCE};
use peers_kit::{Job, Report, Timed};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::repeat;

/// What a function returns that is asynchronous and calls itself.
pub(crate) type Recursive<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) fn fib(job: &Job) -> Report {
    fn fib(n: usize) -> Recursive<u64> {
        Box::pin(async move {
            if n < 2 {
                return n as u64;
            }
            let a = tokio::spawn(fib(n - 1));
            let b = fib(n - 2).await;
            a.await.unwrap() + b
        })
    }
    let size = job.size;
    repeat(job, move |n| async move {
        let (start, mut sum) = (Instant::now(), 0);
        for _ in 0..n {
            sum += fib(size).await;
        }
        Timed::since(start, sum)
    })
}

pub(crate) fn skynet(job: &Job) -> Report {
    const CHILDREN: u64 = 10;
    fn node(parent: mpsc::Sender<u64>, first: u64, leaves: u64) -> Recursive<()> {
        Box::pin(async move {
            let mut sum = first;
            if leaves > 1 {
                sum = 0;
                let (sender, mut receiver) = mpsc::channel(1);
                for child in 0..CHILDREN {
                    let share = leaves / CHILDREN;
                    tokio::spawn(node(sender.clone(), first + child * share, share));
                }
                drop(sender);
                while let Some(part) = receiver.recv().await {
                    sum += part;
                }
            }
            parent.send(sum).await.unwrap();
        })
    }
    let leaves = job.size as u64;
    repeat(job, move |n| async move {
        let (start, mut sum) = (Instant::now(), 0);
        let (sender, mut receiver) = mpsc::channel(1);
        for _ in 0..n {
            tokio::spawn(node(sender.clone(), 0, leaves));
            sum += receiver.recv().await.unwrap();
        }
        Timed::since(start, sum)
    })
}

pub(crate) fn queens(job: &Job) -> Report {
    /// In how many ways the board can be filled.
    fn ways(board: Board) -> Recursive<u64> {
        Box::pin(async move {
            if board.is_full() {
                return 1;
            }
            let tasks: Vec<JoinHandle<u64>> =
                board.next().map(|next| tokio::spawn(ways(next))).collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        })
    }
    let board = Board::new(job.size);
    repeat(job, move |n| async move {
        let (start, mut sum) = (Instant::now(), 0);
        for _ in 0..n {
            sum += ways(board).await;
        }
        Timed::since(start, sum)
    })
}

pub(crate) fn quicksort(job: &Job) -> Report {
    fn sort(mut numbers: Vec<u64>) -> Recursive<Vec<u64>> {
        Box::pin(async move {
            if numbers.len() <= SORTED_AT_ONCE {
                numbers.sort_unstable();
                return numbers;
            }
            let small = kernel::partition(&mut numbers).0.len();
            let large = numbers.split_off(small);
            let large = tokio::spawn(sort(large));
            let mut sorted = sort(numbers).await;
            sorted.append(&mut large.await.unwrap());
            sorted
        })
    }
    let numbers = Arc::new(kernel::numbers(job.size));
    repeat(job, move |n| {
        let numbers = Arc::clone(&numbers);
        async move {
            let (mut taken, mut checksum) = (Duration::ZERO, 0_u64);
            for _ in 0..n {
                let numbers = Vec::clone(&numbers);
                let start = Instant::now();
                let sorted = sort(numbers).await;
                taken += start.elapsed();
                checksum = checksum.wrapping_add(kernel::checksum(sorted));
            }
            Timed { taken, checksum }
        }
    })
}

pub(crate) fn matmul(job: &Job) -> Report {
    /// So many rows of the product.
    fn multiply(factors: Arc<Factors>, first: usize, count: usize) -> Recursive<Vec<f64>> {
        Box::pin(async move {
            if count <= ROWS_AT_ONCE {
                let mut rows = vec![0.0; count * factors.size()];
                factors.multiply(first, &mut rows);
                return rows;
            }
            let half = count / 2;
            let lower = multiply(Arc::clone(&factors), first + half, count - half);
            let lower = tokio::spawn(lower);
            let mut rows = multiply(factors, first, half).await;
            rows.append(&mut lower.await.unwrap());
            rows
        })
    }
    let factors = Arc::new(Factors::new(job.size));
    repeat(job, move |n| {
        let factors = Arc::clone(&factors);
        async move {
            let (start, mut product) = (Instant::now(), Vec::new());
            for _ in 0..n {
                product = multiply(Arc::clone(&factors), 0, factors.size()).await;
            }
            let taken = start.elapsed();
            Timed { taken, checksum: kernel::checksum(product.into_iter().map(|n| n as u64)) }
        }
    })
}
