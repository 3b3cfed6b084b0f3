//! The sending end as an arm. At a rendezvous its seat has no place for a value: it has none yet.

use std::ptr::NonNull;

use super::arm::{End, Seat, Waits};
use super::token::{Kind, Token};
use crate::channel::Sender;
use crate::channel::buffer::PushError;
use crate::channel::rendezvous::{Meeting, Side};
use crate::channel::ring::Reserved;
use crate::channel::sender::Flavor as S;
use crate::channel::sender::unsent;
use crate::sched;
use crate::spin::SpinGuard;
use crate::task::state::Op;
use crate::wait::EXCHANGE;

impl<T> End for Sender<T> {
    #[inline]
    fn waits(&self) -> Waits<'_> {
        match &self.0 {
            S::Bounded(channel) => Waits::List(&channel.senders),
            S::Unbounded(_) => Waits::Nowhere,
            S::Zero(zero) => Waits::Meeting(&zero.rendezvous, Side::Senders),
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

    fn can_proceed(&self) -> bool {
        match &self.0 {
            S::Bounded(channel) => channel.can_send(),
            S::Unbounded(_) => true,
            S::Zero(_) => false,
        }
    }

    fn proceed(&self, token: &mut Token) -> bool {
        // If the channel has no limit, whether it is disconnected turns out when the value is sent.
        let S::Bounded(channel) = &self.0 else { return true };
        match channel.reserve() {
            Ok(slot) => token.set_slot(&slot),
            Err(PushError::Closed) => token.set_disconnected(),
            Err(PushError::Full) => return false,
        }
        true
    }

    fn pair(&self, mut meeting: SpinGuard<'_, Meeting>, token: &mut Token) -> bool {
        let Some((exchange, wake)) = meeting.promise::<T>() else { return false };
        drop(meeting);
        sched::wake(wake);
        token.set_exchange(exchange);
        true
    }

    unsafe fn prepare(&self, _: NonNull<Seat>) {}

    unsafe fn discard(&self, _: NonNull<Seat>) {}

    unsafe fn settle(&self, token: &mut Token, seat: NonNull<Seat>, outcome: Op) {
        match outcome {
            // SAFETY: the caller's: the exchange is in the seat.
            EXCHANGE => unsafe { token.set_raw_exchange((*seat.as_ptr()).node.exchange()) },
            _ => token.set_disconnected(),
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
                let mut value = Some(value);
                channel.try_send(&mut value).map_err(|_| unsent(value))
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
