//! `std::thread`, but green: ordinary blocking Rust, a million threads.
//!
//! [`go!`](crate::go)`(closure)` starts a *green thread*: a closure with a stack of its own. The
//! runtime runs it on one of a few OS threads (*workers*). When it blocks on an object of this
//! crate (a [`channel`], a [`JoinHandle`], [`sleep`], …), the runtime parks it instead of blocking
//! the OS thread. Code stays plain and synchronous.
//!
//! Everything here works in green threads and on ordinary OS threads alike, and both kinds may wait
//! for each other. The names and rules are those of std, crossbeam-channel and Go.
//!
//! ```
//! use gthread::{channel, go};
//!
//! let (tx, rx) = channel::unbounded();
//! for n in 1..=3 {
//!     let tx = tx.clone();
//!     go!(move || tx.send(n * n).unwrap());
//! }
//! drop(tx);
//! assert_eq!(rx.iter().sum::<i32>(), 14);
//! ```
//!
//! [`net`], [`fs`], [`process`], [`signal`] and [`io`] have std's types and functions for the outside
//! world: what blocks in std parks the green thread here.
//!
//! # Scheduling
//!
//! Child first: `go!` in a green thread runs the child at once, and an idle worker may steal the
//! caller's continuation. There is no preemption: a green thread runs until it blocks, yields,
//! forks or ends. A green thread that runs for long does not stall the others, because the runtime
//! then runs them on another OS thread. [`blocking`] announces a call that blocks, and makes that
//! hand-over immediate.
//!
//! # Soundness
//!
//! A green thread may continue on another OS thread after any suspension point: `go!`, and every
//! call that blocks. The compiler does not know that. The type system does not catch two
//! consequences:
//!
//! - A reference into a `thread_local!` must not be held across a suspension point (as in `with`
//!   closures that call `go!` or block). Two accesses in one function, with a suspension point
//!   between them, need not reach the same variable, nor that of the right OS thread: the optimiser
//!   may compute the address once.
//! - A value that is tied to the identity of its OS thread must not be kept across a suspension
//!   point.
//!
//! [`green_local!`](crate::green_local!) declares variables of green threads instead, which avoid
//! the first problem. [`Builder::pinned`] starts a green thread that never leaves its OS thread,
//! and avoids both. [`no_switch`] panics if code that must not be suspended would be suspended.
//! `GTHREAD_CHAOS` ([`RuntimeBuilder::chaos`]) makes rare moves frequent. `docs/soundness.md` in
//! the repository reviews std and common crates one by one, and describes what the compiler does.

#![cfg_attr(loom, allow(dead_code, unused_imports))]
// What only I/O uses.
#![cfg_attr(not(feature = "io"), allow(dead_code))]

mod loom;
mod sys;
mod util;

mod task;

mod runtime;

mod diagnostics;

mod boot;

mod wait;

pub mod thread;

pub mod time;

pub mod channel;
pub mod context;
pub mod sync;

mod err_group;

mod inspect;

#[cfg(feature = "io")]
pub mod fs;
#[cfg(feature = "io")]
pub mod io;
#[cfg(feature = "io")]
pub mod net;
#[cfg(feature = "io")]
pub mod os;
#[cfg(feature = "io")]
pub mod process;
#[cfg(feature = "io")]
pub mod signal;

pub mod testing;

pub use diagnostics::dump::{
    DescriptorDump, Dump, FrameDump, LockDump, OsThreadDump, Place, RuntimeDump, StackDump,
    ThreadDump, ThreadState, WaitDump, WorkerDump, WorkerState,
};
pub use err_group::ErrGroup;
pub use inspect::{dump, dump_on_sigquit};
pub use runtime::metrics::WorkerMetrics;
pub use thread::handle::{Thread, ThreadId, current};
pub use thread::join::join;
#[doc(inline)]
pub use thread::local::{AccessError, LocalKey};
pub use thread::runtime::{Leaks, Metrics, Runtime, RuntimeBuilder, StackSite};
pub use thread::scope::{Scope, ScopedJoinHandle, run, scope};
pub use thread::spawn::{Builder, JoinHandle, spawn};
pub use thread::stack::{stack_high_water, with_stack};
pub use time::{sleep, sleep_until};
pub use wait::no_switch::no_switch;
pub use wait::park::{blocking, park, park_timeout, yield_now};
