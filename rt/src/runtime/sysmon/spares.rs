//! Spare workers: OS threads that run in the places of blocked ones.

use std::sync::Arc;
use std::thread;

use crate::loom::Ordering;
use crate::runtime::shared::Shared;
use crate::runtime::worker::launch::{keep_core, spare_core, start_worker};
use crate::sys::stderr;

/// Starts the spare that `Idle` has counted already. Returns `false` if none could be started.
pub(crate) fn start_spare(shared: &Arc<Shared>) -> bool {
    let refused = match spare_core(shared) {
        None => format!(
            "there are {} spare OS threads in their places, the most that are allowed. Allow more with \
             RuntimeBuilder::max_spares or GTHREAD_MAX_SPARES, or block fewer: waiting in gthread's own channels, \
             locks and sleep keeps no OS thread",
            shared.config.max_spares,
        ),
        Some(core) => match start_worker(shared, core, true) {
            Ok(()) => return true,
            Err((core, error)) => {
                keep_core(shared, *core);
                format!(
                    "no spare OS thread can be started in their places: {error}. The limit may be ulimit -u or \
                     the control group's pids.max"
                )
            }
        },
    };
    // Nothing is lost: the next look tries again, and a worker that comes back takes the work.
    shared.idle.spare_failed();
    if !shared.sysmon.complained.swap(true, Ordering::Relaxed) {
        stderr::line(format_args!(
            "gthread: all workers are blocked, and {refused}. Green threads that are ready wait until a worker is \
             free."
        ));
    }
    false
}

/// Joins the OS threads of spares that have ended.
pub(crate) fn reap_threads(shared: &Shared) {
    let mut threads = crate::loom::lock(&shared.threads);
    let mut index = 0;
    while index < threads.len() {
        if threads[index].is_finished() {
            let _ = thread::JoinHandle::join(threads.swap_remove(index));
        } else {
            index += 1;
        }
    }
}
