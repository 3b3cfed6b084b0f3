//! Fork and join.

use std::pin::Pin;
use std::time::Instant;

use peers_kit::{Job, Report, Timed};
use tokio::sync::mpsc;

use crate::repeat;

/// What a function returns that is asynchronous and calls itself.
type Recursive<T> = Pin<Box<dyn Future<Output = T> + Send>>;

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
