//! The request that a suspending task passes to its worker, in one register.

use std::ptr::NonNull;

use crate::util::spin_lock::Held;

/// An encoded request: the two lowest bits say which. With `SPAWNED` the rest is the address of a
/// task, with `HELD` that of a lock. Both have addresses that are multiples of four.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SwitchRequest(usize);

/// A decoded request.
pub(crate) enum Request {
    /// Push me as a stealable continuation and run this child, a task that the suspending parent
    /// has just made.
    Spawned(NonNull<()>),
    /// My wait is armed: commit it.
    Parked,
    /// I am in a queue, and hold its lock: release it.
    ParkedHolding(Held),
    /// Let others run, then me.
    Yielded,
}

impl SwitchRequest {
    const TAG: usize = 0b11;
    const SPAWNED: usize = 0;
    const HELD: usize = 3;

    pub(crate) const PARKED: Self = Self(1);
    pub(crate) const YIELDED: Self = Self(2);
    /// I have withdrawn from my wait, and never go on. Used only in the last turns of a runtime
    /// (`runtime/worker/last_turns.rs`), where the request is compared instead of decoded.
    pub(crate) const OVER: Self = Self(6);
    /// My wait was claimed while I withdrew from it: run me when I am made runnable. Used like
    /// `OVER`.
    pub(crate) const CLAIMED: Self = Self(10);

    #[inline]
    pub(crate) fn spawned(child: NonNull<()>) -> Self {
        Self(child.as_ptr() as usize)
    }

    #[inline]
    pub(crate) fn parked_holding(lock: Held) -> Self {
        Self(lock.into_raw() | Self::HELD)
    }

    #[inline]
    pub(crate) fn decode(self) -> Request {
        match self {
            Self(word) if word & Self::TAG == Self::HELD => {
                // SAFETY: only `parked_holding` makes such values, from `Held::into_raw`, and a
                // request is decoded once.
                Request::ParkedHolding(unsafe { Held::from_raw(word & !Self::TAG) })
            }
            Self::PARKED => Request::Parked,
            Self::YIELDED => Request::Yielded,
            Self(address) => {
                debug_assert_eq!(address & Self::TAG, Self::SPAWNED);
                Request::Spawned(NonNull::new(address as *mut ()).expect("tasks are not at null"))
            }
        }
    }
}
