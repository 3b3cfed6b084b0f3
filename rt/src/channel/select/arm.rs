//! What select asks of the two ends of a channel: one operation of a select is an *arm*.
//!
//! Arms are tried and registered in turn, each with a [`Seat`] in the select's frame; if none was ready
//! the select sleeps; one is claimed, and accepts. What the arm got so far is in a [`Token`], and the operation is completed
//! with it, by `recv` or `send` of the end that it belongs to.

use std::mem::{self, MaybeUninit};
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use crate::channel::buffer::PushError;
use crate::channel::exchange::Exchange;
use crate::channel::receiver::Flavor as R;
use crate::channel::ring::Reserved;
use crate::channel::sender::Flavor as S;
use crate::channel::zero::{Meet, Side, Taken, Zero};
use crate::channel::{Receiver, Sender, TryRecvError, TrySendError};
use crate::park::Wait;
use crate::sched;
use crate::task::state::Op;
use crate::task::{Reason, Waiter};
use crate::wait::{EXCHANGE, Node, WOKEN, WaitList};

/// What a selected operation has got so far. Written and read in place: a value that is moved about in
/// a larger whole than it was written in makes the processor wait for the store.
pub(crate) struct Token {
    kind: Kind,
    packet: Packet,
}

/// What is in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
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
    fn set_value<T>(&mut self, value: T) {
        self.kind = Kind::Value;
        // SAFETY: the place was made for a T.
        unsafe { self.packet.prepare::<T>().write(value) };
    }

    fn set_disconnected(&mut self) {
        self.kind = Kind::Disconnected;
    }

    fn set_slot(&mut self, slot: &Reserved) {
        self.kind = Kind::Slot;
        self.packet.set_word(slot.position());
    }

    fn set_exchange<T>(&mut self, exchange: Arc<Exchange<T>>) {
        // SAFETY: the count passes over to the token.
        unsafe { self.set_raw_exchange(Arc::into_raw(exchange).cast()) };
    }

    /// # Safety
    ///
    /// `exchange` is a counted pointer to one of the arm's channel, and the count the token's now.
    unsafe fn set_raw_exchange(&mut self, exchange: *const ()) {
        self.kind = Kind::Exchange;
        self.packet.set_word(exchange.expose_provenance());
    }

    /// What there is, of which the caller takes charge.
    fn take_kind(&mut self) -> Kind {
        mem::replace(&mut self.kind, Kind::Nothing)
    }

    /// # Safety
    ///
    /// The kind taken was `Exchange`, and the token is of a channel of `T`.
    unsafe fn exchange<T>(&self) -> Arc<Exchange<T>> {
        let place = std::ptr::with_exposed_provenance(self.packet.word());
        // SAFETY: the caller's: it comes from `Arc::into_raw`.
        unsafe { Arc::from_raw(place) }
    }
}

/// A place for one value of a type that only the arm knows: here if it is small, else on the heap.
struct Packet(MaybeUninit<[usize; 4]>);

impl Packet {
    /// With nothing in it.
    const fn empty() -> Self {
        Self(MaybeUninit::uninit())
    }

    fn is_inline<T>() -> bool {
        size_of::<T>() <= size_of::<Self>() && align_of::<T>() <= align_of::<Self>()
    }

    fn set_word(&mut self, word: usize) {
        // SAFETY: a packet has room for a word.
        unsafe { self.0.as_mut_ptr().cast::<usize>().write(word) };
    }

    /// The word that was set.
    fn word(&self) -> usize {
        // SAFETY: set, as the caller knows by the kind.
        unsafe { self.0.as_ptr().cast::<usize>().read() }
    }

    /// Makes the place for a `T`, without a value. It moves with the packet if it is small.
    #[inline]
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

    /// Takes the value out, and frees the place.
    ///
    /// # Safety
    ///
    /// It was prepared for a `T`, and the value was written; it is not used again.
    #[inline]
    unsafe fn take<T>(&mut self) -> T {
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
    unsafe fn pass<T>(&mut self, to: &mut Self) {
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
    fn node(seat: NonNull<Self>) -> NonNull<Node> {
        // SAFETY: a field of it; no reference is made to what others may be writing to.
        unsafe { NonNull::new_unchecked(&raw mut (*seat.as_ptr()).node) }
    }
}

/// A place for a seat, among others; where it was registered.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) seat: NonNull<Seat>,
    /// Its number.
    pub(crate) arm: usize,
}

/// One wait of a select: armed when the first arm is registered.
pub(crate) struct Round(Option<Wait>);

impl Round {
    pub(crate) fn new() -> Self {
        Self(None)
    }

    /// The waiter of this round, if any arm was registered.
    fn waiter(&self) -> Option<Waiter> {
        self.0.as_ref().map(Wait::waiter)
    }

    /// Takes a seat at the place, to be registered.
    ///
    /// # Safety
    ///
    /// The place is free, and large enough.
    #[inline(always)]
    unsafe fn sit(&mut self, place: Place) -> NonNull<Node> {
        let waiter = self.0.get_or_insert_with(Wait::arm).waiter();
        let node = Node::of_arm(waiter, place.arm, std::ptr::null_mut());
        // The packet is uninitialized to begin with.
        let seat = Seat::node(place.seat);
        // SAFETY: the caller's.
        unsafe { seat.write(node) };
        seat
    }

    /// Ends the wait without a wake: false if a registered arm was claimed before.
    pub(crate) fn stop(&self) -> bool {
        self.claimed().is_none()
    }

    /// Ends the wait, and gives the operation of the claim that had ended it before.
    pub(crate) fn claimed(&self) -> Option<Op> {
        self.0.as_ref().and_then(Wait::cancel)
    }

    /// Sleeps until an arm is claimed. All arms are registered, or will be ready at `deadline`.
    #[inline(always)]
    pub(crate) fn park(
        &mut self,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) -> Op {
        self.0.get_or_insert_with(Wait::arm).park(Reason::Select, deadline, site)
    }
}

/// What `register` has done.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is registered.
    Registered,
    /// It is registered, and is or was ready.
    Ready,
    /// The operation was done, and the wait stopped. Not registered.
    Done,
    /// The operation seemed ready, and the wait was stopped: start again. Not registered.
    Again,
    /// Another arm was claimed. Not registered.
    Claimed,
}

/// One operation of a select. Implemented by the ends of channels.
///
/// The unsafe methods ask of their caller that a seat stays where it is from `register` (or `watch`) to
/// `unregister` (or `unwatch`) with the same arm, which is called for each that is registered, claimed or
/// not, and before `accept`.
pub(crate) trait Arm {
    /// Tries to do the operation, as far as it goes without its value: true if that is done, or if the
    /// channel is disconnected.
    fn try_select(&self, token: &mut Token) -> bool;
    /// When the operation becomes ready by itself.
    fn deadline(&self) -> Option<Instant>;
    /// Does the operation if it can be done now, as `try_select`; else registers for a wake.
    unsafe fn register(&self, place: Place, round: &mut Round, token: &mut Token) -> Step;
    /// Ends a registration. `claimed` if the select was woken by this very seat.
    unsafe fn unregister(&self, seat: NonNull<Seat>, claimed: bool);
    /// Does the operation after a wake by this seat, as far as it goes: true if that is done.
    unsafe fn accept(&self, token: &mut Token, seat: NonNull<Seat>, outcome: Op) -> bool;
    /// Whether the operation would not block.
    fn is_ready(&self) -> bool;
    /// Registers for a wake when `is_ready` changes: true if it is ready now.
    unsafe fn watch(&self, place: Place, round: &mut Round) -> bool;
    /// Ends a registration.
    unsafe fn unwatch(&self, seat: NonNull<Seat>);
    /// Gives up a selected operation.
    fn abandon(&self, token: &mut Token);
}

/// `register` for an arm that needs no wake: it is ready, or will be at its deadline.
fn try_or_wait(arm: &impl Arm, round: &Round, token: &mut Token) -> Step {
    if !arm.is_ready() {
        Step::Registered
    } else if !round.stop() {
        Step::Claimed
    } else if arm.try_select(token) {
        Step::Done
    } else {
        Step::Again
    }
}

/// `register` for an arm that waits in a list.
///
/// # Safety
///
/// As for [`Arm::register`].
unsafe fn register_with(
    list: &WaitList,
    is_ready: impl Fn() -> bool,
    arm: &impl Arm,
    place: Place,
    round: &mut Round,
    token: &mut Token,
) -> Step {
    // Not registered yet, so what this finds is not certain.
    match try_or_wait(arm, round, token) {
        Step::Registered => {}
        step => return step,
    }
    // SAFETY: the caller's.
    unsafe { list.enter(round.sit(place), false) };
    if is_ready() { Step::Ready } else { Step::Registered }
}

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
        // SAFETY: the caller's: values of the channel are of type T.
        match token.take_kind() {
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
