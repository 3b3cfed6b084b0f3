//! Starts a worker's OS thread.

use std::sync::Arc;
use std::{io, thread};

use crate::loom::{Mutex, Ordering, lock};
use crate::runtime::core::Core;
use crate::runtime::shared::Shared;
use crate::runtime::worker::Worker;
use crate::sys::sched_attr;

/// Asks the kernel for shorter time slices for the calling OS thread, if the runtime is configured
/// so.
pub(crate) fn shorten_slices(shared: &Shared) {
    if shared.config.short_slices {
        sched_attr::shorten();
    }
}

/// Starts a worker's OS thread. Returns the core if the OS refuses.
pub(crate) fn start_worker(
    shared: &Arc<Shared>,
    core: Core,
    searching: bool,
) -> Result<(), (Box<Core>, io::Error)> {
    // If the OS refuses, the closure is lost. So the core is passed in a place outside of the
    // closure.
    let place = Arc::new(Mutex::new(Some(core)));
    let (own, inside) = (Arc::clone(shared), Arc::clone(&place));
    let index = lock(&place).as_ref().map_or(0, |core| core.index);
    let name = format!("{}-{index}", shared.config.name);
    shared.last_turns.expect_thread();
    let started = thread::Builder::new().name(name).spawn(move || {
        let _abort = AbortOnUnwind;
        shorten_slices(&own);
        let core = lock(&inside).take().expect("the core is taken by its worker alone");
        let worker = Worker::new(Arc::clone(&own), core, searching);
        worker.run();
        keep_core(&own, worker.into_core());
        own.last_turns.thread_ends();
    });
    match started {
        Ok(thread) => {
            lock(&shared.threads).push(thread);
            Ok(())
        }
        Err(error) => {
            shared.last_turns.thread_ends();
            let core = lock(&place).take().expect("no worker was started to take it");
            Err((Box::new(core), error))
        }
    }
}

/// Returns a core for a spare: that of a spare that has ended, or a new one if there is room.
pub(crate) fn spare_core(shared: &Shared) -> Option<Core> {
    if let Some(core) = lock(&shared.cores).pop() {
        return Some(core);
    }
    // Only sysmon grows the list, and not while a dump asks the workers in the list to stop.
    let _going = shared.world.keep_going();
    let index = shared.used.load(Ordering::Relaxed);
    let remote = shared.remotes.get(index)?;
    let core = Core::new(u32::try_from(index).ok()?);
    remote.set(Arc::clone(&core.remote)).expect("each is set once");
    shared.used.store(index + 1, Ordering::Release);
    Some(core)
}

pub(crate) fn keep_core(shared: &Shared, core: Core) {
    lock(&shared.cores).push(core);
}

/// Aborts the process if it is dropped by a panic. A panic on a stack of the runtime itself is a
/// bug in gthread, and leaves tasks that no thread will run. Its message is printed already, and
/// ending is better than hanging.
pub(crate) struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("fatal: gthread's scheduler panicked; this is a bug in gthread");
            std::process::abort();
        }
    }
}
