//! The receiving end as an arm.

use std::panic::Location;
use std::ptr::NonNull;
use std::time::Instant;

use super::arm::{End, Seat, Waits};
use super::token::{Kind, Token};
use crate::channel::receiver::Flavor as R;
use crate::channel::rendezvous::{Meeting, Side, Taken};
use crate::channel::{Receiver, TryRecvError};
use crate::sched;
use crate::spin::SpinGuard;
use crate::task::state::Op;
use crate::wait::{EXCHANGE, WOKEN};

impl<T> End for Receiver<T> {
    #[inline]
    fn waits(&self) -> Waits<'_> {
        match &self.0 {
            R::Bounded(channel) => Waits::List(&channel.receivers),
            R::Unbounded(channel) => Waits::List(&channel.receivers),
            R::Done(done) => Waits::List(&done.receivers),
            R::Zero(zero) => Waits::Meeting(&zero.rendezvous, Side::Receivers),
            R::At(_) | R::Tick(_) | R::Never => Waits::Nowhere,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.0 {
            R::At(at) => at.deadline(),
            R::Tick(tick) => tick.deadline(),
            R::Done(done) => done.deadline(),
            _ => None,
        }
    }

    fn abandon(&self, token: &mut Token) {
        if token.take_kind() == Kind::Exchange {
            // SAFETY: the token is of this arm's channel.
            unsafe { token.exchange::<T>() }.decline();
        }
        // A value that was received is leaked: see `SelectedOperation`.
    }

    fn can_proceed(&self) -> bool {
        match &self.0 {
            R::Bounded(channel) => channel.can_recv(),
            R::Unbounded(channel) => channel.can_recv(),
            R::At(at) => at.is_ready(),
            R::Tick(tick) => tick.is_ready(),
            R::Done(done) => done.is_done(),
            R::Zero(_) | R::Never => false,
        }
    }

    #[inline]
    fn proceed(&self, token: &mut Token) -> bool {
        match self.try_recv() {
            Ok(value) => token.set_value(value),
            Err(TryRecvError::Disconnected) => token.set_disconnected(),
            Err(TryRecvError::Empty) => return false,
        }
        true
    }

    #[inline]
    fn pair(&self, mut meeting: SpinGuard<'_, Meeting>, token: &mut Token) -> bool {
        let Some((taken, wake)) = meeting.take::<T>() else { return false };
        drop(meeting);
        sched::wake(wake);
        match taken {
            Taken::Value(value) => token.set_value(value),
            Taken::Promise(exchange) => token.set_exchange(exchange),
        }
        true
    }

    #[inline]
    unsafe fn prepare(&self, seat: NonNull<Seat>) {
        // SAFETY: the caller's. The place is right for the values of this channel.
        let seat = unsafe { &mut *seat.as_ptr() };
        seat.node.set_packet(seat.packet.prepare::<T>().cast());
    }

    #[inline]
    unsafe fn discard(&self, seat: NonNull<Seat>) {
        // SAFETY: the caller's.
        unsafe { (*seat.as_ptr()).packet.discard::<T>() };
    }

    #[inline]
    unsafe fn settle(&self, token: &mut Token, seat: NonNull<Seat>, outcome: Op) {
        // SAFETY: the caller's; the outcome tells what was left in the seat.
        unsafe {
            let seat = &mut *seat.as_ptr();
            if outcome == WOKEN {
                token.kind = Kind::Value;
                return seat.packet.pass::<T>(&mut token.packet);
            }
            seat.packet.discard::<T>();
            match outcome {
                EXCHANGE => token.set_raw_exchange(seat.node.exchange()),
                _ => token.set_disconnected(),
            }
        }
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
