//! Threads that share data under locks: the same code for all that block.

use std::hint::black_box;
use std::sync::Arc;

use peers_kit::kernel::{LOCKED, UNLOCKED, steps};
use peers_kit::{Job, Report, share, time};

use crate::thread;
use crate::{Condvar, Mutex, Runtime, RwLock};

/// A lock that nobody else wants, so many times.
fn alone<L: Default>(job: &Job, operation: impl Fn(&L) -> u64 + Sync) -> Report {
    let runtime = Runtime::new(job);
    job.repeat(|n| {
        runtime.run(|| {
            time(|| {
                let lock = L::default();
                (0..n).map(|_| operation(black_box(&lock))).sum()
            })
        })
    })
}

pub(crate) fn mutex_alone(job: &Job) -> Report {
    alone(job, |mutex: &Mutex<u64>| {
        let mut number = mutex.lock().unwrap();
        *number ^= 1;
        1
    })
}

pub(crate) fn read_alone(job: &Job) -> Report {
    alone(job, |lock: &RwLock<u64>| 1 + *lock.read().unwrap())
}

pub(crate) fn write_alone(job: &Job) -> Report {
    alone(job, |lock: &RwLock<u64>| {
        let mut number = lock.write().unwrap();
        *number ^= 1;
        1
    })
}

/// Threads each of which does its part of `n` operations. The checksum is what they return, and what is there
/// in the end.
fn together<L: Default + Send + Sync + 'static>(
    job: &Job,
    operations: fn(&L, u64) -> u64,
    end: fn(&L) -> u64,
) -> Report {
    let (runtime, threads) = (Runtime::new(job), job.size as u64);
    job.repeat(|n| {
        runtime.run(|| {
            time(|| {
                let lock = Arc::new(L::default());
                let threads: Vec<_> = (0..threads)
                    .map(|id| {
                        let (lock, part) = (Arc::clone(&lock), share(n, threads, id));
                        thread::spawn(move || operations(&lock, part))
                    })
                    .collect();
                let sum: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
                sum + end(&lock)
            })
        })
    })
}

/// They add to one number.
pub(crate) fn mutex(job: &Job) -> Report {
    let add = |count: &Mutex<u64>, n| {
        (0..n).for_each(|_| *count.lock().unwrap() += 1);
        0
    };
    together(job, add, |count| *count.lock().unwrap())
}

/// They compute, for a little while with the lock and for a longer one without.
pub(crate) fn mutex_work(job: &Job) -> Report {
    let add = |count: &Mutex<u64>, n| {
        for _ in 0..n {
            let mut count = count.lock().unwrap();
            steps(LOCKED);
            *count += 1;
            drop(count);
            steps(UNLOCKED);
        }
        0
    };
    together(job, add, |count| *count.lock().unwrap())
}

/// They let others run while they hold the lock.
pub(crate) fn mutex_held(job: &Job) -> Report {
    let add = |count: &Mutex<u64>, n| {
        for _ in 0..n {
            let mut count = count.lock().unwrap();
            thread::yield_now();
            *count += 1;
        }
        0
    };
    together(job, add, |count| *count.lock().unwrap())
}

/// One of sixteen operations writes.
pub(crate) fn rwlock(job: &Job) -> Report {
    let use_it = |lock: &RwLock<u64>, n| {
        let mut reads = 0;
        for operation in 0..n {
            if operation % 16 == 15 {
                *lock.write().unwrap() += 1;
            } else {
                reads += u64::from(*lock.read().unwrap() <= u64::MAX / 2);
            }
        }
        reads
    };
    together(job, use_it, |lock| *lock.read().unwrap())
}

/// Two threads take turns.
pub(crate) fn condvar(job: &Job) -> Report {
    fn turns((turn, changed): &(Mutex<u64>, Condvar), mine: u64, n: u64) {
        let mut turn = turn.lock().unwrap();
        for _ in 0..n {
            while *turn % 2 != mine {
                turn = changed.wait(turn).unwrap();
            }
            *turn += 1;
            changed.notify_one();
        }
    }
    let runtime = Runtime::new(job);
    job.repeat(|n| {
        runtime.run(|| {
            time(|| {
                let shared = Arc::new((Mutex::new(0), Condvar::new()));
                let other = {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || turns(&shared, 1, n))
                };
                turns(&shared, 0, n);
                other.join().unwrap();
                let taken = *shared.0.lock().unwrap();
                taken / 2
            })
        })
    })
}
