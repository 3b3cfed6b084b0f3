//! Channels with a buffer, bounded or not.
//!
//! The buffer is crossbeam-channel's lock-free queue, used through its non-blocking half; the waiting
//! is ours. A wake only says "look again": values are not handed to a waiter, so whoever looks first
//! gets them, and a waiter that was woken in vain waits again.
//!
//! Why no wake is lost: a receiver enters the wait list, fences, and looks at the buffer once more
//! before it sleeps; a sender puts its value in, fences, and looks at the list. One of them sees the
//! other. Each value wakes one receiver at most, and a woken receiver always looks at the buffer before
//! it gives up, so a value cannot sit there while its receiver leaves with a timeout. The same holds
//! with the roles exchanged.

use std::mem::ManuallyDrop;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel as buffer;
use crossbeam_channel::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

use crate::prim::{AtomicUsize, Ordering};
use crate::task::Reason;
use crate::wait::{DISCONNECTED, WaitList};

/// What both ends of a channel share beside the buffer.
struct Shared {
    receivers: Side,
    senders: Side,
}

/// One side: who waits, and how many ends there are.
struct Side {
    waiting: WaitList,
    ends: AtomicUsize,
}

impl Side {
    fn new() -> Self {
        Self { waiting: WaitList::new(), ends: AtomicUsize::new(1) }
    }

    fn is_gone(&self) -> bool {
        self.ends.load(Ordering::Acquire) == 0
    }

    /// One more end of this side.
    fn enter(&self) {
        self.ends.fetch_add(1, Ordering::Relaxed);
    }

    /// One end is gone: if it was the last, those who wait on the other side need not.
    fn leave(&self, other: &Self) {
        if self.ends.fetch_sub(1, Ordering::AcqRel) == 1 {
            other.waiting.notify_all(DISCONNECTED);
        }
    }
}

pub(super) struct Sender<T> {
    buffer: ManuallyDrop<buffer::Sender<T>>,
    shared: Arc<Shared>,
}

pub(super) struct Receiver<T> {
    buffer: ManuallyDrop<buffer::Receiver<T>>,
    shared: Arc<Shared>,
}

/// `cap` is not zero; `None` is unbounded.
pub(super) fn new<T>(cap: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = match cap {
        Some(cap) => buffer::bounded(cap),
        None => buffer::unbounded(),
    };
    let shared = Arc::new(Shared { receivers: Side::new(), senders: Side::new() });
    let tx = Sender { buffer: ManuallyDrop::new(tx), shared: Arc::clone(&shared) };
    (tx, Receiver { buffer: ManuallyDrop::new(rx), shared })
}

impl<T> Sender<T> {
    pub(super) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.buffer.try_send(value)?;
        self.shared.receivers.waiting.notify_one();
        Ok(())
    }

    pub(super) fn send(
        &self,
        value: T,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<(), SendTimeoutError<T>> {
        let mut unsent = value;
        loop {
            unsent = match self.try_send(unsent) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(value)) => value,
                Err(TrySendError::Disconnected(value)) => {
                    return Err(SendTimeoutError::Disconnected(value));
                }
            };
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return Err(SendTimeoutError::Timeout(unsent));
            }
            let ready = || !self.buffer.is_full() || self.shared.receivers.is_gone();
            self.shared.senders.waiting.wait(ready, Reason::Send, deadline, site);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        self.buffer.capacity()
    }

    pub(super) fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Receiver<T> {
    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        let value = self.buffer.try_recv()?;
        self.shared.senders.waiting.notify_one();
        Ok(value)
    }

    pub(super) fn recv(
        &self,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<T, RecvTimeoutError> {
        loop {
            match self.try_recv() {
                Ok(value) => return Ok(value),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return Err(RecvTimeoutError::Timeout);
            }
            let ready = || !self.buffer.is_empty() || self.shared.senders.is_gone();
            self.shared.receivers.waiting.wait(ready, Reason::Recv, deadline, site);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        self.buffer.capacity()
    }

    pub(super) fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.enter();
        Self { buffer: self.buffer.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.enter();
        Self { buffer: self.buffer.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // The buffer learns of it first, so that whoever is woken finds it disconnected.
        // SAFETY: dropped here, once.
        unsafe { ManuallyDrop::drop(&mut self.buffer) };
        self.shared.senders.leave(&self.shared.receivers);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // As above.
        // SAFETY: dropped here, once.
        unsafe { ManuallyDrop::drop(&mut self.buffer) };
        self.shared.receivers.leave(&self.shared.senders);
    }
}
