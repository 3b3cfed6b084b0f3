//! Building blocks that know nothing of threads: barriers, small locks, back-off.

pub(crate) mod backoff;
pub(crate) mod barrier;
pub(crate) mod biased_lock;
pub(crate) mod spin_lock;
