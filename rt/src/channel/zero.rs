//! The rendezvous channel: a send and a receive meet, and the value goes straight from one thread's
//! frame to the other's. Who meets whom is [`rendezvous`](super::rendezvous)'s.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

use super::rendezvous::{Meeting, Rendezvous, Side, Taken};
use crate::park::Wait;
use crate::sched;
use crate::spin::SpinGuard;
use crate::task::Reason;
use crate::task::state::{Op, TIMED_OUT};
use crate::wait::{EXCHANGE, Node, WOKEN};

pub(super) struct Zero<T> {
    pub(super) rendezvous: Rendezvous,
    _values: PhantomData<T>,
}

impl<T> Zero<T> {
    pub(super) fn new() -> Self {
        Self { rendezvous: Rendezvous::new(), _values: PhantomData }
    }

    pub(super) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut meeting = self.rendezvous.lock();
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

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn send(
        &self,
        value: T,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<(), SendTimeoutError<T>> {
        let mut meeting = self.rendezvous.lock();
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
        let Some((meeting, wait)) = begin(meeting, deadline, site) else {
            return Err(SendTimeoutError::Timeout(value));
        };
        // The value is in this place until a receiver has copied it out.
        let mut place = MaybeUninit::new(value);
        let packet = place.as_mut_ptr().cast();
        match self.park(meeting, &wait, Side::Senders, packet, deadline, site).0 {
            WOKEN => Ok(()),
            // SAFETY: nobody has taken the value: the claim was not a receiver's.
            op => Err(match (op, unsafe { place.assume_init() }) {
                (TIMED_OUT, value) => SendTimeoutError::Timeout(value),
                (_, value) => SendTimeoutError::Disconnected(value),
            }),
        }
    }

    /// May wait for a select that has chosen to send and has no value yet.
    pub(super) fn try_recv(&self, site: &'static Location<'static>) -> Result<T, TryRecvError> {
        loop {
            let mut meeting = self.rendezvous.lock();
            let taken = meeting.take();
            let disconnected = meeting.disconnected;
            drop(meeting);
            let Some((taken, wake)) = taken else {
                return Err(if disconnected {
                    TryRecvError::Disconnected
                } else {
                    TryRecvError::Empty
                });
            };
            sched::wake(wake);
            match taken {
                Taken::Value(value) => return Ok(value),
                Taken::Promise(exchange) => {
                    if let Some(value) = exchange.receive(site) {
                        return Ok(value);
                    }
                }
            }
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn recv(
        &self,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<T, RecvTimeoutError> {
        loop {
            let mut meeting = self.rendezvous.lock();
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
                let Some((meeting, wait)) = begin(meeting, deadline, site) else {
                    return Err(RecvTimeoutError::Timeout);
                };
                let mut place = MaybeUninit::<T>::uninit();
                let packet = place.as_mut_ptr().cast();
                match self.park(meeting, &wait, Side::Receivers, packet, deadline, site) {
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
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn park(
        &self,
        mut meeting: SpinGuard<'_, Meeting>,
        wait: &Wait,
        side: Side,
        packet: *mut (),
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> (Op, *const ()) {
        let reason = match side {
            Side::Senders => Reason::Send,
            Side::Receivers => Reason::Recv,
        };
        let mut node = Node::new(wait.waiter(), packet);
        let node = NonNull::from(&mut node);
        // SAFETY: the node stays in this frame until it was claimed, or removed below.
        unsafe { meeting.enter(side, node) };
        let mut op = wait.park_unlocking_or_withdraw(meeting, reason, deadline, site);
        if op == TIMED_OUT {
            // SAFETY: entered above, and alive.
            unsafe { self.rendezvous.leave(side, node) };
            op = wait.withdrawn();
        }
        // SAFETY: the node is out of the queue, and this frame's alone.
        (op, unsafe { node.as_ref() }.exchange())
    }
}

/// Begins a wait for a partner, unless the time for it is over.
#[cfg_attr(not(debug_assertions), inline(always))]
fn begin<'a>(
    meeting: SpinGuard<'a, Meeting>,
    deadline: Option<Instant>,
    site: &'static Location<'static>,
) -> Option<(SpinGuard<'a, Meeting>, Wait)> {
    if deadline.is_some_and(|at| Instant::now() >= at) {
        return None;
    }
    let (meeting, wait) = Wait::in_queue(meeting, deadline, site);
    Some((meeting, wait.interruptible()))
}
