//! Where a send and a receive meet: those who wait, and how two of them pair up.
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

use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::NonNull;
use std::sync::Arc;

use super::exchange::Exchange;
use crate::sched;
use crate::sole::SoleLock;
use crate::spin::SpinGuard;
use crate::task::{Waiter, Wake};
use crate::wait::{DISCONNECTED, EXCHANGE, Node, Queue, WOKEN};

/// The meeting place of one channel. It knows nothing of the values' type but while two pair up.
pub(super) struct Rendezvous {
    meeting: SoleLock<Meeting>,
}

/// Those who wait for a partner. Both queues come right behind the lock.
#[repr(C)]
pub(super) struct Meeting {
    senders: Queue,
    receivers: Queue,
    pub(super) disconnected: bool,
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

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Senders => Self::Receivers,
            Self::Receivers => Self::Senders,
        }
    }
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

    /// Ends the waits of some who wait, of whatever kind: of none only if nobody does.
    fn disconnect_some(&mut self) -> Vec<Wake> {
        let queues = [
            &mut self.senders,
            &mut self.receivers,
            &mut self.sender_watchers,
            &mut self.receiver_watchers,
        ];
        let mut all = usize::MAX;
        queues.into_iter().flat_map(|queue| queue.claim_some(DISCONNECTED, &mut all)).collect()
    }

    /// Queues a node, and tells those who watch for it.
    ///
    /// # Safety
    ///
    /// As for [`Queue::push`].
    #[inline(always)]
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
    pub(super) fn give<T>(&mut self, value: T) -> Result<Wake, T> {
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

impl Rendezvous {
    pub(super) fn new() -> Self {
        Self {
            meeting: SoleLock::new(Meeting {
                senders: Queue::new(),
                receivers: Queue::new(),
                disconnected: false,
                sender_watchers: Queue::new(),
                receiver_watchers: Queue::new(),
            }),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> SpinGuard<'_, Meeting> {
        self.meeting.lock()
    }

    /// One side is gone, or says that it is enough: true for the first to say so.
    pub(super) fn close(&self) -> bool {
        let mut meeting = self.lock();
        if std::mem::replace(&mut meeting.disconnected, true) {
            return false;
        }
        drop(meeting);
        // Nobody comes any more: who does sees that it is disconnected.
        loop {
            let wakes = self.lock().disconnect_some();
            if wakes.is_empty() {
                return true;
            }
            sched::wake_many(wakes);
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

    /// Whether one of `side` would find a partner, or none will come any more.
    pub(super) fn is_ready(&self, side: Side) -> bool {
        let mut meeting = self.lock();
        meeting.disconnected || meeting.queue(side.other()).len() > 0
    }

    /// Queues a node of one of `side` to be woken when a partner waits: true if one does, or none will.
    ///
    /// # Safety
    ///
    /// As for [`Queue::push`].
    pub(super) unsafe fn watch(&self, side: Side, node: NonNull<Node>) -> bool {
        let mut meeting = self.lock();
        if meeting.disconnected || meeting.queue(side.other()).len() > 0 {
            return true;
        }
        // SAFETY: the caller's.
        unsafe { meeting.watchers_of(side.other()).push(node) };
        false
    }

    /// Takes a watcher out, if it is still in.
    ///
    /// # Safety
    ///
    /// The node was watching for the same side or for none, and is alive.
    pub(super) unsafe fn unwatch(&self, side: Side, node: NonNull<Node>) {
        // SAFETY: the caller's.
        unsafe { self.lock().watchers_of(side.other()).remove(node) };
    }
}
