//! Guard-paged stack memory for green threads.
//!
//! A [`Slot`] is one stack: a range of address space that begins with a guard, so that an overflow
//! faults instead of overwriting a neighbour. Slots are cut from large reservations (chunks), and
//! come in power-of-two [`SizeClass`]es. A [`Pool`] never gives a slot to two owners. A [`Cache`]
//! in front of the pool serves one thread without locks.
//!
//! ```text
//!   bottom                                                              top
//!     | guard | ............ untouched: costs nothing ............ | used |
//!     '-------'--------------------------------------------------'------'
//!      faults            grows down  <----------------------------  starts here
//! ```
//!
//! This crate manages memory only. It has no tasks, no switches, and no threads.

mod advise;
mod cache;
mod chunk;
mod class;
mod error;
mod fault;
mod guard;
mod map;
mod pool;
mod size_class_pool;
mod slot;
#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use class::SizeClass;
pub use error::StackError;
pub use fault::{AlternateStack, on_fault};
pub use guard::{GuardConfig, GuardKind};
pub use pool::{Pool, Trim};
pub use slot::Slot;
pub use slot::thread_high_water;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Returns the size of a page on this machine in bytes.
///
/// Guards and slots are multiples of it. It is at most 64 KiB on the supported architectures.
#[inline]
pub fn page_size() -> usize {
    match PAGE.load(Relaxed) {
        0 => ask_page_size(),
        page => page,
    }
}

/// The page size, or zero until the kernel was asked.
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// Asks the kernel for the page size, and stores it.
#[cold]
fn ask_page_size() -> usize {
    // SAFETY: sysconf has no preconditions. It reads a constant of the running kernel.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = usize::try_from(page).expect("the kernel reports a page size");
    PAGE.store(page, Relaxed);
    page
}
