//! The receiving end as an arm.

use std::panic::Location;
use std::ptr::NonNull;
use std::time::Instant;

use super::arm::{Arm, Place, Round, Seat, Step, register_with, try_or_wait};
use super::token::{Kind, Token};
use crate::channel::receiver::Flavor as R;
use crate::channel::zero::{Meet, Side, Taken, Zero};
use crate::channel::{Receiver, TryRecvError};
use crate::sched;
use crate::task::state::Op;
use crate::wait::{EXCHANGE, WOKEN};

/// `register` for a receive by rendezvous.
///
/// # Safety
///
/// As for [`Arm::register`].
#[inline]
unsafe fn register_to_receive<T>(
    zero: &Zero<T>,
    place: Place,
    round: &mut Round,
    token: &mut Token,
) -> Step {
    match zero.meet(Side::Receivers, round.waiter()) {
        Meet::Nobody(mut meeting) => {
            // SAFETY: the caller's; the place for a value is right for this channel.
            unsafe {
                let mut node = round.sit(place);
                let value = (*place.seat.as_ptr()).packet.prepare::<T>();
                node.as_mut().set_packet(value.cast());
                meeting.enter(Side::Receivers, node);
            }
            Step::Registered
        }
        _ if !round.stop() => Step::Claimed,
        Meet::Partner(mut meeting) => match meeting.take::<T>() {
            Some((taken, wake)) => {
                drop(meeting);
                sched::wake(wake);
                match taken {
                    Taken::Value(value) => token.set_value(value),
                    Taken::Promise(exchange) => token.set_exchange(exchange),
                }
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

impl<T> Arm for Receiver<T> {
    fn try_select(&self, token: &mut Token) -> bool {
        let received = match &self.0 {
            R::Zero(zero) => match zero.try_take() {
                Ok(Taken::Value(value)) => Ok(value),
                Ok(Taken::Promise(exchange)) => {
                    token.set_exchange(exchange);
                    return true;
                }
                Err(error) => Err(error),
            },
            _ => self.try_recv(),
        };
        match received {
            Ok(value) => token.set_value(value),
            Err(TryRecvError::Disconnected) => token.set_disconnected(),
            Err(TryRecvError::Empty) => return false,
        }
        true
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.0 {
            R::At(at) => at.deadline(),
            R::Tick(tick) => tick.deadline(),
            _ => None,
        }
    }

    unsafe fn register(&self, place: Place, round: &mut Round, token: &mut Token) -> Step {
        // SAFETY: the seat stays until it is unregistered.
        unsafe {
            match &self.0 {
                R::Bounded(channel) => register_with(
                    &channel.receivers,
                    || channel.can_recv(),
                    self,
                    place,
                    round,
                    token,
                ),
                R::Unbounded(channel) => register_with(
                    &channel.receivers,
                    || channel.can_recv(),
                    self,
                    place,
                    round,
                    token,
                ),
                R::Zero(zero) => register_to_receive(zero, place, round, token),
                R::At(_) | R::Tick(_) | R::Never => try_or_wait(self, round, token),
            }
        }
    }

    #[inline]
    unsafe fn unregister(&self, seat: NonNull<Seat>, claimed: bool) {
        let node = Seat::node(seat);
        // SAFETY: it was registered with this arm, and is alive. The place in the packet was made by
        // `register`; a claimed one is `accept`'s.
        unsafe {
            match &self.0 {
                R::Zero(zero) => {
                    if !claimed {
                        zero.leave(Side::Receivers, node);
                        (*seat.as_ptr()).packet.discard::<T>();
                    }
                }
                _ if claimed => {}
                R::Bounded(channel) => channel.receivers.leave(node, false),
                R::Unbounded(channel) => channel.receivers.leave(node, false),
                R::At(_) | R::Tick(_) | R::Never => {}
            }
        }
    }

    #[inline]
    unsafe fn accept(&self, token: &mut Token, seat: NonNull<Seat>, outcome: Op) -> bool {
        let R::Zero(_) = &self.0 else { return self.try_select(token) };
        // SAFETY: claimed and out of the queue, so the seat is ours alone, and the claim tells what was
        // left in it.
        unsafe {
            let seat = &mut *seat.as_ptr();
            if outcome == WOKEN {
                token.kind = Kind::Value;
                seat.packet.pass::<T>(&mut token.packet);
                return true;
            }
            seat.packet.discard::<T>();
            match outcome {
                EXCHANGE => token.set_raw_exchange(seat.node.exchange()),
                _ => token.set_disconnected(),
            }
        }
        true
    }

    fn is_ready(&self) -> bool {
        match &self.0 {
            R::Bounded(channel) => channel.can_recv(),
            R::Unbounded(channel) => channel.can_recv(),
            R::Zero(zero) => zero.is_ready(Side::Senders),
            R::At(at) => at.is_ready(),
            R::Tick(tick) => tick.is_ready(),
            R::Never => false,
        }
    }

    unsafe fn watch(&self, place: Place, round: &mut Round) -> bool {
        // SAFETY: the seat stays until it is unwatched.
        unsafe {
            let node = round.sit(place);
            match &self.0 {
                R::Bounded(channel) => channel.receivers.enter(node, true),
                R::Unbounded(channel) => channel.receivers.enter(node, true),
                R::Zero(zero) => return zero.watch(Side::Senders, node),
                R::At(_) | R::Tick(_) | R::Never => {}
            }
        }
        self.is_ready()
    }

    unsafe fn unwatch(&self, seat: NonNull<Seat>) {
        let node = Seat::node(seat);
        // SAFETY: it was watched with this arm, and is alive.
        unsafe {
            match &self.0 {
                R::Bounded(channel) => channel.receivers.leave(node, true),
                R::Unbounded(channel) => channel.receivers.leave(node, true),
                R::Zero(zero) => zero.unwatch(Side::Senders, node),
                R::At(_) | R::Tick(_) | R::Never => {}
            }
        }
    }

    fn abandon(&self, token: &mut Token) {
        if token.take_kind() == Kind::Exchange {
            // SAFETY: the token is of this arm's channel.
            unsafe { token.exchange::<T>() }.decline();
        }
        // A value that was received is leaked: see `SelectedOperation`.
    }
}

impl<T> Receiver<T> {
    /// Completes a selected operation.
    ///
    /// # Safety
    ///
    /// The token is of this receiver.
    #[inline]
    pub(super) unsafe fn complete(
        &self,
        token: &mut Token,
        site: &'static Location<'static>,
    ) -> Option<T> {
        match token.take_kind() {
            // SAFETY: the caller's: values of the channel are of type T.
            Kind::Value => Some(unsafe { token.packet.take() }),
            Kind::Exchange => {
                // SAFETY: as above.
                let exchange = unsafe { token.exchange::<T>() };
                // The sender's select may have given up; there may be other senders.
                exchange.receive(site).or_else(|| self.recv_at(None, site).ok())
            }
            Kind::Nothing | Kind::Disconnected | Kind::Slot => None,
        }
    }
}
