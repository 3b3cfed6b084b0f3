//! The thread that makes up for the absence of preemption (Go's `sysmon`).

pub(crate) mod handle;
pub(crate) mod retake;
pub(crate) mod run;
pub(crate) mod spares;
