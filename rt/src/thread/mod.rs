//! [`std::thread`] for green threads: its names, its signatures, its rules.
//!
//! A program changes `use std::thread` to `use gthread::thread`, and its `thread::spawn` starts
//! green threads. All stable items of std's module are here. The few differences are described at
//! the items, and listed in `docs/from-std.md` in the repository. [`thread_local!`] is
//! [`green_local!`](crate::green_local!). The same items are at the root of this crate, together
//! with items that std does not have.
//!
//! Like everything in this crate they may be used on OS threads too: there, [`park`] blocks the OS
//! thread, and [`current`] returns a handle to it.
//!
//! # Examples
//!
//! ```
//! use gthread::thread;
//!
//! let doubled: Vec<_> = (0..10).map(|n| thread::spawn(move || 2 * n)).collect();
//! let sum: i32 = doubled.into_iter().map(|thread| thread.join().unwrap()).sum();
//! assert_eq!(sum, 90);
//!
//! let name = thread::Builder::new()
//!     .name("named".into())
//!     .spawn(|| thread::current().name().map(str::to_owned))?;
//! assert_eq!(name.join().unwrap().as_deref(), Some("named"));
//! # Ok::<(), std::io::Error>(())
//! ```

pub(crate) mod handle;
pub(crate) mod join;
pub(crate) mod join_timeout;
#[doc(hidden)] // What its macro names; the rest is re-exported.
pub mod local;
pub(crate) mod runtime;
pub(crate) mod scope;
pub(crate) mod spawn;
pub(crate) mod stack;

use std::panic::Location;
use std::time::Duration;

use crate::time::sleep_for;
use crate::wait::park::park_for;

pub use crate::thread::handle::{Thread, ThreadId, current};
#[doc(inline)]
pub use crate::thread::local::{AccessError, LocalKey};
pub use crate::thread::scope::{Scope, ScopedJoinHandle, scope};
pub use crate::thread::spawn::{Builder, JoinHandle, spawn};
#[doc(inline)]
pub use crate::time::{sleep, sleep_until};
pub use crate::wait::park::{park, park_timeout, yield_now};

/// The result of [`JoinHandle::join`]: std's own type.
#[doc(inline)]
pub use std::thread::Result;

/// Returns how many threads can run at once: std's own function. It is also the number of workers
/// of a runtime, unless the runtime's builder or `GTHREAD_WORKERS` says otherwise.
#[doc(inline)]
pub use std::thread::available_parallelism;

/// Returns `true` if the calling thread, green or not, is unwinding: std's own function. (A green
/// thread that unwinds is not suspended, so its OS thread unwinds for it alone.)
#[doc(inline)]
pub use std::thread::panicking;

/// Puts the current thread to sleep for at least `ms` milliseconds, like [`std::thread::sleep_ms`].
#[deprecated(note = "replaced by `sleep`, as in std")]
#[track_caller]
pub fn sleep_ms(ms: u32) {
    sleep_for(Duration::from_millis(u64::from(ms)), Location::caller());
}

/// [Parks](park) the current thread for no longer than `ms` milliseconds, like
/// [`std::thread::park_timeout_ms`].
#[deprecated(note = "replaced by `park_timeout`, as in std")]
#[track_caller]
pub fn park_timeout_ms(ms: u32) {
    park_for(Duration::from_millis(u64::from(ms)), Location::caller());
}
