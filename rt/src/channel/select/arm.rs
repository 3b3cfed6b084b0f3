//! What select asks of the two ends of a channel: one operation of a select is an *arm*.
//!
//! Arms are tried and registered in turn, each with a [`Seat`] in the select's frame; if none was ready
//! the select sleeps; one is claimed, and accepts. What the arm got so far is in a [`Token`], and the operation is completed
//! with it, by `recv` or `send` of the end that it belongs to.

use std::panic::Location;
use std::ptr::NonNull;
use std::time::Instant;

use super::token::{Packet, Token};
use crate::park::Wait;
use crate::task::state::Op;
use crate::task::{Reason, Waiter};
use crate::wait::{Node, WaitList};

/// The place of one arm in a select that waits.
pub(crate) struct Seat {
    pub(crate) node: Node,
    pub(super) packet: Packet,
}

impl Seat {
    pub(super) fn node(seat: NonNull<Self>) -> NonNull<Node> {
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
    pub(super) fn waiter(&self) -> Option<Waiter> {
        self.0.as_ref().map(Wait::waiter)
    }

    /// Takes a seat at the place, to be registered.
    ///
    /// # Safety
    ///
    /// The place is free, and large enough.
    #[inline(always)]
    pub(super) unsafe fn sit(&mut self, place: Place) -> NonNull<Node> {
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
pub(super) fn try_or_wait(arm: &impl Arm, round: &Round, token: &mut Token) -> Step {
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
pub(super) unsafe fn register_with(
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
