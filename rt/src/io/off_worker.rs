//! System calls that block their OS thread, because the kernel has no way to wait for them in the
//! poller: operations on files, look-ups of names.
//!
//! Such a call runs on the green thread's own stack, while another worker takes the place of the
//! blocked one ([`blocking`]). A thousand green threads that read files would make a thousand OS
//! threads, and a disk serves no more calls at once than it has room for in its queue. So the number
//! of calls is bounded, for the whole process. A green thread above the bound parks.
//!
//! A call that waits for another thread or process is not made here: if such calls had taken all
//! turns, the call that ends their wait would get none.

use std::panic::Location;
use std::sync::LazyLock;

use crate::runtime::config::{USUAL_BLOCKING_IO, blocking_io};
use crate::sync::Semaphore;
use crate::wait::park::{blocking, is_green, spend};

/// The calls that may run now.
static TURNS: LazyLock<Semaphore> =
    // The first runtime has reported a wrong value.
    LazyLock::new(|| Semaphore::new(blocking_io().unwrap_or(USUAL_BLOCKING_IO)));

/// Runs `f`, which may block its OS thread, without holding up the other threads of the worker.
///
/// In a green thread, a suspension point before `f`. On an OS thread, and in a green thread that may
/// not suspend, `f` runs at once.
#[track_caller]
pub(crate) fn off_worker<T>(f: impl FnOnce() -> T) -> T {
    if !is_green() {
        return blocking(f);
    }
    spend(Location::caller());
    let _turn = TURNS.acquire();
    blocking(f)
}
