//! Pairing of sends and receives: the queues of waiting threads, and how two of them pair up.
//!
//! Invariants:
//! - At most one of the two queues holds threads that still wait: the second thread to come pairs
//!   up instead of queueing. The exception is the nodes of one select, which does not pair with
//!   itself.
//! - A node's packet is a place of its owner: empty for a receiver, filled for a sender, null for a
//!   select that sends and has no value yet. While the node is queued or just popped, only the
//!   holder of the lock touches the packet.
//! - A partner is claimed under the lock, *after* its packet was filled or read, because a claim
//!   may let it run at once. If the claim fails, the partner has timed out or was selected
//!   elsewhere; then the copy that was made is forgotten. So exactly one of the two copies of the
//!   value lives on in every case.
//! - If one of the two is a select that sends, it makes a [promise](crate::channel::promise): the
//!   other one is claimed with `PROMISED`, and waits for the value with its place.
//! - A thread that cannot wait, because it is in `no_switch`, is not promised anything: it panics
//!   before it has claimed a partner.

use std::panic::Location;
use std::ptr::NonNull;

use crate::channel::flavors::promise::{Promised, Promiser, promise};
use crate::runtime::{context, handle};
use crate::task::header::{Waiter, Wake};
use crate::util::spin_lock::{SpinGuard, SpinLock};
use crate::wait::no_switch::Violation;
use crate::wait::park::cannot_wait;
use crate::wait::queue::{DISCONNECTED, Node, PROMISED, Queue, WOKEN};

/// The queues of one channel. They are independent of the values' type, except while two threads
/// pair up.
pub(crate) struct Rendezvous {
    meeting: SpinLock<Meeting>,
}

/// The threads that wait for a partner. Both main queues come right behind the lock.
#[repr(C)]
pub(crate) struct Meeting {
    senders: Queue,
    receivers: Queue,
    pub(crate) disconnected: bool,
    /// Selects that only watch for a sender.
    sender_watchers: Queue,
    /// Selects that only watch for a receiver.
    receiver_watchers: Queue,
    /// The number of nodes that have entered the queue of senders so far, and that of receivers.
    entered: [usize; 2],
}

/// The outcome of looking for a sender.
pub(crate) enum Taken {
    /// The value is in its place, and this sender is to be woken.
    Value(Wake),
    /// The value will come from this sender, which is to be woken.
    Promise(Promised, Wake),
    Nobody,
    /// The value would come later, but the receiver cannot wait.
    Forbidden(Violation),
}

/// The outcome of a select's look for a partner.
pub(crate) enum Meet<'a> {
    /// A thread waits, or has waited and left since.
    Partner(SpinGuard<'a, Meeting>),
    Nobody(SpinGuard<'a, Meeting>),
    Disconnected,
}

/// The queue that a node waits in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
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

    /// Ends the waits of some threads, in all queues. The result is empty only if no thread waits.
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

    /// Queues a node, and wakes the selects that watch for it.
    ///
    /// # Safety
    ///
    /// As for [`Queue::push`].
    #[inline(always)]
    pub(crate) unsafe fn enter(&mut self, side: Side, node: NonNull<Node>) {
        self.entered[side as usize] = self.entered[side as usize].wrapping_add(1);
        // SAFETY: by this function's contract, which is that of `push`.
        unsafe { self.queue(side).push(node) };
        if self.watchers_of(side).len() > 0 {
            // Under the lock: this is rare, and waking does not take the lock again.
            self.watchers_of(side).claim_all(WOKEN).into_iter().for_each(handle::wake);
        }
    }

    /// Sends the value to a waiting receiver. If there is none, the value stays where it is.
    #[inline]
    pub(crate) fn give<T>(&mut self, value: &mut Option<T>) -> Option<Wake> {
        let from: *const T = value.as_ref()?;
        while let Some(node) = self.receivers.pop() {
            // SAFETY: the node was just popped under the lock. Its packet is the empty place of a
            // receiver of this channel, so it is for a `T`, and this thread's until the claim.
            // After a successful claim the copy is the value, and the original is forgotten; after
            // a failed claim the copy is forgotten.
            unsafe {
                std::ptr::copy_nonoverlapping(from, node.as_ref().packet().cast::<T>(), 1);
                if let wake @ Some(_) = node.as_ref().claim(WOKEN) {
                    std::ptr::write(value, None);
                    return wake;
                }
            }
        }
        None
    }

    /// Takes the value of a waiting sender to `place`, or its promise of a value for that place.
    ///
    /// # Safety
    ///
    /// The channel is one of `T`. The place is valid for writes, and stays so until a promise is
    /// dropped or has moved to another place.
    #[inline(always)]
    pub(crate) unsafe fn take<T>(
        &mut self,
        place: *mut T,
        site: &'static Location<'static>,
    ) -> Taken {
        while let Some(node) = self.senders.pop() {
            // SAFETY: as in `give`: just popped under the lock. The packet is the filled place of a
            // sender of this channel, or null. `place` is valid for writes by the contract.
            unsafe {
                let from = node.as_ref().packet().cast::<T>();
                if from.is_null() {
                    match self.take_promise(node, place, site) {
                        Taken::Nobody => continue,
                        promise => return promise,
                    }
                }
                std::ptr::copy_nonoverlapping(from, place, 1);
                if let Some(wake) = node.as_ref().claim(WOKEN) {
                    return Taken::Value(wake);
                }
            }
        }
        Taken::Nobody
    }

    /// Does the work of [`Meeting::take`] for the node of a select that sends.
    ///
    /// # Safety
    ///
    /// As for [`Meeting::take`]; and the node was just popped.
    #[cold]
    #[inline(never)]
    unsafe fn take_promise<T>(
        &mut self,
        node: NonNull<Node>,
        place: *mut T,
        site: &'static Location<'static>,
    ) -> Taken {
        if let Some(violation) = cannot_wait(site) {
            // SAFETY: the node was just popped, so it is in no queue. Its owner cannot free it
            // without the lock, which is held.
            unsafe { self.senders.push_front(node) };
            return Taken::Forbidden(violation);
        }
        // SAFETY: the node was just popped under the lock from this channel's senders; the place is
        // as the caller guarantees.
        unsafe { promised_by(node, place) }
            .map_or(Taken::Nobody, |(promised, wake)| Taken::Promise(promised, wake))
    }

    /// Promises a waiting receiver a value.
    pub(crate) fn promise(&mut self) -> Option<(Promiser, Wake)> {
        while let Some(node) = self.receivers.pop() {
            // SAFETY: the node was just popped under the lock from the queue of receivers.
            if let promised @ Some(_) = unsafe { promise_to(node) } {
                return promised;
            }
        }
        None
    }
}

/// Claims the node of a select that sends, and gets its promise of a value for `place`.
///
/// # Safety
///
/// The node was just popped under the lock, from a queue of a channel of `T`. The place is as
/// [`promise`] asks.
unsafe fn promised_by<T>(mut node: NonNull<Node>, place: *mut T) -> Option<(Promised, Wake)> {
    // SAFETY: the caller guarantees the place. The node was popped under the lock, so it is this
    // thread's until the claim. If the claim fails, no other thread takes the raw promise out of
    // the node, so it is used once.
    unsafe {
        let (promiser, promised) = promise(place.cast(), node.as_ref().task(), context::running());
        let raw = promiser.into_raw();
        node.as_mut().set_promise(raw);
        match node.as_ref().claim(PROMISED) {
            Some(wake) => Some((promised, wake)),
            None => {
                drop(Promiser::from_raw(raw));
                None
            }
        }
    }
}

/// Claims the node of a receiver, and promises it a value.
///
/// # Safety
///
/// The node was just popped under the lock, from a queue of receivers.
#[cold]
unsafe fn promise_to(mut node: NonNull<Node>) -> Option<(Promiser, Wake)> {
    // SAFETY: the node is this thread's until the claim, as in `promised_by`. The place is the
    // receiver's. If the receiver is claimed, the place stays in its frame for as long as it has
    // the promise and has not moved the place. If it is not, the place stays at least until the
    // lock is released, and the promise is dropped before. The raw promise is used once.
    unsafe {
        let (promiser, promised) =
            promise(node.as_ref().packet(), context::running(), node.as_ref().task());
        let raw = promised.into_raw();
        node.as_mut().set_promise(raw);
        match node.as_ref().claim(PROMISED) {
            Some(wake) => Some((promiser, wake)),
            None => {
                drop(Promised::from_raw(raw));
                None
            }
        }
    }
}

impl Rendezvous {
    pub(crate) fn new() -> Self {
        Self {
            meeting: SpinLock::new(Meeting {
                senders: Queue::new(),
                receivers: Queue::new(),
                disconnected: false,
                sender_watchers: Queue::new(),
                receiver_watchers: Queue::new(),
                entered: [0; 2],
            }),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> SpinGuard<'_, Meeting> {
        self.meeting.lock()
    }

    /// Closes the channel, because one side is gone or closes it. Returns `true` to the first
    /// caller.
    pub(crate) fn close(&self) -> bool {
        let mut meeting = self.lock();
        if std::mem::replace(&mut meeting.disconnected, true) {
            return false;
        }
        drop(meeting);
        // No thread enters a queue from now on: a thread that comes sees that the channel is
        // disconnected.
        loop {
            let wakes = self.lock().disconnect_some();
            if wakes.is_empty() {
                return true;
            }
            handle::wake_many(wakes);
        }
    }

    /// Looks for a partner for a thread of `side`, other than `me`.
    #[inline]
    pub(crate) fn meet(&self, side: Side, me: Option<Waiter>) -> Meet<'_> {
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

    /// Takes a node out of its queue, if it is still in.
    ///
    /// # Safety
    ///
    /// The node was in this queue or in none, and is alive.
    pub(crate) unsafe fn leave(&self, side: Side, node: NonNull<Node>) {
        // SAFETY: by this function's contract, which is that of `remove`.
        unsafe { self.lock().queue(side).remove(node) };
    }

    /// Returns `None` if a thread of `side` would find a partner, or none will come any more.
    /// Otherwise returns a version: as long as there is no partner and the version has not changed,
    /// there has been none in between.
    pub(crate) fn nobody_for(&self, side: Side) -> Option<usize> {
        let mut meeting = self.lock();
        let nobody = !meeting.disconnected && meeting.queue(side.other()).first().is_none();
        nobody.then(|| meeting.entered[side.other() as usize])
    }

    /// Queues a node of a thread of `side`, to be woken when a partner waits. Returns `true`,
    /// without queueing it, if a partner waits already or none will come any more.
    ///
    /// # Safety
    ///
    /// As for [`Queue::push`].
    pub(crate) unsafe fn watch(&self, side: Side, node: NonNull<Node>) -> bool {
        let mut meeting = self.lock();
        if meeting.disconnected || meeting.queue(side.other()).len() > 0 {
            return true;
        }
        // SAFETY: by this function's contract, which is that of `push`.
        unsafe { meeting.watchers_of(side.other()).push(node) };
        false
    }

    /// Takes a watcher out of its queue, if it is still in.
    ///
    /// # Safety
    ///
    /// The node was watching for the same side or for none, and is alive.
    pub(crate) unsafe fn unwatch(&self, side: Side, node: NonNull<Node>) {
        // SAFETY: by this function's contract, which is that of `remove`.
        unsafe { self.lock().watchers_of(side.other()).remove(node) };
    }
}
