//! The list of all runtimes, for dumps of all of them. A runtime enters itself when it starts, and
//! leaves when it stops.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::runtime::driver::poller;
use crate::runtime::shared::Shared;

static LIVE: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

fn live() -> MutexGuard<'static, Vec<Weak<Shared>>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the runtimes that have started and not stopped, the oldest first.
pub(crate) fn live_runtimes() -> Vec<Arc<Shared>> {
    live().iter().filter_map(Weak::upgrade).collect()
}

pub(crate) fn register(shared: &Arc<Shared>) {
    live().push(Arc::downgrade(shared));
}

pub(crate) fn unregister(shared: &Shared) {
    live().retain(|other| !std::ptr::eq(other.as_ptr(), shared));
}

/// Has a worker of each other runtime woken if nobody has the poller's role: one of those that are about
/// to end may have had it. Called by the workers and the sysmon of a runtime that stops.
pub(crate) fn hand_over_poller() {
    if poller::is_deserted() {
        let live = live_runtimes();
        live.iter().for_each(|shared| shared.answer(shared.idle.notify_outside()));
    }
}
