//! Fork and join.

use may::go;
use may::sync::mpsc::{self, Sender};
use peers_kit::{Job, Report, time};

use crate::repeat;

pub(crate) fn fib(job: &Job) -> Report {
    fn fib(n: usize) -> u64 {
        if n < 2 {
            return n as u64;
        }
        let a = go!(move || fib(n - 1));
        let b = fib(n - 2);
        a.join().unwrap() + b
    }
    let size = job.size;
    repeat(job, move |n| time(|| (0..n).map(|_| fib(size)).sum()))
}

pub(crate) fn skynet(job: &Job) -> Report {
    const CHILDREN: u64 = 10;
    fn node(parent: &Sender<u64>, first: u64, leaves: u64) {
        if leaves == 1 {
            return parent.send(first).unwrap();
        }
        let (sender, receiver) = mpsc::channel();
        for child in 0..CHILDREN {
            let (sender, share) = (sender.clone(), leaves / CHILDREN);
            go!(move || node(&sender, first + child * share, share));
        }
        drop(sender);
        parent.send(receiver.iter().sum()).unwrap();
    }
    let leaves = job.size as u64;
    repeat(job, move |n| {
        time(|| {
            let (sender, receiver) = mpsc::channel();
            let once = || {
                let sender = sender.clone();
                go!(move || node(&sender, 0, leaves));
                receiver.recv().unwrap()
            };
            (0..n).map(|_| once()).sum()
        })
    })
}
