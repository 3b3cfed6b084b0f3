//! `std::thread`, but green: ordinary blocking Rust, a million threads.
//!
//! [`go!`](crate::go)`(closure)` starts a *green thread*: a closure on a stack of its own, which the
//! runtime runs on one of a few OS threads (*workers*) and parks, instead of blocking the OS thread,
//! whenever it blocks on something of this crate: a [`channel`], a [`JoinHandle`], [`sleep`], … Code
//! stays plain and synchronous.
//!
//! Everything here works in green threads and on ordinary OS threads alike, and both kinds may wait for
//! each other. The names and rules are std's, crossbeam-channel's and Go's.
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
//! # Scheduling
//!
//! Child first: `go!` in a green thread runs the child at once, and an idle worker may steal the
//! caller's continuation. There is no preemption: a green thread runs until it blocks, yields, forks or
//! ends. One that does not for long does not stop the others, because the runtime then runs them on
//! another OS thread; [`blocking`] announces such a call, and makes the hand-over immediate.
//!
//! # Soundness
//!
//! A green thread may continue on another OS thread after any suspension point: `go!`, and whatever
//! blocks. The compiler does not know that. Two things follow that the type system does not catch:
//!
//! - A reference into a `thread_local!` must not be held across a suspension point (`with` closures
//!   that call `go!` or block), nor may two accesses in one function with a suspension point between
//!   them be relied on to reach the same, or the right, OS thread's variable: the optimiser may compute
//!   its address once.
//! - A value that is tied to the identity of its OS thread must not be kept across one.
//!
//! [`green_local!`](crate::green_local!) declares variables of green threads instead, which are free of the first;
//! [`Builder::pinned`] starts a green thread that never leaves its OS thread and is free of both.
//! [`no_switch`] panics where code that must not be suspended would be; `GTHREAD_CHAOS`
//! ([`RuntimeBuilder::chaos`]) makes rare moves usual. `docs/soundness.md` in the repository goes through
//! std and common crates one by one, and says what the compiler does.

#![cfg_attr(loom, allow(dead_code, unused_imports))]

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

pub mod testing;

pub use diagnostics::dump::{
    Dump, FrameDump, LockDump, OsThreadDump, Place, RuntimeDump, StackDump, ThreadDump,
    ThreadState, WaitDump, WorkerDump, WorkerState,
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
