//! The rendezvous channel: a send and a receive meet, and the value goes straight from one thread's
//! frame to the other's.
//!
//! Invariants:
//! - Of the two queues at most one holds threads that still wait, but for those of one select, which
//!   does not meet itself: whoever comes second pairs up instead of queueing.
//! - A node's packet is a place of its owner: empty for a receiver, filled for a sender, null for a
//!   select that sends and has no value yet. While the node is queued or just popped, only the holder of
//!   the lock touches it.
//! - A partner is claimed under the lock, *after* its packet was filled or read: a claim may let it run
//!   at once. If the claim fails the partner has timed out, or was selected elsewhere, and the copy made
//!   is forgotten, so that one of the two copies of the value lives on in every case.
//! - Where one of the two is a select that sends, the other is claimed with an [`Exchange`], and gets the
//!   value there.

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

use super::exchange::Exchange;
use crate::park::Wait;
use crate::sched;
use crate::spin::{SpinGuard, SpinLock};
use crate::task::state::{Op, TIMED_OUT};
use crate::task::{Reason, Waiter, Wake};
use crate::wait::{DISCONNECTED, EXCHANGE, Node, Queue, WOKEN};

pub(super) struct Zero<T> {
    meeting: SpinLock<Meeting>,
    _values: PhantomData<T>,
}

/// Those who wait for a partner.
pub(super) struct Meeting {
    senders: Queue,
    receivers: Queue,
    disconnected: bool,
    /// Selects that only want to know when a sender comes.
    sender_watchers: Queue,
    /// And when a receiver comes.
    receiver_watchers: Queue,
}

/// What a waiting sender had to give.
pub(super) enum Taken<T> {
    Value(T),
    Promise(Arc<Exchange<T>>),
}

/// Whom a select finds at a rendezvous.
pub(super) enum Meet<'a> {
    /// Somebody who waits, or who waited and has left since.
    Partner(SpinGuard<'a, Meeting>),
    Nobody(SpinGuard<'a, Meeting>),
    Disconnected,
}

/// Which queue a node waits in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Senders,
    Receivers,
}

impl Meeting {
    fn queue(&mut self, side: Side) -> &mut Queue {
        match side {
            Side::Senders => &mut self.senders,
            Side::Receivers => &mut self.receivers,
        }
    }

    fn watchers_of(&mut self, side: Side) -> &mut Queue {
        match side {
            Side::Senders => &mut self.sender_watchers,
            Side::Receivers => &mut self.receiver_watchers,
        }
    }

    /// Queues a node, and tells those who watch for it.
    ///
    /// # Safety
    ///
    /// As for [`Queue::push`].
    #[inline]
    pub(super) unsafe fn enter(&mut self, side: Side, node: NonNull<Node>) {
        // SAFETY: the caller's.
        unsafe { self.queue(side).push(node) };
        if self.watchers_of(side).len() > 0 {
            // With the lock held: rare, and waking does not come back here.
            self.watchers_of(side).claim_all(WOKEN).into_iter().for_each(sched::wake);
        }
    }

    /// Hands `value` to a waiting receiver, or gives it back.
    #[inline]
    fn give<T>(&mut self, value: T) -> Result<Wake, T> {
        let value = ManuallyDrop::new(value);
        while let Some(node) = self.receivers.pop() {
            // SAFETY: just popped under the lock. Its packet is the empty place of a receiver of this
            // channel, so of type T, and ours until the claim. After a successful claim the copy is
            // the value and ours is forgotten; after a failed one it is the other way around.
            unsafe {
                let place = node.as_ref().packet().cast::<T>();
                std::ptr::copy_nonoverlapping(&raw const *value, place, 1);
                if let Some(wake) = node.as_ref().claim(WOKEN) {
                    return Ok(wake);
                }
            }
        }
        Err(ManuallyDrop::into_inner(value))
    }

    /// Takes the value of a waiting sender, or its promise.
    #[inline]
    pub(super) fn take<T>(&mut self) -> Option<(Taken<T>, Wake)> {
        while let Some(node) = self.senders.pop() {
            let mut value = MaybeUninit::<T>::uninit();
            // SAFETY: as in `give`, with the filled place of a sender.
            unsafe {
                let place = node.as_ref().packet().cast::<T>();
                if place.is_null() {
                    if let Some((exchange, wake)) = promise(node) {
                        return Some((Taken::Promise(exchange), wake));
                    }
                    continue;
                }
                std::ptr::copy_nonoverlapping(place, value.as_mut_ptr(), 1);
                if let Some(wake) = node.as_ref().claim(WOKEN) {
                    return Some((Taken::Value(value.assume_init()), wake));
                }
            }
        }
        None
    }

    /// Promises a waiting receiver a value.
    pub(super) fn promise<T>(&mut self) -> Option<(Arc<Exchange<T>>, Wake)> {
        while let Some(node) = self.receivers.pop() {
            // SAFETY: just popped under the lock.
            if let Some(promised) = unsafe { promise(node) } {
                return Some(promised);
            }
        }
        None
    }
}

/// Claims a node for an exchange.
///
/// # Safety
///
/// The node was just popped under the lock, from a queue of a channel of `T`.
#[cold]
unsafe fn promise<T>(mut node: NonNull<Node>) -> Option<(Arc<Exchange<T>>, Wake)> {
    let exchange = Exchange::<T>::new();
    let theirs = Arc::into_raw(Arc::clone(&exchange));
    // SAFETY: the caller's: the node is ours until the claim. If that fails nobody takes the exchange out
    // of it, and the count is ours again.
    unsafe {
        node.as_mut().set_exchange(theirs.cast());
        match node.as_ref().claim(EXCHANGE) {
            Some(wake) => Some((exchange, wake)),
            None => {
                drop(Arc::from_raw(theirs));
                None
            }
        }
    }
}

impl<T> Zero<T> {
    pub(super) fn new() -> Self {
        let meeting = Meeting {
            senders: Queue::new(),
            receivers: Queue::new(),
            disconnected: false,
            sender_watchers: Queue::new(),
            receiver_watchers: Queue::new(),
        };
        Self { meeting: SpinLock::new(meeting), _values: PhantomData }
    }

    #[inline]
    fn lock(&self) -> SpinGuard<'_, Meeting> {
        self.meeting.lock()
    }

    /// One side is gone.
    pub(super) fn disconnect(&self) {
        let mut meeting = self.lock();
        meeting.disconnected = true;
        let mut wakes = meeting.senders.claim_all(DISCONNECTED);
        wakes.extend(meeting.receivers.claim_all(DISCONNECTED));
        wakes.extend(meeting.sender_watchers.claim_all(DISCONNECTED));
        wakes.extend(meeting.receiver_watchers.claim_all(DISCONNECTED));
        drop(meeting);
        wakes.into_iter().for_each(sched::wake);
    }

    pub(super) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut meeting = self.lock();
        let given = meeting.give(value);
        let disconnected = meeting.disconnected;
        drop(meeting);
        match given {
            Ok(wake) => {
                sched::wake(wake);
                Ok(())
            }
            Err(value) if disconnected => Err(TrySendError::Disconnected(value)),
            Err(value) => Err(TrySendError::Full(value)),
        }
    }

    #[inline(always)]
    pub(super) fn send(
        &self,
        value: T,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<(), SendTimeoutError<T>> {
        let mut meeting = self.lock();
        let value = match meeting.give(value) {
            Ok(wake) => {
                drop(meeting);
                sched::wake(wake);
                return Ok(());
            }
            Err(value) => value,
        };
        if meeting.disconnected {
            drop(meeting);
            return Err(SendTimeoutError::Disconnected(value));
        }
        // The value is in this place until a receiver has copied it out.
        let mut place = MaybeUninit::new(value);
        let packet = place.as_mut_ptr().cast();
        match self.park(meeting, Side::Senders, packet, Reason::Send, deadline, site).0 {
            WOKEN => Ok(()),
            // SAFETY: nobody has taken the value: the claim was not a receiver's.
            op => Err(match (op, unsafe { place.assume_init() }) {
                (TIMED_OUT, value) => SendTimeoutError::Timeout(value),
                (_, value) => SendTimeoutError::Disconnected(value),
            }),
        }
    }

    /// Takes what a waiting sender has: `None` if there is none.
    pub(super) fn try_take(&self) -> Result<Taken<T>, TryRecvError> {
        let mut meeting = self.lock();
        let taken = meeting.take();
        let disconnected = meeting.disconnected;
        drop(meeting);
        match taken {
            Some((taken, wake)) => {
                sched::wake(wake);
                Ok(taken)
            }
            None if disconnected => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// May wait for a select that has chosen to send and has no value yet.
    pub(super) fn try_recv(&self, site: &'static Location<'static>) -> Result<T, TryRecvError> {
        loop {
            match self.try_take()? {
                Taken::Value(value) => return Ok(value),
                Taken::Promise(exchange) => {
                    if let Some(value) = exchange.receive(site) {
                        return Ok(value);
                    }
                }
            }
        }
    }

    #[inline(always)]
    pub(super) fn recv(
        &self,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<T, RecvTimeoutError> {
        loop {
            let mut meeting = self.lock();
            let exchange = if let Some((taken, wake)) = meeting.take() {
                drop(meeting);
                sched::wake(wake);
                match taken {
                    Taken::Value(value) => return Ok(value),
                    Taken::Promise(exchange) => exchange,
                }
            } else if meeting.disconnected {
                return Err(RecvTimeoutError::Disconnected);
            } else {
                let mut place = MaybeUninit::<T>::uninit();
                let packet = place.as_mut_ptr().cast();
                match self.park(meeting, Side::Receivers, packet, Reason::Recv, deadline, site) {
                    // SAFETY: the sender filled the place before it claimed us.
                    (WOKEN, _) => return Ok(unsafe { place.assume_init() }),
                    (TIMED_OUT, _) => return Err(RecvTimeoutError::Timeout),
                    // SAFETY: left there for us with the claim.
                    (EXCHANGE, exchange) => unsafe { Arc::from_raw(exchange.cast()) },
                    _ => return Err(RecvTimeoutError::Disconnected),
                }
            };
            if let Some(value) = exchange.receive(site) {
                return Ok(value);
            }
        }
    }

    /// Waits in one of the queues for a partner. Gives the outcome, and the exchange that may be part
    /// of it.
    #[inline(always)]
    fn park(
        &self,
        mut meeting: SpinGuard<'_, Meeting>,
        side: Side,
        packet: *mut (),
        reason: Reason,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> (Op, *const ()) {
        if deadline.is_some_and(|at| Instant::now() >= at) {
            return (TIMED_OUT, std::ptr::null());
        }
        let wait = Wait::in_queue(deadline);
        let mut node = Node::new(wait.waiter(), packet);
        let node = NonNull::from(&mut node);
        // SAFETY: the node stays in this frame until it was claimed, or removed below.
        unsafe { meeting.enter(side, node) };
        let op = wait.park_unlocking(meeting, reason, deadline, site);
        if op == TIMED_OUT {
            // SAFETY: entered above, and alive.
            unsafe { self.leave(side, node) };
        }
        // SAFETY: the node is out of the queue, and this frame's alone.
        (op, unsafe { node.as_ref() }.exchange())
    }

    // ---- for select ---------------------------------------------------------------------------

    /// Promises a waiting receiver a value.
    pub(super) fn try_promise(&self) -> Result<Arc<Exchange<T>>, TrySendError<()>> {
        let mut meeting = self.lock();
        let promised = meeting.promise();
        let disconnected = meeting.disconnected;
        drop(meeting);
        match promised {
            Some((exchange, wake)) => {
                sched::wake(wake);
                Ok(exchange)
            }
            None if disconnected => Err(TrySendError::Disconnected(())),
            None => Err(TrySendError::Full(())),
        }
    }

    /// Looks for a partner for one of `side`, other than `me`.
    #[inline]
    pub(super) fn meet(&self, side: Side, me: Option<Waiter>) -> Meet<'_> {
        let mut meeting = self.lock();
        let partners = meeting.queue(side.other());
        if partners.len() > 0 && me.is_none_or(|me| partners.has_other_than(me)) {
            Meet::Partner(meeting)
        } else if meeting.disconnected {
            Meet::Disconnected
        } else {
            Meet::Nobody(meeting)
        }
    }

    /// Takes a node out, if it is still in.
    ///
    /// # Safety
    ///
    /// The node was in this queue or in none, and is alive.
    pub(super) unsafe fn leave(&self, side: Side, node: NonNull<Node>) {
        // SAFETY: the caller's.
        unsafe { self.lock().queue(side).remove(node) };
    }

    /// Whether a thread of that side waits, or none will any more.
    pub(super) fn is_ready(&self, side: Side) -> bool {
        let mut meeting = self.lock();
        meeting.disconnected || meeting.queue(side).len() > 0
    }

    /// Queues a node to be woken when a thread of that side waits: true if one does.
    ///
    /// # Safety
    ///
    /// As for [`Queue::push`].
    pub(super) unsafe fn watch(&self, side: Side, node: NonNull<Node>) -> bool {
        let mut meeting = self.lock();
        if meeting.disconnected || meeting.queue(side).len() > 0 {
            return true;
        }
        // SAFETY: the caller's.
        unsafe { meeting.watchers_of(side).push(node) };
        false
    }

    /// Takes a watcher out, if it is still in.
    ///
    /// # Safety
    ///
    /// The node was in these watchers or in none, and is alive.
    pub(super) unsafe fn unwatch(&self, side: Side, node: NonNull<Node>) {
        // SAFETY: the caller's.
        unsafe { self.lock().watchers_of(side).remove(node) };
    }
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Senders => Self::Receivers,
            Self::Receivers => Self::Senders,
        }
    }
}
