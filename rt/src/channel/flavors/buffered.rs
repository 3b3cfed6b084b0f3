//! Channels with a buffer, bounded or not: a lock-free queue, and two lists of waiting threads.
//!
//! A wake means only "look again": values are not passed to a waiter. The first thread that looks
//! at the buffer gets the value, and a waiter that was woken in vain waits again.
//!
//! Why no wake is lost:
//! - A receiver enters the wait list, fences, and looks at the buffer once more before it sleeps. A
//!   sender puts its value in and then looks at the list. Both use sequentially consistent
//!   operations, so one of them sees the other.
//! - Each value wakes at most one receiver. A woken receiver always looks at the buffer before it
//!   gives up, and a woken select looks at this channel before all others. So a value cannot stay
//!   there while the receiver that was woken for it leaves.
//!
//! The same holds with the roles exchanged, where a sender waits for room. Room is made by taking a
//! value out, and by giving up a permit.

use std::mem::{self, MaybeUninit};
use std::panic::Location;
use std::sync::OnceLock;
use std::time::Instant;

use crossbeam_channel::{RecvTimeoutError, TryRecvError};
use crossbeam_utils::CachePadded;

use crate::channel::flavors::array::{Permit, Ring};
use crate::channel::flavors::buffer::{Buffer, NotReady, PushError};
use crate::channel::flavors::list::List;
use crate::task::wait_info::Reason;
use crate::wait::list::WaitList;
use crate::wait::park::Retry;
use crate::wait::queue::DISCONNECTED;

/// The state shared by the two ends of a channel.
pub(crate) struct Buffered<T, B: Buffer<T>> {
    buffer: B,
    pub(crate) receivers: CachePadded<WaitList>,
    pub(crate) senders: CachePadded<WaitList>,
    /// Called once, when the channel is closed.
    on_close: OnceLock<Box<dyn Fn() + Send + Sync>>,
    _values: std::marker::PhantomData<T>,
}

impl<T, B: Buffer<T>> Buffered<T, B> {
    pub(crate) fn new(buffer: B) -> Self {
        Self {
            buffer,
            receivers: CachePadded::new(WaitList::new()),
            senders: CachePadded::new(WaitList::new()),
            on_close: OnceLock::new(),
            _values: std::marker::PhantomData,
        }
    }

    /// Sends, if that takes only a few instructions. A value that is not sent stays where it is.
    #[inline(always)]
    pub(crate) fn send_at_once(&self, value: &mut Option<T>) -> Result<(), NotReady> {
        self.buffer.push_at_once(value)?;
        self.receivers.notify_one();
        Ok(())
    }

    /// Receives, if that takes only a few instructions.
    #[inline(always)]
    pub(crate) fn recv_at_once(&self, place: &mut MaybeUninit<T>) -> Result<(), NotReady> {
        self.buffer.pop_at_once(place)?;
        self.senders.notify_one();
        Ok(())
    }

    /// Sends without blocking. A value that is not sent stays where it is.
    pub(crate) fn try_send(&self, value: &mut Option<T>) -> Result<(), PushError> {
        self.buffer.try_push(value)?;
        self.receivers.notify_one();
        Ok(())
    }

    /// Completes a send that [`Buffered::send_at_once`] has not done. Returns `Full` if the
    /// deadline has passed. A value that is not sent stays where it is.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn send_slowly(
        &self,
        value: &mut Option<T>,
        not_ready: NotReady,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<(), PushError> {
        let mut sent = match not_ready {
            NotReady::Wait => Err(PushError::Full),
            NotReady::Unknown => {
                self.buffer.push_slowly(value).inspect(|()| self.receivers.notify_one())
            }
        };
        let mut retry = None;
        while sent == Err(PushError::Full) && deadline.is_none_or(|at| Instant::now() < at) {
            if !retry.get_or_insert_with(Retry::new).again() {
                self.senders.wait(|| self.buffer.full().is_none(), Reason::Send, deadline, site);
                retry = None;
            }
            sent = self.try_send(value);
        }
        sent
    }

    /// Receives without blocking.
    pub(crate) fn try_recv(&self, place: &mut MaybeUninit<T>) -> Result<(), TryRecvError> {
        self.recv_at_once(place).or_else(|_| self.try_recv_slowly(place))
    }

    fn try_recv_slowly(&self, place: &mut MaybeUninit<T>) -> Result<(), TryRecvError> {
        self.buffer.pop_slowly(place).inspect(|()| self.senders.notify_one())
    }

    /// Completes a receive that [`Buffered::recv_at_once`] has not done.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn recv_slowly(
        &self,
        place: &mut MaybeUninit<T>,
        not_ready: NotReady,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<(), RecvTimeoutError> {
        let mut received = match not_ready {
            NotReady::Wait => Err(TryRecvError::Empty),
            NotReady::Unknown => self.try_recv_slowly(place),
        };
        let mut retry = None;
        loop {
            match received {
                Ok(()) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return Err(RecvTimeoutError::Timeout);
            }
            if !retry.get_or_insert_with(Retry::new).again() {
                self.receivers.wait(|| self.buffer.empty().is_none(), Reason::Recv, deadline, site);
                retry = None;
            }
            received = self.try_recv(place);
        }
    }

    /// See [`Buffer::empty`].
    pub(crate) fn empty(&self) -> Option<usize> {
        self.buffer.empty()
    }

    /// See [`Buffer::full`].
    pub(crate) fn full(&self) -> Option<usize> {
        self.buffer.full()
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        self.buffer.capacity()
    }

    /// Has `hook` called when the channel is closed, by the thread that closes it. Called at most
    /// once, before there is a receiver that could close the channel.
    pub(crate) fn on_close(&self, hook: impl Fn() + Send + Sync + 'static) {
        let set = self.on_close.set(Box::new(hook));
        assert!(set.is_ok(), "a channel has one hook");
    }

    /// Closes the channel for sending. Returns `true` to the first caller.
    pub(crate) fn close(&self) -> bool {
        let first = self.buffer.close();
        if first {
            self.receivers.notify_all(DISCONNECTED);
            self.senders.notify_all(DISCONNECTED);
            if let Some(hook) = self.on_close.get() {
                hook();
            }
        }
        first
    }

    /// Called when the last receiver is gone: closes the channel and drops the values in it.
    ///
    /// No value comes after that: the channel is closed first, and permits are void once it is
    /// closed.
    ///
    /// If a value panics while it is dropped, the rest is leaked: no other destructor runs during
    /// the unwinding.
    pub(crate) fn disconnect_receivers(&self) {
        struct LeakRest<'a, T, B: Buffer<T>>(&'a Buffered<T, B>);
        impl<T, B: Buffer<T>> Drop for LeakRest<'_, T, B> {
            fn drop(&mut self) {
                let mut place = MaybeUninit::uninit();
                while self.0.buffer.pop_slowly(&mut place).is_ok() {}
            }
        }
        self.close();
        let leak_rest = LeakRest(self);
        let mut place = MaybeUninit::uninit();
        while self.buffer.pop_slowly(&mut place).is_ok() {
            // SAFETY: the pop succeeded, so it has written the place.
            unsafe { place.assume_init_drop() };
        }
        mem::forget(leak_rest);
    }
}

/// Operations of a select that sends to a bounded channel: it chooses before it has the value.
impl<T> Buffered<T, Ring<T>> {
    /// Takes a permit for a value that comes later.
    pub(crate) fn reserve(&self) -> Result<Permit, PushError> {
        self.buffer.reserve()
    }

    /// Sends with a permit. Fails if the channel is closed; the value then stays where it is.
    pub(crate) fn fill(&self, permit: Permit, value: &mut Option<T>) -> Result<(), PushError> {
        self.buffer.fill(permit, value)?;
        self.receivers.notify_one();
        Ok(())
    }

    /// Gives a permit back, for another sender.
    pub(crate) fn give_up(&self, permit: Permit) {
        self.buffer.give_up(permit);
        self.senders.notify_one();
    }
}

/// An unbounded channel; it never blocks a sender.
pub(crate) type Unbounded<T> = Buffered<T, List<T>>;
pub(crate) type Bounded<T> = Buffered<T, Ring<T>>;

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::{AtomicUsize, Ordering, fence};
    use crate::wait::list::sequentially_consistent;
    use loom::sync::Arc;
    use loom::thread;

    fn channel(cap: usize) -> Arc<Bounded<usize>> {
        Arc::new(Buffered::new(Ring::new(cap)))
    }

    #[track_caller]
    fn send(channel: &Bounded<usize>, value: usize) -> Result<(), PushError> {
        channel.send_slowly(&mut Some(value), NotReady::Unknown, None, Location::caller())
    }

    #[track_caller]
    fn recv(channel: &Bounded<usize>) -> Result<usize, RecvTimeoutError> {
        let mut place = MaybeUninit::uninit();
        channel.recv_slowly(&mut place, NotReady::Unknown, None, Location::caller())?;
        // SAFETY: the receive succeeded, so it has written the place.
        Ok(unsafe { place.assume_init() })
    }

    /// The receiver counts itself, fences and looks at the ring; the sender puts its value in and
    /// looks at the count.
    #[test]
    fn a_receiver_that_sleeps_is_seen_by_the_sender() {
        loom::model(|| {
            let world = Arc::new((Ring::new(1), AtomicUsize::new(0)));
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
            let sleeps = ring.empty().is_some();
            assert!(sender.join().unwrap() || !sleeps, "the receiver sleeps unseen");
        });
    }

    // The following models use everything: the buffer, the wait lists, and sleeping threads. Loom
    // reports a deadlock if a thread is not woken.

    #[test]
    fn a_receiver_wakes_for_a_value() {
        loom::model(|| {
            let channel = channel(1);
            let sender = {
                let channel = Arc::clone(&channel);
                thread::spawn(move || send(&channel, 1))
            };
            assert_eq!(recv(&channel), Ok(1));
            assert_eq!(sender.join().unwrap(), Ok(()));
        });
    }

    #[test]
    fn a_sender_wakes_for_a_permit_that_is_given_up() {
        loom::model(|| {
            let channel = channel(1);
            let permit = channel.reserve().ok().unwrap();
            let sender = {
                let channel = Arc::clone(&channel);
                thread::spawn(move || send(&channel, 1))
            };
            channel.give_up(permit);
            assert_eq!(sender.join().unwrap(), Ok(()));
            assert_eq!(channel.len(), 1);
        });
    }

    #[test]
    fn a_sender_wakes_when_what_a_permit_sent_is_received() {
        loom::model(|| {
            let channel = channel(1);
            let permit = channel.reserve().ok().unwrap();
            let sender = {
                let channel = Arc::clone(&channel);
                thread::spawn(move || send(&channel, 2))
            };
            assert_eq!(channel.fill(permit, &mut Some(1)), Ok(()));
            assert_eq!(recv(&channel), Ok(1));
            assert_eq!(sender.join().unwrap(), Ok(()));
            assert_eq!(channel.len(), 1);
        });
    }

    #[test]
    fn a_receiver_wakes_for_what_a_permit_sent() {
        loom::model(|| {
            let channel = channel(1);
            let permit = channel.reserve().ok().unwrap();
            let receiver = {
                let channel = Arc::clone(&channel);
                thread::spawn(move || recv(&channel))
            };
            assert_eq!(channel.fill(permit, &mut Some(1)), Ok(()));
            assert_eq!(receiver.join().unwrap(), Ok(1));
        });
    }

    #[test]
    fn all_wake_at_the_end() {
        loom::model(|| {
            let channel = channel(1);
            let permit = channel.reserve().ok().unwrap();
            let sender = {
                let channel = Arc::clone(&channel);
                thread::spawn(move || send(&channel, 1))
            };
            let receiver = {
                let channel = Arc::clone(&channel);
                thread::spawn(move || recv(&channel))
            };
            assert!(channel.close());
            assert_eq!(sender.join().unwrap(), Err(PushError::Closed));
            assert_eq!(receiver.join().unwrap(), Err(RecvTimeoutError::Disconnected));
            assert_eq!(channel.fill(permit, &mut Some(2)), Err(PushError::Closed));
        });
    }
}
