//! Blocking synchronisation for green and OS threads alike. One primitive per file.

mod barrier;
mod condvar;
mod holder;
mod mutex;
mod poison;
mod raw_mutex;
mod raw_rwlock;
mod rwlock;
mod wait_group;
mod word;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use mutex::{Mutex, MutexGuard};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use wait_group::WaitGroup;
