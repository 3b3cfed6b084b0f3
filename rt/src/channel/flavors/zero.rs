//! The rendezvous channel: a send and a receive pair up, and the value goes straight from one
//! thread's frame to the other's. [`rendezvous`](crate::channel::rendezvous) does the pairing.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::time::Instant;

use crossbeam_channel::{RecvTimeoutError, TryRecvError};

use crate::channel::flavors::buffer::PushError;
use crate::channel::flavors::promise::Promised;
use crate::channel::flavors::rendezvous::{Meeting, Rendezvous, Side, Taken};
use crate::runtime::handle;
use crate::task::wait_info::Reason;
use crate::task::wait_state::{TIMED_OUT, WakeReason};
use crate::util::spin_lock::SpinGuard;
use crate::wait::park::{Wait, interrupted};
use crate::wait::queue::{Node, PROMISED, WOKEN};

pub(crate) struct Zero<T> {
    pub(crate) rendezvous: Rendezvous,
    _values: PhantomData<T>,
}

impl<T> Zero<T> {
    pub(crate) fn new() -> Self {
        Self { rendezvous: Rendezvous::new(), _values: PhantomData }
    }

    /// Sends without blocking. Returns `Full` if no receiver waits. A value that is not sent stays
    /// where it is.
    pub(crate) fn try_send(&self, value: &mut Option<T>) -> Result<(), PushError> {
        let mut meeting = self.rendezvous.lock();
        let wake = meeting.give(value);
        let disconnected = meeting.disconnected;
        drop(meeting);
        match wake {
            Some(wake) => {
                handle::wake(wake);
                Ok(())
            }
            None if disconnected => Err(PushError::Closed),
            None => Err(PushError::Full),
        }
    }

    /// Sends. Returns `Full` if the deadline has passed. A value that is not sent stays where it
    /// is.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn send(
        &self,
        value: &mut Option<T>,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<(), PushError> {
        let mut meeting = self.rendezvous.lock();
        if let Some(wake) = meeting.give(value) {
            drop(meeting);
            handle::wake(wake);
            return Ok(());
        }
        if meeting.disconnected {
            return Err(PushError::Closed);
        }
        let Some((meeting, wait)) = begin(meeting, deadline, site) else {
            return Err(PushError::Full);
        };
        let packet = value.as_mut().map_or(ptr::null_mut(), ptr::from_mut).cast();
        match self.park(meeting, &wait, Side::Senders, packet, deadline, site).0 {
            WOKEN => {
                // SAFETY: the receiver that claimed this thread has copied the value out, so it is
                // forgotten here.
                unsafe { ptr::write(value, None) };
                Ok(())
            }
            TIMED_OUT if deadline.is_none() => interrupted(site),
            TIMED_OUT => Err(PushError::Full),
            _ => Err(PushError::Closed),
        }
    }

    /// Receives. May wait for a select that has chosen to send and has no value yet.
    pub(crate) fn try_recv(
        &self,
        place: &mut MaybeUninit<T>,
        site: &'static Location<'static>,
    ) -> Result<(), TryRecvError> {
        loop {
            let mut meeting = self.rendezvous.lock();
            // SAFETY: the channel is one of `T`. The place outlives this frame, and a promise is
            // dropped in this frame.
            let taken = unsafe { meeting.take(place.as_mut_ptr(), site) };
            let disconnected = meeting.disconnected;
            drop(meeting);
            match taken {
                Taken::Value(wake) => {
                    handle::wake(wake);
                    return Ok(());
                }
                Taken::Promise(promised, wake) => {
                    handle::wake(wake);
                    if promised.wait(site) {
                        return Ok(());
                    }
                }
                Taken::Nobody if disconnected => return Err(TryRecvError::Disconnected),
                Taken::Nobody => return Err(TryRecvError::Empty),
                Taken::Forbidden(violation) => violation.panic(),
            }
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn recv(
        &self,
        place: &mut MaybeUninit<T>,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Result<(), RecvTimeoutError> {
        loop {
            let mut meeting = self.rendezvous.lock();
            // SAFETY: the channel is one of `T`. The place outlives this frame, and a promise is
            // dropped in this frame.
            let promised = match unsafe { meeting.take(place.as_mut_ptr(), site) } {
                Taken::Value(wake) => {
                    drop(meeting);
                    handle::wake(wake);
                    return Ok(());
                }
                Taken::Promise(promised, wake) => {
                    drop(meeting);
                    handle::wake(wake);
                    promised
                }
                Taken::Forbidden(violation) => {
                    drop(meeting);
                    violation.panic()
                }
                Taken::Nobody if meeting.disconnected => {
                    return Err(RecvTimeoutError::Disconnected);
                }
                Taken::Nobody => {
                    let Some((meeting, wait)) = begin(meeting, deadline, site) else {
                        return Err(RecvTimeoutError::Timeout);
                    };
                    let packet = place.as_mut_ptr().cast();
                    match self.park(meeting, &wait, Side::Receivers, packet, deadline, site) {
                        // The sender filled the place before it claimed this thread.
                        (WOKEN, _) => return Ok(()),
                        (TIMED_OUT, _) if deadline.is_none() => interrupted(site),
                        (TIMED_OUT, _) => return Err(RecvTimeoutError::Timeout),
                        // SAFETY: the partner left a raw promise in the node with the claim; it is
                        // used once.
                        (PROMISED, promised) => unsafe { Promised::from_raw(promised) },
                        _ => return Err(RecvTimeoutError::Disconnected),
                    }
                }
            };
            // If the sender gives up, look for another one, as long as there is time.
            if promised.wait(site) {
                return Ok(());
            }
        }
    }

    /// Waits in one of the queues for a partner. Returns the outcome, and the promise that may be
    /// part of it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn park(
        &self,
        mut meeting: SpinGuard<'_, Meeting>,
        wait: &Wait,
        side: Side,
        packet: *mut (),
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> (WakeReason, *const ()) {
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
            // SAFETY: the node was entered into this queue above, and is alive.
            unsafe { self.rendezvous.leave(side, node) };
            op = wait.withdrawn();
        }
        // SAFETY: the node is out of the queue, so it is this frame's alone.
        (op, unsafe { node.as_ref() }.promise())
    }
}

/// Begins a wait for a partner. Returns `None` if the deadline has passed.
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
