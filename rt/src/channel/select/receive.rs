//! The receiving end as an arm.

use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::NonNull;
use std::time::Instant;

use crate::channel::flavors::promise::Promised;
use crate::channel::flavors::rendezvous::{Meeting, Side, Taken};
use crate::channel::receiver::Flavor as R;
use crate::channel::select::arm::{End, Seat, Waits};
use crate::channel::select::token::{Kind, Packet, Token};
use crate::channel::{Receiver, RecvTimeoutError, TryRecvError};
use crate::runtime::handle;
use crate::task::wait_state::WakeReason;
use crate::util::spin_lock::SpinGuard;
use crate::wait::park::interrupted;
use crate::wait::queue::{PROMISED, WOKEN};

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
        if token.take_kind() == Kind::Awaited {
            // SAFETY: the kind was taken just now and was `Awaited`, so this happens once; the
            // token is of this channel.
            drop(unsafe { token.awaited::<T>() });
        }
        // A value that was received is leaked, because this thread may not be allowed to drop it:
        // see `Select`.
    }

    fn cannot_proceed(&self) -> Option<usize> {
        match &self.0 {
            R::Bounded(channel) => channel.empty(),
            R::Unbounded(channel) => channel.empty(),
            R::At(at) => at.not_ready(),
            R::Tick(tick) => tick.not_ready(),
            R::Done(done) => (!done.is_done()).then_some(0),
            R::Zero(_) | R::Never => Some(0),
        }
    }

    #[inline]
    fn proceed(&self, token: &mut Token) -> bool {
        // Checked first for a large value, which would need a place on the heap.
        if !Packet::is_inline::<T>() && self.cannot_proceed().is_some() {
            return false;
        }
        match self.try_recv_to(token.prepare::<T>(), Location::caller()) {
            Ok(()) => {
                token.set_value();
                return true;
            }
            Err(TryRecvError::Disconnected) => token.set_disconnected(),
            Err(TryRecvError::Empty) => {}
        }
        // SAFETY: prepared for a `T` above, not written, and not used again.
        unsafe { token.packet.discard::<T>() };
        token.kind == Kind::Disconnected
    }

    #[inline]
    fn pair(
        &self,
        mut meeting: SpinGuard<'_, Meeting>,
        token: &mut Token,
        site: &'static Location<'static>,
    ) -> bool {
        // SAFETY: the channel is one of `T`. The token stays where it is until a promise has moved
        // its place, below.
        match unsafe { meeting.take(token.prepare::<T>().as_mut_ptr(), site) } {
            Taken::Value(wake) => {
                drop(meeting);
                handle::wake(wake);
                token.set_value();
                return true;
            }
            Taken::Promise(promised, wake) => {
                // SAFETY: the promise is of this channel, so of `T`.
                let awaited = unsafe { promised.move_place::<T>() };
                drop(meeting);
                handle::wake(wake);
                match awaited {
                    Ok(awaited) => {
                        // SAFETY: prepared for a `T` above, and not used again: the promise has a
                        // place of its own now.
                        unsafe { token.packet.discard::<T>() };
                        token.set_awaited(awaited);
                    }
                    // The sender was awake, and has already kept the promise.
                    Err(_) => token.set_value(),
                }
                return true;
            }
            Taken::Nobody => {}
            Taken::Forbidden(violation) => {
                drop(meeting);
                violation.panic();
            }
        }
        // SAFETY: prepared for a `T` above, not written, and not used again.
        unsafe { token.packet.discard::<T>() };
        false
    }

    #[cold]
    fn redeem(&self, token: &mut Token, site: &'static Location<'static>) -> bool {
        debug_assert_eq!(token.kind, Kind::Awaited);
        token.take_kind();
        // SAFETY: the kind was taken just now and was `Awaited`, so this happens once; the
        // token is of this channel.
        let Some(mut value) = unsafe { token.awaited::<T>() }.wait(site) else { return false };
        // SAFETY: the promise was kept, so the box holds a value; it is copied out once, and the
        // box does not drop it. The destination is a distinct place for a `T`.
        unsafe { value.as_mut_ptr().copy_to_nonoverlapping(token.prepare().as_mut_ptr(), 1) };
        token.set_value();
        true
    }

    #[inline]
    unsafe fn prepare(&self, seat: NonNull<Seat>) {
        // SAFETY: the caller guarantees that the seat is written and is its alone, so a unique
        // reference to it is valid.
        let seat = unsafe { &mut *seat.as_ptr() };
        seat.node.set_packet(seat.packet.prepare::<T>().cast());
    }

    #[inline]
    unsafe fn discard(&self, seat: NonNull<Seat>) {
        // SAFETY: the caller guarantees that the seat was prepared, for the `T` of this channel,
        // and is its alone; the packet is not used again.
        unsafe { (*seat.as_ptr()).packet.discard::<T>() };
    }

    #[inline]
    unsafe fn settle(&self, token: &mut Token, seat: NonNull<Seat>, outcome: WakeReason) -> bool {
        // SAFETY: the caller guarantees that the seat was prepared for the `T` of this channel, was
        // claimed with `outcome`, and is its alone. With `PROMISED` the partner has left a raw
        // promise in the node, which is used once. The packet is the promise's place until the
        // promise has moved it or is settled, and is touched only after that.
        unsafe {
            let awaited = (outcome == PROMISED)
                .then(|| Promised::from_raw((*seat.as_ptr()).node.promise()).move_place::<T>());
            let packet = &mut (*seat.as_ptr()).packet;
            match (outcome, awaited) {
                (WOKEN, _) | (_, Some(Err(_))) => {
                    packet.pass::<T>(&mut token.packet);
                    token.set_value();
                    return true;
                }
                (_, Some(Ok(awaited))) => token.set_awaited(awaited),
                _ => token.set_disconnected(),
            }
            packet.discard::<T>();
            true
        }
    }
}

impl<T> Receiver<T> {
    /// Completes a selected operation. Returns `false` if the channel is disconnected.
    ///
    /// # Safety
    ///
    /// The token is of this receiver.
    #[inline]
    pub(super) unsafe fn complete(
        &self,
        token: &mut Token,
        place: &mut MaybeUninit<T>,
        site: &'static Location<'static>,
    ) -> bool {
        if token.kind == Kind::Awaited && !End::redeem(self, token, site) {
            // The sender's select has given up; there may be other senders.
            return match self.recv_to(place, None, site) {
                Ok(()) => true,
                Err(RecvTimeoutError::Disconnected) => false,
                Err(RecvTimeoutError::Timeout) => interrupted(site),
            };
        }
        let has_value = token.take_kind() == Kind::Value;
        if has_value {
            // SAFETY: by the contract the token is of this channel, whose values are of type `T`.
            // The kind was `Value`, so a value was written; it is taken once.
            unsafe { token.packet.take(place) };
        }
        has_value
    }
}
