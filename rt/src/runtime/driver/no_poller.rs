//! Stands in for `poller.rs` in builds without the feature `io`: no descriptor is ever registered.

use std::time::{Duration, Instant};

use crate::task::header::Wake;

pub(crate) const STALE: Duration = Duration::ZERO;
pub(crate) const LATE: Duration = Duration::ZERO;

pub(crate) enum Poller {}

pub(crate) enum Role {}

#[inline(always)]
pub(crate) fn active() -> Option<&'static Poller> {
    None
}

#[inline(always)]
pub(crate) fn is_deserted() -> bool {
    false
}

pub(crate) fn start_runtime() {}

#[inline(always)]
pub(crate) fn is_waited_for() -> bool {
    false
}

impl Poller {
    pub(crate) fn try_take(&'static self) -> Option<Role> {
        match *self {}
    }

    pub(crate) fn try_take_after(&'static self, _time: Duration) -> Option<Role> {
        match *self {}
    }
}

impl Role {
    pub(crate) fn wait_until(&mut self, _deadline: Option<Instant>) -> bool {
        match *self {}
    }

    pub(crate) fn look(&mut self) -> bool {
        match *self {}
    }

    pub(crate) fn hand_out(self, _wake: impl FnMut(Wake)) {
        match self {}
    }
}
