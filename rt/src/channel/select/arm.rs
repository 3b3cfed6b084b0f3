//! What select asks of the two ends of a channel: one operation of a select is an *arm*.
//!
//! An arm is tried; if no arm is ready all are registered, each with a [`Seat`] in the select's frame;
//! one is claimed, and accepts. What the arm got so far is in a [`Token`], and the operation is completed
//! with it, by `recv` or `send` of the end that it belongs to.

use std::mem::{self, MaybeUninit};
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use crate::channel::exchange::Exchange;
use crate::channel::receiver::Flavor as R;
use crate::channel::ring::Reserved;
use crate::channel::sender::Flavor as S;
use crate::channel::zero::{Side, Taken};
use crate::channel::{Receiver, Sender, TryRecvError, TrySendError};
use crate::task::state::Op;
use crate::wait::{EXCHANGE, Node, WOKEN};

/// What a selected operation has got so far.
pub(crate) enum Token {
    Nothing,
    /// The channel is disconnected.
    Disconnected,
    /// A value was received.
    Value(Packet),
    /// A slot was reserved, to send into: its position.
    Slot(usize),
    /// The other side of a rendezvous is, or will be, at an exchange.
    Exchange(NonNull<()>),
}

/// A place for one value of a type that only the arm knows: here if it is small, else on the heap.
pub(crate) struct Packet(MaybeUninit<[usize; 4]>);

impl Packet {
    /// With nothing in it.
    pub(crate) const fn empty() -> Self {
        Self(MaybeUninit::uninit())
    }

    fn is_inline<T>() -> bool {
        size_of::<T>() <= size_of::<Self>() && align_of::<T>() <= align_of::<Self>()
    }

    /// Makes the place for a `T`, without a value. It moves with the packet if it is small.
    fn prepare<T>(&mut self) -> *mut T {
        if Self::is_inline::<T>() {
            self.0.as_mut_ptr().cast()
        } else {
            let place = Box::into_raw(Box::<T>::new_uninit()).cast::<T>();
            // SAFETY: a packet has room for a pointer.
            unsafe { self.0.as_mut_ptr().cast::<*mut T>().write(place) };
            place
        }
    }

    fn of<T>(value: T) -> Self {
        let mut packet = Self::empty();
        // SAFETY: the place was made for a T.
        unsafe { packet.prepare::<T>().write(value) };
        packet
    }

    /// # Safety
    ///
    /// It was prepared for a `T`, and the value was written.
    unsafe fn take<T>(self) -> T {
        // SAFETY: the caller's; the box came from `prepare`.
        unsafe {
            if Self::is_inline::<T>() {
                self.0.as_ptr().cast::<T>().read()
            } else {
                *Box::from_raw(self.0.as_ptr().cast::<*mut T>().read())
            }
        }
    }

    /// Frees the place, and not the value.
    ///
    /// # Safety
    ///
    /// It was prepared for a `T`, and is not used again.
    unsafe fn discard<T>(&mut self) {
        if !Self::is_inline::<T>() {
            // SAFETY: the caller's.
            drop(unsafe { Box::from_raw(self.0.as_ptr().cast::<*mut MaybeUninit<T>>().read()) });
        }
    }
}

/// The place of one arm in a select that waits.
pub(crate) struct Seat {
    pub(crate) node: Node,
    packet: Packet,
}

impl Seat {
    pub(crate) fn new(node: Node) -> Self {
        Self { node, packet: Packet::empty() }
    }

    fn node(seat: NonNull<Self>) -> NonNull<Node> {
        // SAFETY: a field of it; no reference is made to what others may be writing to.
        unsafe { NonNull::new_unchecked(&raw mut (*seat.as_ptr()).node) }
    }
}

/// One operation of a select. Implemented by the ends of channels.
///
/// The unsafe methods ask of their caller that a seat stays where it is from `register` (or `watch`) to
/// `unregister` (or `unwatch`) with the same arm, which is called for each, claimed or not, and before
/// `accept`.
pub(crate) trait Arm {
    /// Tries to do the operation, as far as it goes without its value: true if that is done, or if the
    /// channel is disconnected.
    fn try_select(&self, token: &mut Token) -> bool;
    /// When the operation becomes ready by itself.
    fn deadline(&self) -> Option<Instant>;
    /// Registers for a wake when the operation may be done: true if it may now, and there is no need.
    unsafe fn register(&self, seat: NonNull<Seat>) -> bool;
    /// Ends a registration. `claimed` if the select was woken by this very seat.
    unsafe fn unregister(&self, seat: NonNull<Seat>, claimed: bool);
    /// Does the operation after a wake by this seat, as far as it goes: true if that is done.
    unsafe fn accept(&self, token: &mut Token, seat: NonNull<Seat>, outcome: Op) -> bool;
    /// Whether the operation would not block.
    fn is_ready(&self) -> bool;
    /// Registers for a wake when `is_ready` changes: true if it is ready now.
    unsafe fn watch(&self, seat: NonNull<Seat>) -> bool;
    /// Ends a registration.
    unsafe fn unwatch(&self, seat: NonNull<Seat>);
    /// Gives up a selected operation.
    fn abandon(&self, token: Token);
}

/// The exchange of a token, of the type that the arm knows.
///
/// # Safety
///
/// The token is of a channel of `T`, and used once.
unsafe fn exchange<T>(token: NonNull<()>) -> Arc<Exchange<T>> {
    // SAFETY: the caller's: it comes from `Arc::into_raw`.
    unsafe { Arc::from_raw(token.as_ptr().cast_const().cast()) }
}

fn exchange_token<T>(exchange: Arc<Exchange<T>>) -> Token {
    Token::Exchange(NonNull::new(Arc::into_raw(exchange).cast_mut().cast()).expect("not null"))
}

impl<T> Arm for Receiver<T> {
    #[inline]
    fn try_select(&self, token: &mut Token) -> bool {
        let received = match &self.0 {
            R::Zero(zero) => match zero.try_take() {
                Ok(Taken::Value(value)) => Ok(value),
                Ok(Taken::Promise(exchange)) => {
                    *token = exchange_token(exchange);
                    return true;
                }
                Err(error) => Err(error),
            },
            _ => self.try_recv(),
        };
        *token = match received {
            Ok(value) => Token::Value(Packet::of(value)),
            Err(TryRecvError::Disconnected) => Token::Disconnected,
            Err(TryRecvError::Empty) => return false,
        };
        true
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.0 {
            R::At(at) => at.deadline(),
            R::Tick(tick) => tick.deadline(),
            _ => None,
        }
    }

    #[inline]
    unsafe fn register(&self, seat: NonNull<Seat>) -> bool {
        let node = Seat::node(seat);
        // SAFETY: the seat stays until it is unregistered; before this it is the caller's alone.
        unsafe {
            match &self.0 {
                R::Bounded(channel) => {
                    channel.receivers.enter(node, false);
                    channel.can_recv()
                }
                R::Unbounded(channel) => {
                    channel.receivers.enter(node, false);
                    channel.can_recv()
                }
                R::Zero(zero) => {
                    let place = (*seat.as_ptr()).packet.prepare::<T>();
                    (*node.as_ptr()).set_packet(place.cast());
                    zero.register(Side::Receivers, node)
                }
                R::At(_) | R::Tick(_) | R::Never => self.is_ready(),
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
                *token = Token::Value(mem::replace(&mut seat.packet, Packet::empty()));
                return true;
            }
            seat.packet.discard::<T>();
            *token = match outcome {
                EXCHANGE => exchange_token::<T>(Arc::from_raw(seat.node.exchange().cast())),
                _ => Token::Disconnected,
            };
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

    unsafe fn watch(&self, seat: NonNull<Seat>) -> bool {
        let node = Seat::node(seat);
        // SAFETY: the seat stays until it is unwatched.
        unsafe {
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

    fn abandon(&self, token: Token) {
        if let Token::Exchange(token) = token {
            // SAFETY: the token is of this arm's channel.
            unsafe { exchange::<T>(token) }.decline();
        }
        // A value that was received is leaked: see `SelectedOperation`.
    }
}

impl<T> Receiver<T> {
    /// Completes a selected operation.
    #[inline]
    pub(super) fn complete(&self, token: Token, site: &'static Location<'static>) -> Option<T> {
        match token {
            // SAFETY: the token is of this channel, whose values are of type T.
            Token::Value(packet) => Some(unsafe { packet.take() }),
            Token::Exchange(token) => {
                // SAFETY: as above.
                let exchange = unsafe { exchange::<T>(token) };
                // The sender's select may have given up; there may be other senders.
                exchange.receive(site).or_else(|| self.recv_at(None, site).ok())
            }
            Token::Nothing | Token::Disconnected | Token::Slot(_) => None,
        }
    }
}

impl<T> Arm for Sender<T> {
    #[inline]
    fn try_select(&self, token: &mut Token) -> bool {
        *token = match &self.0 {
            S::Bounded(channel) => match channel.reserve() {
                Ok(slot) => Token::Slot(slot.position()),
                Err(_) if channel.is_closed() => Token::Disconnected,
                Err(_) => return false,
            },
            S::Unbounded(_) => Token::Nothing,
            S::Zero(zero) => match zero.try_promise() {
                Ok(exchange) => exchange_token(exchange),
                Err(TrySendError::Disconnected(())) => Token::Disconnected,
                Err(TrySendError::Full(())) => return false,
            },
        };
        true
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    unsafe fn register(&self, seat: NonNull<Seat>) -> bool {
        let node = Seat::node(seat);
        // SAFETY: the seat stays until it is unregistered. Its packet is null: no value yet.
        unsafe {
            match &self.0 {
                S::Bounded(channel) => {
                    channel.senders.enter(node, false);
                    channel.can_send()
                }
                S::Unbounded(_) => true,
                S::Zero(zero) => zero.register(Side::Senders, node),
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
        *token = match outcome {
            // SAFETY: claimed and out of the queue, so the seat is ours alone, with the exchange in it.
            EXCHANGE => unsafe {
                exchange_token::<T>(Arc::from_raw((*seat.as_ptr()).node.exchange().cast()))
            },
            _ => Token::Disconnected,
        };
        true
    }

    fn is_ready(&self) -> bool {
        match &self.0 {
            S::Bounded(channel) => channel.can_send(),
            S::Unbounded(_) => true,
            S::Zero(zero) => zero.is_ready(Side::Receivers),
        }
    }

    unsafe fn watch(&self, seat: NonNull<Seat>) -> bool {
        let node = Seat::node(seat);
        // SAFETY: the seat stays until it is unwatched.
        unsafe {
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

    fn abandon(&self, token: Token) {
        match (token, &self.0) {
            (Token::Slot(slot), S::Bounded(channel)) => channel.give_up(Reserved::at(slot)),
            // SAFETY: the token is of this arm's channel.
            (Token::Exchange(token), _) => unsafe { exchange::<T>(token) }.break_off(),
            _ => {}
        }
    }
}

impl<T> Sender<T> {
    /// Completes a selected operation.
    #[inline]
    pub(super) fn complete(&self, token: Token, value: T) -> Result<(), T> {
        match (token, &self.0) {
            (Token::Slot(slot), S::Bounded(channel)) => channel.fill(Reserved::at(slot), value),
            (Token::Nothing, S::Unbounded(channel)) => {
                channel.try_send(value).map_err(TrySendError::into_inner)
            }
            (Token::Exchange(token), _) => {
                // SAFETY: the token is of this channel, whose values are of type T.
                unsafe { exchange::<T>(token) }.keep(value);
                Ok(())
            }
            _ => Err(value),
        }
    }
}
