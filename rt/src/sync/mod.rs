//! Blocking synchronisation for green and OS threads alike: [`std::sync`] for green threads.
//!
//! The types have std's names, signatures and rules; [`Semaphore`] and Go's [`WaitGroup`] are
//! additions. A program changes its `use` lines. A green thread that waits is parked, and its OS
//! thread runs others; an OS thread that waits is blocked. Both kinds may wait for the same lock at
//! once. Everything except `WaitGroup` may be in a `static`.
//!
//! Types that never wait are std's own, and re-exported here: [`Arc`], [`Weak`], [`atomic`], and
//! the errors of poisoning. std's channels are in [`mpsc`]; [`channel`](crate::channel) has
//! crossbeam-channel's.

// One primitive per file. `word` is the queue that they share, on the nodes of `wait`.

mod barrier;
mod condvar;
mod lazy_lock;
pub mod mpsc;
mod mutex;
mod once;
mod once_lock;
mod poison;
mod raw_mutex;
mod raw_rwlock;
mod rwlock;
mod semaphore;
mod steady;
mod wait_group;
mod word;

#[doc(no_inline)]
pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, Weak, atomic};

pub use crate::sync::barrier::{Barrier, BarrierWaitResult};
pub use crate::sync::condvar::{Condvar, WaitTimeoutResult};
pub use crate::sync::lazy_lock::LazyLock;
pub use crate::sync::mutex::{Mutex, MutexGuard};
#[cfg(not(loom))]
#[expect(deprecated, reason = "std still has it")]
pub use crate::sync::once::ONCE_INIT;
pub use crate::sync::once::{Once, OnceState};
pub use crate::sync::once_lock::OnceLock;
pub use crate::sync::rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use crate::sync::semaphore::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
pub use crate::sync::wait_group::WaitGroup;
