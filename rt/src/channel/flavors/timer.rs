//! Channels that deliver the time: once (`after`, `at`) or repeatedly (`tick`).
//!
//! They have no senders: a message is created when a receiver asks for it after its time.

use std::panic::Location;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, TryRecvError};

use crate::loom::{AtomicBool, AtomicU64, Ordering};
use crate::task::wait_info::Reason;
use crate::task::wait_state::TIMED_OUT;
use crate::wait::park::{Wait, interrupted};

/// Sleeps until an instant, or without end if there is none.
pub(crate) fn sleep_until(until: Option<Instant>, site: &'static Location<'static>) {
    while until.is_none_or(|until| Instant::now() < until) {
        let op = Wait::arm(site).interruptible().park(Reason::Recv, until, site);
        if op == TIMED_OUT && until.is_none() {
            interrupted(site);
        }
    }
}

/// Delivers one message.
pub(crate) struct At {
    when: Instant,
    received: AtomicBool,
}

impl At {
    pub(crate) fn new(when: Instant) -> Self {
        Self { when, received: AtomicBool::new(false) }
    }

    pub(crate) fn try_recv(&self) -> Result<Instant, TryRecvError> {
        // Of several receivers that see the message, one takes it.
        if self.is_ready() && !self.received.swap(true, Ordering::AcqRel) {
            Ok(self.when)
        } else {
            Err(TryRecvError::Empty)
        }
    }

    pub(crate) fn recv(
        &self,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<Instant, RecvTimeoutError> {
        let until = [self.deadline(), deadline].into_iter().flatten().min();
        sleep_until(until, site);
        if let Ok(when) = self.try_recv() {
            return Ok(when);
        }
        sleep_until(deadline, site);
        Err(RecvTimeoutError::Timeout)
    }

    /// Returns the time of the message, if it can still be received.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (!self.received.load(Ordering::Relaxed)).then_some(self.when)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.not_ready().is_none()
    }

    /// Returns `None` if the message is there. Otherwise returns a version: one before the time,
    /// another after the message was received.
    pub(crate) fn not_ready(&self) -> Option<usize> {
        if self.received.load(Ordering::Acquire) {
            return Some(1);
        }
        (Instant::now() < self.when).then_some(0)
    }
}

/// Delivers a message in each period. Messages that no receiver was there for are skipped.
pub(crate) struct Tick {
    start: Instant,
    period: u64,
    /// The time of the next message, in nanoseconds after `start`.
    next: AtomicU64,
}

impl Tick {
    pub(crate) fn new(period: Duration) -> Self {
        let period = nanos(period);
        Self { start: Instant::now(), period, next: AtomicU64::new(period) }
    }

    /// Returns `None` if the clock cannot represent that moment.
    fn instant(&self, nanos: u64) -> Option<Instant> {
        self.start.checked_add(Duration::from_nanos(nanos))
    }

    /// Takes the message that is due at `next`. The one after it is due a period later, or a period
    /// from now.
    fn take(&self, next: u64, now: u64) -> bool {
        let after = next.max(now).saturating_add(self.period);
        self.next.compare_exchange(next, after, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn try_recv(&self) -> Result<Instant, TryRecvError> {
        loop {
            let now = nanos(self.start.elapsed());
            let next = self.next.load(Ordering::Acquire);
            if now < next {
                return Err(TryRecvError::Empty);
            }
            if self.take(next, now) {
                return self.instant(next).ok_or(TryRecvError::Empty);
            }
        }
    }

    pub(crate) fn recv(
        &self,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<Instant, RecvTimeoutError> {
        loop {
            let next = self.next.load(Ordering::Acquire);
            let when = self.instant(next);
            if deadline.is_some_and(|deadline| when.is_none_or(|when| deadline < when)) {
                sleep_until(deadline, site);
                return Err(RecvTimeoutError::Timeout);
            }
            // The message is taken before it is due, so that each of several receivers waits for a
            // different message.
            if self.take(next, nanos(self.start.elapsed())) {
                sleep_until(when, site);
                return when.ok_or(RecvTimeoutError::Timeout);
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.instant(self.next.load(Ordering::Acquire))
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.not_ready().is_none()
    }

    /// Returns `None` if a message is there. Otherwise returns a version: the time of the next
    /// message.
    pub(crate) fn not_ready(&self) -> Option<usize> {
        let next = self.next.load(Ordering::Acquire);
        let ready = self.instant(next).is_some_and(|when| Instant::now() >= when);
        (!ready).then_some(next as usize)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
