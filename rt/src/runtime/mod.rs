//! The scheduler. `docs/design.md` has the way of a spawn, a wake and a timer through it.
//!
//! [`shared`] is the data that all workers share, [`worker`] one worker and its loop, [`sysmon`] the thread that
//! makes up for the absence of preemption, [`policy`] the decisions that a worker asks for, [`queue`] where runnable
//! tasks wait, [`driver`] what an idle worker sleeps in, [`handle`] what the outside has, [`lifecycle`] start and end.

pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod core;
pub(crate) mod cpu_bound;
pub(crate) mod driver;
pub(crate) mod gate;
pub(crate) mod handle;
pub(crate) mod idle;
pub(crate) mod last_turns;
pub(crate) mod lifecycle;
pub(crate) mod metrics;
pub(crate) mod policy;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod remote;
pub(crate) mod shared;
pub(crate) mod status;
pub(crate) mod sysmon;
pub(crate) mod timed_joiners;
pub(crate) mod worker;
