//! The sending end as an arm.

use std::ptr::NonNull;
use std::time::Instant;

use super::arm::{Arm, Place, Round, Seat, Step, register_with, try_or_wait};
use super::token::{Kind, Token};
use crate::channel::buffer::PushError;
use crate::channel::ring::Reserved;
use crate::channel::sender::Flavor as S;
use crate::channel::zero::{Meet, Side, Zero};
use crate::channel::{Sender, TrySendError};
use crate::sched;
use crate::task::state::Op;
use crate::wait::EXCHANGE;

/// `register` for a send by rendezvous.
///
/// # Safety
///
/// As for [`Arm::register`].
unsafe fn register_to_send<T>(
    zero: &Zero<T>,
    place: Place,
    round: &mut Round,
    token: &mut Token,
) -> Step {
    match zero.meet(Side::Senders, round.waiter()) {
        Meet::Nobody(mut meeting) => {
            // SAFETY: the caller's. Its packet is null: no value yet.
            unsafe { meeting.enter(Side::Senders, round.sit(place)) };
            Step::Registered
        }
        _ if !round.stop() => Step::Claimed,
        Meet::Partner(mut meeting) => match meeting.promise::<T>() {
            Some((exchange, wake)) => {
                drop(meeting);
                sched::wake(wake);
                token.set_exchange(exchange);
                Step::Done
            }
            None => Step::Again,
        },
        Meet::Disconnected => {
            token.set_disconnected();
            Step::Done
        }
    }
}

impl<T> Arm for Sender<T> {
    fn try_select(&self, token: &mut Token) -> bool {
        match &self.0 {
            S::Bounded(channel) => match channel.reserve() {
                Ok(slot) => token.set_slot(&slot),
                Err(PushError::Closed) => token.set_disconnected(),
                Err(PushError::Full) => return false,
            },
            // Whether it is disconnected turns out when the value is sent.
            S::Unbounded(_) => {}
            S::Zero(zero) => match zero.try_promise() {
                Ok(exchange) => token.set_exchange(exchange),
                Err(TrySendError::Disconnected(())) => token.set_disconnected(),
                Err(TrySendError::Full(())) => return false,
            },
        }
        true
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    unsafe fn register(&self, place: Place, round: &mut Round, token: &mut Token) -> Step {
        // SAFETY: the seat stays until it is unregistered.
        unsafe {
            match &self.0 {
                S::Bounded(channel) => register_with(
                    &channel.senders,
                    || channel.can_send(),
                    self,
                    place,
                    round,
                    token,
                ),
                S::Unbounded(_) => try_or_wait(self, round, token),
                S::Zero(zero) => register_to_send(zero, place, round, token),
            }
        }
    }

    unsafe fn unregister(&self, seat: NonNull<Seat>, claimed: bool) {
        let node = Seat::node(seat);
        // SAFETY: it was registered with this arm, and is alive.
        unsafe {
            match &self.0 {
                _ if claimed => {}
                S::Bounded(channel) => channel.senders.leave(node, false),
                S::Unbounded(_) => {}
                S::Zero(zero) => zero.leave(Side::Senders, node),
            }
        }
    }

    unsafe fn accept(&self, token: &mut Token, seat: NonNull<Seat>, outcome: Op) -> bool {
        let S::Zero(_) = &self.0 else { return self.try_select(token) };
        match outcome {
            // SAFETY: claimed and out of the queue, so the seat is ours alone, with the exchange in it.
            EXCHANGE => unsafe { token.set_raw_exchange((*seat.as_ptr()).node.exchange()) },
            _ => token.set_disconnected(),
        }
        true
    }

    fn is_ready(&self) -> bool {
        match &self.0 {
            S::Bounded(channel) => channel.can_send(),
            S::Unbounded(_) => true,
            S::Zero(zero) => zero.is_ready(Side::Receivers),
        }
    }

    unsafe fn watch(&self, place: Place, round: &mut Round) -> bool {
        // SAFETY: the seat stays until it is unwatched.
        unsafe {
            let node = round.sit(place);
            match &self.0 {
                S::Bounded(channel) => channel.senders.enter(node, true),
                S::Unbounded(_) => {}
                S::Zero(zero) => return zero.watch(Side::Receivers, node),
            }
        }
        self.is_ready()
    }

    unsafe fn unwatch(&self, seat: NonNull<Seat>) {
        let node = Seat::node(seat);
        // SAFETY: it was watched with this arm, and is alive.
        unsafe {
            match &self.0 {
                S::Bounded(channel) => channel.senders.leave(node, true),
                S::Unbounded(_) => {}
                S::Zero(zero) => zero.unwatch(Side::Receivers, node),
            }
        }
    }

    fn abandon(&self, token: &mut Token) {
        match (token.take_kind(), &self.0) {
            (Kind::Slot, S::Bounded(channel)) => channel.give_up(Reserved::at(token.packet.word())),
            // SAFETY: the token is of this arm's channel.
            (Kind::Exchange, _) => unsafe { token.exchange::<T>() }.break_off(),
            _ => {}
        }
    }
}

impl<T> Sender<T> {
    /// Completes a selected operation.
    ///
    /// # Safety
    ///
    /// The token is of this sender.
    #[inline]
    pub(super) unsafe fn complete(&self, token: &mut Token, value: T) -> Result<(), T> {
        match (token.take_kind(), &self.0) {
            (Kind::Slot, S::Bounded(channel)) => {
                channel.fill(Reserved::at(token.packet.word()), value)
            }
            (Kind::Nothing, S::Unbounded(channel)) => {
                channel.try_send(value).map_err(TrySendError::into_inner)
            }
            (Kind::Exchange, _) => {
                // SAFETY: the caller's: values of the channel are of type T.
                unsafe { token.exchange::<T>() }.keep(value);
                Ok(())
            }
            _ => Err(value),
        }
    }
}
