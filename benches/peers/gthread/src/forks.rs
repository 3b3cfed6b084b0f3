//! Fork and join.

use gthread::channel::{Sender, bounded};
use gthread::go;
use peers_kit::{Job, Report, time};

use crate::Runtime;

pub(crate) fn fib(job: &Job) -> Report {
    fn fib(n: usize) -> u64 {
        if n < 2 {
            return n as u64;
        }
        let (a, b) = gthread::join(|| fib(n - 1), || fib(n - 2));
        a + b
    }
    let (runtime, size) = (Runtime::new(job), job.size);
    job.repeat(|n| runtime.run(|| time(|| (0..n).map(|_| fib(size)).sum())))
}

pub(crate) fn skynet(job: &Job) -> Report {
    const CHILDREN: u64 = 10;
    fn node(parent: &Sender<u64>, first: u64, leaves: u64) {
        if leaves == 1 {
            return parent.send(first).unwrap();
        }
        let (sender, receiver) = bounded(0);
        for child in 0..CHILDREN {
            let (sender, share) = (sender.clone(), leaves / CHILDREN);
            go!(move || node(&sender, first + child * share, share));
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
                    go!(move || node(&sender, 0, leaves));
                    receiver.recv().unwrap()
                };
                (0..n).map(|_| once()).sum()
            })
        })
    })
}
