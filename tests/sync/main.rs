//! Locks and what else threads wait at: `gthread::sync`.

mod barrier;
mod condvar;
mod fair;
mod mixed_waiters;
mod mpsc;
mod mutex;
mod once;
mod rwlock;
mod semaphore;
mod wait_group;
