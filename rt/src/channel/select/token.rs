//! What a selected operation has got so far.

use std::mem::{self, MaybeUninit};
use std::sync::Arc;

use crate::channel::exchange::Exchange;
use crate::channel::ring::Reserved;

/// What a selected operation has got so far. Written and read in place: a value that is moved about in
/// a larger whole than it was written in makes the processor wait for the store.
pub(crate) struct Token {
    pub(super) kind: Kind,
    pub(super) packet: Packet,
}

/// What is in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nothing,
    /// The channel is disconnected.
    Disconnected,
    /// A value was received.
    Value,
    /// A slot was reserved, to send into: its position.
    Slot,
    /// The other side of a rendezvous is, or will be, at an exchange: a pointer to it, with a count.
    Exchange,
}

impl Token {
    pub(crate) const fn new() -> Self {
        Self { kind: Kind::Nothing, packet: Packet::empty() }
    }

    #[inline]
    pub(super) fn set_value<T>(&mut self, value: T) {
        self.kind = Kind::Value;
        // SAFETY: the place was made for a T.
        unsafe { self.packet.prepare::<T>().write(value) };
    }

    pub(super) fn set_disconnected(&mut self) {
        self.kind = Kind::Disconnected;
    }

    pub(super) fn set_slot(&mut self, slot: &Reserved) {
        self.kind = Kind::Slot;
        self.packet.set_word(slot.position());
    }

    pub(super) fn set_exchange<T>(&mut self, exchange: Arc<Exchange<T>>) {
        // SAFETY: the count passes over to the token.
        unsafe { self.set_raw_exchange(Arc::into_raw(exchange).cast()) };
    }

    /// # Safety
    ///
    /// `exchange` is a counted pointer to one of the arm's channel, and the count the token's now.
    pub(super) unsafe fn set_raw_exchange(&mut self, exchange: *const ()) {
        self.kind = Kind::Exchange;
        self.packet.set_word(exchange.expose_provenance());
    }

    /// What there is, of which the caller takes charge.
    pub(super) fn take_kind(&mut self) -> Kind {
        mem::replace(&mut self.kind, Kind::Nothing)
    }

    /// # Safety
    ///
    /// The kind taken was `Exchange`, and the token is of a channel of `T`.
    pub(super) unsafe fn exchange<T>(&self) -> Arc<Exchange<T>> {
        let place = std::ptr::with_exposed_provenance(self.packet.word());
        // SAFETY: the caller's: it comes from `Arc::into_raw`.
        unsafe { Arc::from_raw(place) }
    }
}

/// A place for one value of a type that only the arm knows: here if it is small, else on the heap.
pub(super) struct Packet(MaybeUninit<[usize; 4]>);

impl Packet {
    /// With nothing in it.
    pub(super) const fn empty() -> Self {
        Self(MaybeUninit::uninit())
    }

    pub(super) fn is_inline<T>() -> bool {
        size_of::<T>() <= size_of::<Self>() && align_of::<T>() <= align_of::<Self>()
    }

    pub(super) fn set_word(&mut self, word: usize) {
        // SAFETY: a packet has room for a word.
        unsafe { self.0.as_mut_ptr().cast::<usize>().write(word) };
    }

    /// The word that was set.
    pub(super) fn word(&self) -> usize {
        // SAFETY: set, as the caller knows by the kind.
        unsafe { self.0.as_ptr().cast::<usize>().read() }
    }

    /// Makes the place for a `T`, without a value. It moves with the packet if it is small.
    #[inline]
    pub(super) fn prepare<T>(&mut self) -> *mut T {
        if Self::is_inline::<T>() {
            self.0.as_mut_ptr().cast()
        } else {
            let place = Box::into_raw(Box::<T>::new_uninit()).cast::<T>();
            // SAFETY: a packet has room for a pointer.
            unsafe { self.0.as_mut_ptr().cast::<*mut T>().write(place) };
            place
        }
    }

    /// Takes the value out, and frees the place.
    ///
    /// # Safety
    ///
    /// It was prepared for a `T`, and the value was written; it is not used again.
    #[inline]
    pub(super) unsafe fn take<T>(&mut self) -> T {
        // SAFETY: the caller's; the box came from `prepare`.
        unsafe {
            if Self::is_inline::<T>() {
                self.0.as_ptr().cast::<T>().read()
            } else {
                *Box::from_raw(self.0.as_ptr().cast::<*mut T>().read())
            }
        }
    }

    /// Moves the value, or the place on the heap, to another packet.
    ///
    /// # Safety
    ///
    /// As for [`Packet::take`].
    #[inline]
    pub(super) unsafe fn pass<T>(&mut self, to: &mut Self) {
        let (from, to) = (self.0.as_ptr(), to.0.as_mut_ptr());
        // SAFETY: the caller's.
        unsafe {
            if Self::is_inline::<T>() {
                to.cast::<T>().write(from.cast::<T>().read());
            } else {
                to.cast::<*mut T>().write(from.cast::<*mut T>().read());
            }
        }
    }

    /// Frees the place, and not the value.
    ///
    /// # Safety
    ///
    /// It was prepared for a `T`, and is not used again.
    pub(super) unsafe fn discard<T>(&mut self) {
        if !Self::is_inline::<T>() {
            // SAFETY: the caller's.
            drop(unsafe { Box::from_raw(self.0.as_ptr().cast::<*mut MaybeUninit<T>>().read()) });
        }
    }
}
