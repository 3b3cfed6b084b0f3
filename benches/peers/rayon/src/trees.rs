//! Trees and crowds of jobs, by scopes and parallel iterators.

use peers_kit::kernel::Board;
use peers_kit::{Job, Report, time};
use rayon::prelude::*;

use crate::Runtime;

pub(crate) fn spawn_many(job: &Job) -> Report {
    let (runtime, size) = (Runtime::new(job), job.size);
    let once = || {
        let mut results = vec![0; size];
        rayon::scope(|scope| {
            for (i, result) in results.iter_mut().enumerate() {
                scope.spawn(move |_| *result = i as u64);
            }
        });
        results.into_iter().sum::<u64>()
    };
    job.repeat(|n| runtime.run(|| time(|| (0..n).map(|_| once()).sum())))
}

pub(crate) fn skynet(job: &Job) -> Report {
    const CHILDREN: u64 = 10;
    fn node(first: u64, leaves: u64) -> u64 {
        if leaves == 1 {
            return first;
        }
        let share = leaves / CHILDREN;
        (0..CHILDREN).into_par_iter().map(|child| node(first + child * share, share)).sum()
    }
    let (runtime, leaves) = (Runtime::new(job), job.size as u64);
    job.repeat(|n| runtime.run(|| time(|| (0..n).map(|_| node(0, leaves)).sum())))
}

pub(crate) fn queens(job: &Job) -> Report {
    /// In how many ways the board can be filled.
    fn ways(board: Board) -> u64 {
        if board.is_full() {
            return 1;
        }
        let boards: Vec<Board> = board.next().collect();
        boards.into_par_iter().map(ways).sum()
    }
    let (runtime, board) = (Runtime::new(job), Board::new(job.size));
    job.repeat(|n| runtime.run(|| time(|| (0..n).map(|_| ways(board)).sum())))
}
