//! What a selected operation has got so far.

use std::mem::{self, MaybeUninit};
use std::ptr;

use crate::channel::flavors::promise::{Awaited, Promiser};

/// What a selected operation has got so far. Written and read in place: a value that is moved about in
/// a larger whole than it was written in makes the processor wait for the store.
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(super) packet: Packet,
}

/// What is in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nothing,
    /// The channel is disconnected.
    Disconnected,
    /// A value was received.
    Value,
    /// A permit to send is held.
    Permit,
    /// A receiver waits for the value that it was promised: the promiser's side.
    Promiser,
    /// A value was promised: the receiver's side.
    Awaited,
}

impl Token {
    pub(crate) const fn new() -> Self {
        Self { kind: Kind::Nothing, packet: Packet::empty() }
    }

    /// The place for a value, which must be written, or discarded.
    #[inline]
    pub(super) fn prepare<T>(&mut self) -> &mut MaybeUninit<T> {
        // SAFETY: the place was made for a `T`, and is the token's.
        unsafe { &mut *self.packet.prepare::<T>().cast() }
    }

    /// A value is in the place that was prepared.
    #[inline]
    pub(super) fn set_value(&mut self) {
        self.kind = Kind::Value;
    }

    pub(super) fn set_disconnected(&mut self) {
        self.kind = Kind::Disconnected;
    }

    pub(super) fn set_permit(&mut self) {
        self.kind = Kind::Permit;
    }

    pub(super) fn set_promiser(&mut self, promiser: Promiser) {
        self.set_raw_promiser(promiser.into_raw());
    }

    /// One that was left for the owner of the token by [`Promiser::into_raw`].
    pub(super) fn set_raw_promiser(&mut self, promiser: *const ()) {
        self.kind = Kind::Promiser;
        self.packet.set_pointers([promiser, ptr::null()]);
    }

    pub(super) fn set_awaited<T>(&mut self, awaited: Awaited<T>) {
        self.kind = Kind::Awaited;
        self.packet.set_pointers(awaited.into_raw());
    }

    /// What there is, of which the caller takes charge.
    pub(super) fn take_kind(&mut self) -> Kind {
        mem::replace(&mut self.kind, Kind::Nothing)
    }

    /// # Safety
    ///
    /// The kind taken was `Promiser`, and this is done once.
    pub(super) unsafe fn promiser(&self) -> Promiser {
        // SAFETY: the caller's.
        unsafe { Promiser::from_raw(self.packet.pointers()[0]) }
    }

    /// # Safety
    ///
    /// The kind taken was `Awaited`, the token is of a channel of `T`, and this is done once.
    pub(super) unsafe fn awaited<T>(&self) -> Awaited<T> {
        // SAFETY: the caller's.
        unsafe { Awaited::from_raw(self.packet.pointers()) }
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

    fn set_pointers(&mut self, pointers: [*const (); 2]) {
        // SAFETY: a packet has room for two pointers.
        unsafe { self.0.as_mut_ptr().cast::<[*const (); 2]>().write(pointers) };
    }

    /// # Safety
    ///
    /// They were set.
    unsafe fn pointers(&self) -> [*const (); 2] {
        // SAFETY: the caller's.
        unsafe { self.0.as_ptr().cast::<[*const (); 2]>().read() }
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

    /// Moves the value to `to`, and frees the place.
    ///
    /// # Safety
    ///
    /// It was prepared for a `T`, and the value was written; it is not used again.
    #[inline]
    pub(super) unsafe fn take<T>(&mut self, to: &mut MaybeUninit<T>) {
        // SAFETY: the caller's; the box came from `prepare`.
        unsafe {
            if Self::is_inline::<T>() {
                self.0.as_ptr().cast::<T>().copy_to_nonoverlapping(to.as_mut_ptr(), 1);
            } else {
                let place = self.0.as_ptr().cast::<*mut T>().read();
                place.copy_to_nonoverlapping(to.as_mut_ptr(), 1);
                self.discard::<T>();
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
