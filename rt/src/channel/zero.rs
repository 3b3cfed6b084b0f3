//! The rendezvous channel: a send and a receive meet, and the value goes straight from one thread's
//! frame to the other's.
//!
//! Invariants:
//! - At most one of the two queues is non-empty: whoever comes second pairs up instead of queueing.
//! - A node's packet is a place in its owner's frame: empty for a receiver, filled for a sender. While
//!   the node is queued or just popped, only the holder of the lock touches it.
//! - A partner is claimed under the lock, *after* its packet was filled or read: a claim may let it run
//!   at once. If the claim fails the partner has timed out, and the copy made is forgotten, so that one
//!   of the two copies of the value lives on in every case.

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

use crate::park::Wait;
use crate::prim::{AtomicUsize, Ordering};
use crate::sched;
use crate::spin::{SpinGuard, SpinLock};
use crate::task::state::{Op, TIMED_OUT};
use crate::task::{Reason, Wake};
use crate::wait::{DISCONNECTED, Node, Queue, WOKEN};

struct Shared {
    meeting: SpinLock<Meeting>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

/// Those who wait for a partner.
struct Meeting {
    senders: Queue,
    receivers: Queue,
    disconnected: bool,
}

impl Meeting {
    /// Hands `value` to a waiting receiver, or gives it back.
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

    /// Takes the value of a waiting sender.
    fn take<T>(&mut self) -> Option<(T, Wake)> {
        while let Some(node) = self.senders.pop() {
            let mut value = MaybeUninit::<T>::uninit();
            // SAFETY: as in `give`, with the filled place of a sender.
            unsafe {
                let place = node.as_ref().packet().cast::<T>();
                std::ptr::copy_nonoverlapping(place, value.as_mut_ptr(), 1);
                if let Some(wake) = node.as_ref().claim(WOKEN) {
                    return Some((value.assume_init(), wake));
                }
            }
        }
        None
    }
}

impl Shared {
    #[inline]
    fn lock(&self) -> SpinGuard<'_, Meeting> {
        self.meeting.lock()
    }

    fn disconnect(&self) {
        let mut meeting = self.lock();
        meeting.disconnected = true;
        let mut wakes = meeting.senders.claim_all(DISCONNECTED);
        wakes.extend(meeting.receivers.claim_all(DISCONNECTED));
        drop(meeting);
        wakes.into_iter().for_each(sched::wake);
    }
}

pub(super) struct Sender<T> {
    shared: Arc<Shared>,
    _value: PhantomData<fn(T)>,
}

pub(super) struct Receiver<T> {
    shared: Arc<Shared>,
    _value: PhantomData<fn() -> T>,
}

pub(super) fn new<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        meeting: SpinLock::new(Meeting {
            senders: Queue::new(),
            receivers: Queue::new(),
            disconnected: false,
        }),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    let tx = Sender { shared: Arc::clone(&shared), _value: PhantomData };
    (tx, Receiver { shared, _value: PhantomData })
}

impl<T> Sender<T> {
    pub(super) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut meeting = self.shared.lock();
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

    pub(super) fn send(
        &self,
        value: T,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<(), SendTimeoutError<T>> {
        let mut meeting = self.shared.lock();
        let value = match meeting.give(value) {
            Ok(wake) => {
                drop(meeting);
                sched::wake(wake);
                return Ok(());
            }
            Err(value) => value,
        };
        if meeting.disconnected {
            return Err(SendTimeoutError::Disconnected(value));
        }
        // The value is in this place until a receiver has copied it out.
        let mut place = MaybeUninit::new(value);
        let packet = place.as_mut_ptr().cast();
        match park(&self.shared, meeting, |m| &mut m.senders, packet, Reason::Send, deadline, site)
        {
            WOKEN => Ok(()),
            // SAFETY: nobody has taken the value: the claim was not a receiver's.
            op => Err(match (op, unsafe { place.assume_init() }) {
                (TIMED_OUT, value) => SendTimeoutError::Timeout(value),
                (_, value) => SendTimeoutError::Disconnected(value),
            }),
        }
    }

    pub(super) fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Receiver<T> {
    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut meeting = self.shared.lock();
        let taken = meeting.take();
        let disconnected = meeting.disconnected;
        drop(meeting);
        match taken {
            Some((value, wake)) => {
                sched::wake(wake);
                Ok(value)
            }
            None if disconnected => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    pub(super) fn recv(
        &self,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<T, RecvTimeoutError> {
        let mut meeting = self.shared.lock();
        if let Some((value, wake)) = meeting.take() {
            drop(meeting);
            sched::wake(wake);
            return Ok(value);
        }
        if meeting.disconnected {
            return Err(RecvTimeoutError::Disconnected);
        }
        let mut place = MaybeUninit::<T>::uninit();
        let packet = place.as_mut_ptr().cast();
        match park(
            &self.shared,
            meeting,
            |m| &mut m.receivers,
            packet,
            Reason::Recv,
            deadline,
            site,
        ) {
            // SAFETY: the sender filled the place before it claimed us.
            WOKEN => Ok(unsafe { place.assume_init() }),
            TIMED_OUT => Err(RecvTimeoutError::Timeout),
            _ => Err(RecvTimeoutError::Disconnected),
        }
    }

    pub(super) fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

/// Waits in one of the queues for a partner, and gives the operation it was claimed with.
fn park(
    shared: &Shared,
    mut meeting: SpinGuard<'_, Meeting>,
    side: impl Fn(&mut Meeting) -> &mut Queue,
    packet: *mut (),
    reason: Reason,
    deadline: Option<Instant>,
    site: &'static Location<'static>,
) -> Op {
    if deadline.is_some_and(|at| Instant::now() >= at) {
        return TIMED_OUT;
    }
    let wait = Wait::in_queue(deadline);
    let mut node = Node::new(wait.waiter(), packet);
    let node = NonNull::from(&mut node);
    // SAFETY: the node stays in this frame until it was claimed, or removed below.
    unsafe { side(&mut meeting).push(node) };
    let op = wait.park_unlocking(meeting, reason, deadline, site);
    if op == TIMED_OUT {
        // SAFETY: pushed above, and alive.
        unsafe { side(&mut shared.lock()).remove(node) };
    }
    op
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared), _value: PhantomData }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared), _value: PhantomData }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.disconnect();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.shared.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.disconnect();
        }
    }
}
