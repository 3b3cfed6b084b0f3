//! The schedulers that there are, for dumps of all of them.
//!
//! The only thing that two runtimes share, and they do not notice: each enters itself when it starts and leaves
//! when it stops.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Sched;

static LIVE: Mutex<Vec<Weak<Sched>>> = Mutex::new(Vec::new());

fn live() -> MutexGuard<'static, Vec<Weak<Sched>>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The schedulers that have started and not stopped, the oldest first.
pub(crate) fn live_scheds() -> Vec<Arc<Sched>> {
    live().iter().filter_map(Weak::upgrade).collect()
}

impl Sched {
    pub(super) fn register(self: &Arc<Self>) {
        live().push(Arc::downgrade(self));
    }

    pub(super) fn unregister(&self) {
        live().retain(|other| !std::ptr::eq(other.as_ptr(), self));
    }
}
