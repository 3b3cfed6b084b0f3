//! Blocking synchronisation for green and OS threads alike. One primitive per file.

mod condvar;
mod holder;
mod mutex;
mod poison;
mod raw_mutex;
mod wait_group;
mod word;

pub use condvar::{Condvar, WaitTimeoutResult};
pub use mutex::{Mutex, MutexGuard};
pub use wait_group::WaitGroup;
