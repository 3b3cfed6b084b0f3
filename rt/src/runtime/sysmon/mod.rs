//! The thread that makes up for the absence of preemption (Go's `sysmon`).
//!
//! [`run`] is its loop, [`retake`] finds stuck workers and replaces them, [`spares`] starts and
//! joins spare OS threads, [`handle`] is the side that other threads see.

pub(crate) mod handle;
pub(crate) mod retake;
pub(crate) mod run;
pub(crate) mod spares;
