//! Allocation of thread ids.

use std::num::NonZeroU64;

use crate::loom::Ordering;

/// Reserves `count` consecutive ids of threads, green or not. Returns the first. Ids are never
/// reused.
pub(crate) fn next_ids(count: u64) -> NonZeroU64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let first = NEXT.fetch_add(count, Ordering::Relaxed);
    NonZeroU64::new(first).expect("2^64 ids are enough")
}
