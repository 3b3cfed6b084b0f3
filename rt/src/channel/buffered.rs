//! Channels with a buffer, bounded or not: a lock-free queue, and two lists of those who wait.
//!
//! A wake only says "look again": values are not handed to a waiter, so whoever looks first gets them,
//! and a waiter that was woken in vain waits again.
//!
//! Why no wake is lost: a receiver enters the wait list, fences, and looks at the buffer once more
//! before it sleeps; a sender puts its value in and looks at the list, both with sequentially consistent
//! operations. Or the sender is alone (`sole.rs`): then the receiver's second look comes to the buffer, and
//! finds all that was done alone. So one of them sees the other. Each value wakes one receiver at most, and a
//! woken receiver always looks at the buffer before it gives up, a woken select at this one before all others:
//! so a value cannot sit there while the receiver that was woken for it leaves. The same holds with the roles
//! exchanged.
//!
//! One more thing can keep receivers waiting: a slot that a select has reserved and not filled yet, with
//! values behind it whose wakes may be spent. Receivers that come upon it leave a mark, and for a mark
//! whoever fills the slot wakes them all.

use std::panic::Location;
use std::time::Instant;

use crossbeam_channel::{RecvTimeoutError, TryRecvError};
use crossbeam_utils::CachePadded;

use super::buffer::{Buffer, Difficulty, Peek, Pop, PushError};
use super::list::List;
use super::ring::{Reserved, Ring};
use crate::park::Retry;
use crate::prim::{AtomicBool, Ordering, fence};
use crate::task::Reason;
use crate::wait::{DISCONNECTED, WOKEN, WaitList};

/// What the two ends of a channel share.
pub(super) struct Buffered<T, B: Buffer<T>> {
    buffer: B,
    pub(super) receivers: CachePadded<WaitList>,
    pub(super) senders: CachePadded<WaitList>,
    /// A receiver has come upon a reserved slot since one was filled last.
    met_reserved: AtomicBool,
    /// The receivers are gone: whoever puts a value in nevertheless takes it out.
    abandoned: AtomicBool,
    _values: std::marker::PhantomData<T>,
}

impl<T, B: Buffer<T>> Buffered<T, B> {
    pub(super) fn new(buffer: B) -> Self {
        Self {
            buffer,
            receivers: CachePadded::new(WaitList::new()),
            senders: CachePadded::new(WaitList::new()),
            met_reserved: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            _values: std::marker::PhantomData,
        }
    }

    /// Sends if that takes a few instructions. Takes the value out of where it is only then.
    #[inline(always)]
    pub(super) fn send_at_once(&self, value: &mut Option<T>) -> Result<(), Difficulty> {
        self.buffer.push_at_once(value)?;
        self.receivers.notify_one();
        Ok(())
    }

    /// Receives if that takes a few instructions.
    #[inline(always)]
    pub(super) fn recv_at_once(&self) -> Result<T, Difficulty> {
        let value = self.buffer.pop_at_once()?;
        Ok(self.senders.notify_one_with(value))
    }

    /// Takes the value out of where it is only if it is sent.
    pub(super) fn try_send(&self, value: &mut Option<T>) -> Result<(), PushError> {
        self.buffer.try_push(value)?;
        self.receivers.notify_one();
        Ok(())
    }

    /// Sends what [`Buffered::send_at_once`] has not. Full if the time is over. Takes the value out of where it is only if
    /// it is sent.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn send_slowly(
        &self,
        value: &mut Option<T>,
        difficulty: Difficulty,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<(), PushError> {
        let mut sent = match difficulty {
            Difficulty::Wait => Err(PushError::Full),
            Difficulty::Unknown => {
                self.buffer.push_slowly(value).inspect(|()| self.receivers.notify_one())
            }
        };
        let mut retry = None;
        while sent == Err(PushError::Full) && deadline.is_none_or(|at| Instant::now() < at) {
            if !retry.get_or_insert_with(Retry::new).again() {
                self.senders.wait(|| self.buffer.can_push(), Reason::Send, deadline, site);
                retry = None;
            }
            sent = self.try_send(value);
        }
        sent
    }

    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        self.recv_at_once().or_else(|_| self.try_recv_slowly())
    }

    fn try_recv_slowly(&self) -> Result<T, TryRecvError> {
        loop {
            match self.buffer.pop_slowly() {
                Pop::Value(value) => {
                    self.senders.notify_one();
                    return Ok(value);
                }
                Pop::Hole => self.senders.notify_one(),
                Pop::Empty => return Err(TryRecvError::Empty),
                Pop::Closed => return Err(TryRecvError::Disconnected),
            }
        }
    }

    /// Receives what [`Buffered::recv_at_once`] has not.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn recv_slowly(
        &self,
        difficulty: Difficulty,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<T, RecvTimeoutError> {
        let mut received = match difficulty {
            Difficulty::Wait => Err(TryRecvError::Empty),
            Difficulty::Unknown => self.try_recv_slowly(),
        };
        let mut retry = None;
        loop {
            match received {
                Ok(value) => return Ok(value),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) if deadline.is_some_and(|at| Instant::now() >= at) => {
                    return Err(RecvTimeoutError::Timeout);
                }
                Err(TryRecvError::Empty) => {}
            }
            if !retry.get_or_insert_with(Retry::new).again() {
                self.receivers.wait(|| self.can_recv(), Reason::Recv, deadline, site);
                retry = None;
            }
            received = self.try_recv();
        }
    }

    /// Whether a `recv` need not wait. Who is going to wait is in the list of receivers already.
    pub(super) fn can_recv(&self) -> bool {
        let mut head = self.buffer.peek();
        if head == Peek::Reserved {
            // Whoever fills a slot that we still find reserved sees the mark.
            self.met_reserved.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            head = self.buffer.peek();
        }
        head == Peek::Ready
    }

    /// Whether a `send` need not wait.
    pub(super) fn can_send(&self) -> bool {
        self.buffer.can_push()
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        self.buffer.capacity()
    }

    /// Nothing more is sent: true for the first to say so.
    pub(super) fn close(&self) -> bool {
        let first = self.buffer.close();
        if first {
            self.wake_all();
        }
        first
    }

    /// The last receiver is gone, and with it the values that nobody can receive.
    pub(super) fn disconnect_receivers(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
        self.close();
        self.discard();
    }

    fn wake_all(&self) {
        self.receivers.notify_all(DISCONNECTED);
        self.senders.notify_all(DISCONNECTED);
    }

    fn discard(&self) {
        while let Pop::Value(_) | Pop::Hole = self.buffer.try_pop() {}
    }
}

/// What a select does with a bounded channel that it sends to: it chooses before it has the value.
impl<T> Buffered<T, Ring<T>> {
    /// Reserves a slot for a value that comes later.
    pub(super) fn reserve(&self) -> Result<Reserved, PushError> {
        self.buffer.reserve()
    }

    /// Sends the value into a reserved slot.
    pub(super) fn fill(&self, reserved: Reserved, value: T) -> Result<(), T> {
        if self.buffer.is_closed() {
            self.give_up(reserved);
            return Err(value);
        }
        self.buffer.fill(reserved, value);
        self.notify_filled();
        Ok(())
    }

    /// Gives a reserved slot back.
    pub(super) fn give_up(&self, reserved: Reserved) {
        self.buffer.abandon(reserved);
        self.notify_filled();
        // Whoever waits for room gets it as soon as nothing is left before the hole.
        if self.buffer.pass_hole() {
            self.senders.notify_one();
        }
    }

    fn notify_filled(&self) {
        fence(Ordering::SeqCst);
        if self.met_reserved.swap(false, Ordering::SeqCst) {
            self.receivers.notify_all(WOKEN);
        } else {
            self.receivers.notify_one();
        }
        if self.abandoned.load(Ordering::SeqCst) {
            // The last receiver may have found the slot unfilled.
            self.discard();
        }
    }
}

/// The unbounded one never keeps a sender waiting.
pub(super) type Unbounded<T> = Buffered<T, List<T>>;
pub(super) type Bounded<T> = Buffered<T, Ring<T>>;

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::prim::AtomicUsize;
    use crate::wait::sequentially_consistent;
    use loom::sync::Arc;
    use loom::thread;

    /// The receiver counts itself, fences and looks; the sender puts its value in and looks at the count.
    #[test]
    fn a_receiver_that_sleeps_is_seen_by_the_sender() {
        loom::model(|| {
            let world = Arc::new((Ring::shared(1), AtomicUsize::new(0)));
            let sender = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    let (ring, waiting) = &*world;
                    assert!(ring.try_push(&mut Some(1)).is_ok());
                    sequentially_consistent();
                    waiting.load(Ordering::SeqCst) > 0
                })
            };
            let (ring, waiting) = &*world;
            waiting.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let sleeps = ring.peek() == Peek::Empty;
            assert!(sender.join().unwrap() || !sleeps, "asleep, and nobody knows");
        });
    }

    /// The same with a slot that was reserved: the receiver leaves a mark.
    #[test]
    fn a_receiver_that_met_a_reserved_slot_is_seen_by_who_fills_it() {
        loom::model(|| {
            let ring = Ring::new(1);
            let reserved = ring.reserve().ok().unwrap();
            let world = Arc::new((ring, AtomicBool::new(false)));
            let filler = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    let (ring, met_reserved) = &*world;
                    ring.fill(reserved, 1);
                    fence(Ordering::SeqCst);
                    met_reserved.swap(false, Ordering::SeqCst)
                })
            };
            let (ring, met_reserved) = &*world;
            let mut sleeps = ring.peek() != Peek::Ready;
            if sleeps {
                met_reserved.store(true, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                sleeps = ring.peek() != Peek::Ready;
            }
            assert!(filler.join().unwrap() || !sleeps, "asleep, and nobody knows");
        });
    }
}
