//! Starts a worker's OS thread.

use std::sync::Arc;
use std::{io, thread};

use crate::loom::{Mutex, Ordering, lock};
use crate::runtime::core::Core;
use crate::runtime::shared::Shared;
use crate::runtime::worker::Worker;
use crate::sys::sched_attr;

/// Asks the kernel for shorter slices for the calling OS thread, if the runtime was told to.
pub(crate) fn shorten_slices(shared: &Shared) {
    if shared.config.short_slices {
        sched_attr::shorten();
    }
}

/// Starts a worker's OS thread. Gives the deques back if the OS refuses.
pub(crate) fn start_worker(
    shared: &Arc<Shared>,
    core: Core,
    searching: bool,
) -> Result<(), (Box<Core>, io::Error)> {
    // The closure is lost if the OS refuses, so the deques go through a place that is not.
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

/// Deques for a spare: those of one that ended, else new ones, while there is room.
pub(crate) fn spare_core(shared: &Shared) -> Option<Core> {
    if let Some(core) = lock(&shared.cores).pop() {
        return Some(core);
    }
    // Sysmon alone grows the list, and not while a dump asks all who are in it to stop.
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

/// A panic on a stack of the runtime's own is a bug of ours, and leaves tasks that nobody will run. The
/// panic has been printed; better end than hang.
pub(crate) struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("fatal: gthread's scheduler panicked; this is a bug in gthread");
            std::process::abort();
        }
    }
}
