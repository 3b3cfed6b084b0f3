//! The intermediate result of a selected operation.

use std::mem::{self, MaybeUninit};
use std::ptr;

use crate::channel::flavors::promise::{Awaited, Promiser};

/// The intermediate result of a selected operation. It is written and read in place: reading a
/// value as part of a larger load than it was stored with makes the processor wait for the store.
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(super) packet: Packet,
}

/// The contents of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nothing,
    /// The channel is disconnected; the packet is empty.
    Disconnected,
    /// A value was received.
    Value,
    /// A permit to send is held; the packet is empty.
    Permit,
    /// The promiser's side of a promise to a receiver that waits.
    Promiser,
    /// The receiver's side of a promise, with its place.
    Awaited,
}

impl Token {
    pub(crate) const fn new() -> Self {
        Self { kind: Kind::Nothing, packet: Packet::empty() }
    }

    /// Returns the place for a value, which must be written or discarded.
    #[inline]
    pub(super) fn prepare<T>(&mut self) -> &mut MaybeUninit<T> {
        // SAFETY: the place was created for a `T`, is valid for writes, and is borrowed from the
        // token.
        unsafe { &mut *self.packet.prepare::<T>().cast() }
    }

    /// Marks the value in the prepared place as received.
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

    /// Stores the promiser that a receiver has left with [`Promiser::into_raw`].
    pub(super) fn set_raw_promiser(&mut self, promiser: *const ()) {
        self.kind = Kind::Promiser;
        self.packet.set_pointers([promiser, ptr::null()]);
    }

    pub(super) fn set_awaited<T>(&mut self, awaited: Awaited<T>) {
        self.kind = Kind::Awaited;
        self.packet.set_pointers(awaited.into_raw());
    }

    /// Returns the kind and resets it. The caller takes over what the token holds.
    pub(super) fn take_kind(&mut self) -> Kind {
        mem::replace(&mut self.kind, Kind::Nothing)
    }

    /// Returns the promiser that the token held.
    ///
    /// # Safety
    ///
    /// The kind taken was `Promiser`, and this is called once.
    pub(super) unsafe fn promiser(&self) -> Promiser {
        // SAFETY: the kind was `Promiser`, so the first pointer is from `Promiser::into_raw`; the
        // caller guarantees that it is used once.
        unsafe { Promiser::from_raw(self.packet.pointers()[0]) }
    }

    /// Returns the receiver's side that the token held.
    ///
    /// # Safety
    ///
    /// The kind taken was `Awaited`, the token is of a channel of `T`, and this is called once.
    pub(super) unsafe fn awaited<T>(&self) -> Awaited<T> {
        // SAFETY: the kind was `Awaited`, so the pointers are from `Awaited::into_raw` of the same
        // `T`; the caller guarantees that they are used once.
        unsafe { Awaited::from_raw(self.packet.pointers()) }
    }
}

/// A place for one value of a type that only the arm knows: inline if it is small, otherwise on the
/// heap.
pub(super) struct Packet(MaybeUninit<[usize; 4]>);

impl Packet {
    /// Creates an empty packet.
    pub(super) const fn empty() -> Self {
        Self(MaybeUninit::uninit())
    }

    pub(super) fn is_inline<T>() -> bool {
        size_of::<T>() <= size_of::<Self>() && align_of::<T>() <= align_of::<Self>()
    }

    fn set_pointers(&mut self, pointers: [*const (); 2]) {
        // SAFETY: a packet has room for two pointers, and is aligned for them.
        unsafe { self.0.as_mut_ptr().cast::<[*const (); 2]>().write(pointers) };
    }

    /// Reads the two pointers.
    ///
    /// # Safety
    ///
    /// They were set.
    unsafe fn pointers(&self) -> [*const (); 2] {
        // SAFETY: the caller guarantees that the two pointers were written.
        unsafe { self.0.as_ptr().cast::<[*const (); 2]>().read() }
    }

    /// Prepares the place for a `T`, without a value. A small place moves with the packet.
    #[inline]
    pub(super) fn prepare<T>(&mut self) -> *mut T {
        if Self::is_inline::<T>() {
            self.0.as_mut_ptr().cast()
        } else {
            let place = Box::into_raw(Box::<T>::new_uninit()).cast::<T>();
            // SAFETY: a packet has room for a pointer, and is aligned for it.
            unsafe { self.0.as_mut_ptr().cast::<*mut T>().write(place) };
            place
        }
    }

    /// Moves the value to `to`, and frees the place.
    ///
    /// # Safety
    ///
    /// The packet was prepared for a `T`, and the value was written. The packet is not used again.
    #[inline]
    pub(super) unsafe fn take<T>(&mut self, to: &mut MaybeUninit<T>) {
        // SAFETY: the caller guarantees that the packet was prepared for a `T` and holds a value,
        // which is copied once. `to` is a distinct `&mut`. For a large `T` the packet holds the
        // pointer from `prepare`, which is discarded once.
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
        // SAFETY: the caller guarantees that the packet was prepared for a `T`, holds a value, and
        // is not used again; so the value or the pointer is moved. `to` has room for either.
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
    /// The packet was prepared for a `T`, and is not used again.
    pub(super) unsafe fn discard<T>(&mut self) {
        if !Self::is_inline::<T>() {
            // SAFETY: the caller guarantees that the packet was prepared for a `T`, so it holds the
            // pointer of the box that `prepare` leaked. It is freed once.
            drop(unsafe { Box::from_raw(self.0.as_ptr().cast::<*mut MaybeUninit<T>>().read()) });
        }
    }
}
