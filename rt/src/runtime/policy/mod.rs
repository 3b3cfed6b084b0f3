//! Decisions, without a worker: small structs that are told what happened, and say what to do.

pub(crate) mod injector_turn;
pub(crate) mod pause;
pub(crate) mod random;
pub(crate) mod sharing;
pub(crate) mod stretch;
pub(crate) mod takeover;
pub(crate) mod wake_beside;
