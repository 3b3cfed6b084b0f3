//! The sending end as an arm. At a rendezvous its seat has no place for a value, because there is
//! no value yet.

use std::panic::Location;
use std::ptr::NonNull;

use crate::channel::Sender;
use crate::channel::flavors::array::Permit;
use crate::channel::flavors::buffer::PushError;
use crate::channel::flavors::rendezvous::{Meeting, Side};
use crate::channel::select::arm::{End, Seat, Waits};
use crate::channel::select::token::{Kind, Token};
use crate::channel::sender::Flavor as S;
use crate::runtime::handle;
use crate::task::wait_state::WakeReason;
use crate::util::spin_lock::SpinGuard;
use crate::wait::queue::PROMISED;

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
            (Kind::Permit, S::Bounded(channel)) => channel.give_up(Permit::of_token()),
            // SAFETY: the kind was taken just now and was `Promiser`, so this happens once.
            (Kind::Promiser, _) => drop(unsafe { token.promiser() }),
            _ => {}
        }
    }

    fn cannot_proceed(&self) -> Option<usize> {
        match &self.0 {
            S::Bounded(channel) => channel.full(),
            S::Unbounded(_) | S::Zero(_) => None,
        }
    }

    fn proceed(&self, token: &mut Token) -> bool {
        // For an unbounded channel, a disconnection is found when the value is sent.
        let S::Bounded(channel) = &self.0 else { return true };
        match channel.reserve() {
            // The token stands for the permit.
            Ok(Permit { .. }) => token.set_permit(),
            Err(PushError::Closed) => token.set_disconnected(),
            Err(PushError::Full) => return false,
        }
        true
    }

    fn pair(
        &self,
        mut meeting: SpinGuard<'_, Meeting>,
        token: &mut Token,
        _: &'static Location<'static>,
    ) -> bool {
        let Some((promiser, wake)) = meeting.promise() else { return false };
        drop(meeting);
        handle::wake(wake);
        token.set_promiser(promiser);
        true
    }

    fn redeem(&self, _: &mut Token, _: &'static Location<'static>) -> bool {
        unreachable!("nobody promises a sender anything")
    }

    unsafe fn prepare(&self, _: NonNull<Seat>) {}

    unsafe fn discard(&self, _: NonNull<Seat>) {}

    unsafe fn settle(&self, token: &mut Token, seat: NonNull<Seat>, outcome: WakeReason) -> bool {
        match outcome {
            // SAFETY: the caller guarantees that the seat is this thread's alone, and by the
            // outcome the receiver has left a raw promiser in it, which is used once.
            PROMISED => token.set_raw_promiser(unsafe { (*seat.as_ptr()).node.promise() }),
            _ => token.set_disconnected(),
        }
        true
    }
}

impl<T> Sender<T> {
    /// Completes a selected operation. A value that is not sent stays where it is.
    ///
    /// # Safety
    ///
    /// The token is of this sender.
    #[inline]
    pub(super) unsafe fn complete(
        &self,
        token: &mut Token,
        value: &mut Option<T>,
        site: &'static Location<'static>,
    ) -> Result<(), PushError> {
        match (token.take_kind(), &self.0) {
            (Kind::Permit, S::Bounded(channel)) => channel.fill(Permit::of_token(), value),
            (Kind::Nothing, S::Unbounded(channel)) => channel.try_send(value),
            (Kind::Promiser, S::Zero(channel)) => {
                // SAFETY: the kind was taken just now and was `Promiser`, so this happens once. By
                // the contract the token is of this channel, whose values are of type `T`.
                unsafe { token.promiser().keep(value) };
                if value.is_some() {
                    // The receiver has withdrawn, taking this thread for dead.
                    return channel.send(value, None, site);
                }
                Ok(())
            }
            _ => Err(PushError::Closed),
        }
    }
}
