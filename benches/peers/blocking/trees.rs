//! Trees of threads that grow from one: the same code for all whose threads are light.

use peers_kit::kernel::Board;
use peers_kit::{Job, Report, time};

use crate::Runtime;
use crate::channel::{Sender, bounded};
use crate::thread::{self, JoinHandle};

pub(crate) fn skynet(job: &Job) -> Report {
    const CHILDREN: u64 = 10;
    fn node(parent: &Sender<u64>, first: u64, leaves: u64) {
        if leaves == 1 {
            return parent.send(first).unwrap();
        }
        let (sender, receiver) = bounded(0);
        for child in 0..CHILDREN {
            let (sender, share) = (sender.clone(), leaves / CHILDREN);
            thread::spawn(move || node(&sender, first + child * share, share));
        }
        drop(sender);
        parent.send(receiver.iter().sum()).unwrap();
    }
    let (runtime, leaves) = (Runtime::new(job), job.size as u64);
    job.repeat(|n| {
        runtime.run(|| {
            time(|| {
                let (sender, receiver) = bounded(0);
                let once = || {
                    let sender = sender.clone();
                    thread::spawn(move || node(&sender, 0, leaves));
                    receiver.recv().unwrap()
                };
                (0..n).map(|_| once()).sum()
            })
        })
    })
}

pub(crate) fn queens(job: &Job) -> Report {
    /// In how many ways the board can be filled.
    fn ways(board: Board) -> u64 {
        if board.is_full() {
            return 1;
        }
        let threads: Vec<JoinHandle<u64>> =
            board.next().map(|next| thread::spawn(move || ways(next))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    }
    let (runtime, board) = (Runtime::new(job), Board::new(job.size));
    job.repeat(|n| runtime.run(|| time(|| (0..n).map(|_| ways(board)).sum())))
}
