//! The interface between a select and the two ends of a channel. One operation of a select is an
//! *arm*.
//!
//! Arms are tried and registered in turn, each with a [`Seat`] in the select's frame. If none was
//! ready the select sleeps. One arm is claimed, and accepts. A [`Token`] holds what the arm has got
//! so far, and `recv` or `send` of the arm's end completes the operation with it.

use std::panic::Location;
use std::ptr::NonNull;
use std::time::Instant;

use crate::channel::flavors::rendezvous::{Meet, Meeting, Rendezvous, Side};
use crate::channel::select::token::{Packet, Token};
use crate::task::header::Waiter;
use crate::task::wait_info::Reason;
use crate::task::wait_state::WakeReason;
use crate::util::spin_lock::SpinGuard;
use crate::wait::list::WaitList;
use crate::wait::park::{Wait, interrupted};
use crate::wait::queue::Node;

/// The place of one arm in a select that waits.
pub(crate) struct Seat {
    pub(crate) node: Node,
    pub(super) packet: Packet,
}

impl Seat {
    pub(super) fn node(seat: NonNull<Self>) -> NonNull<Node> {
        // SAFETY: `seat` is not null, so neither is the address of its field. No reference is made
        // to memory that other threads may be writing to.
        unsafe { NonNull::new_unchecked(&raw mut (*seat.as_ptr()).node) }
    }
}

/// A place for a seat, and the arm that it is registered for.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) seat: NonNull<Seat>,
    /// The number of the arm.
    pub(crate) arm: usize,
}

/// One wait of a select, armed when the first arm is registered. It must be [ended](Round::end)
/// once all seats are withdrawn.
pub(crate) struct Round {
    wait: Option<Wait>,
    /// The location of the select.
    pub(super) site: &'static Location<'static>,
}

impl Drop for Round {
    fn drop(&mut self) {
        if self.wait.is_some() {
            eprintln!(
                "fatal: a select left its seats in queues of channels; this is a bug in gthread"
            );
            std::process::abort();
        }
    }
}

impl Round {
    pub(crate) fn new(site: &'static Location<'static>) -> Self {
        Self { wait: None, site }
    }

    /// Ends the round; all seats are withdrawn. After [`Round::park`] returned `TIMED_OUT`,
    /// `timed_out` holds its deadline. In that case this does not return if the thread's runtime
    /// has ended, or if the round had no deadline and was interrupted.
    pub(super) fn end(mut self, timed_out: Option<Option<Instant>>) {
        let wait = self.wait.take();
        if let Some(deadline) = timed_out {
            wait.as_ref().map(Wait::withdrawn);
            if deadline.is_none() {
                interrupted(self.site);
            }
        }
    }

    /// Returns the waiter of this round, if any arm was registered.
    pub(super) fn waiter(&self) -> Option<Waiter> {
        self.wait.as_ref().map(Wait::waiter)
    }

    /// Arms the wait, if no arm was registered yet. The caller's lock passes through: it is
    /// released before this panics, if it does.
    #[inline]
    fn arm<G>(&mut self, guard: G) -> G {
        if self.wait.is_some() {
            return guard;
        }
        let (guard, wait) = Wait::arm_under(guard, self.site);
        let wait = wait.interruptible();
        self.wait = Some(wait);
        guard
    }

    /// Writes a seat's node at the place, to be registered.
    ///
    /// # Safety
    ///
    /// The place is free, and valid for writes of a seat.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) unsafe fn sit(&mut self, place: Place) -> NonNull<Node> {
        self.arm(());
        let waiter = self.waiter().expect("just armed");
        let node = Node::of_arm(waiter, place.arm, std::ptr::null_mut());
        // The packet stays uninitialized for now.
        let seat = Seat::node(place.seat);
        // SAFETY: the caller guarantees that the place is free and valid for writes; the node is a
        // field of it.
        unsafe { seat.write(node) };
        seat
    }

    /// Ends the wait without a wake. Returns `false` if a registered arm was claimed before.
    pub(crate) fn stop(&self) -> bool {
        self.claimed().is_none()
    }

    /// Ends the wait. Returns the operation of the claim that had ended it before, if any.
    pub(crate) fn claimed(&self) -> Option<WakeReason> {
        self.wait.as_ref().and_then(Wait::cancel)
    }

    /// Sleeps until an arm is claimed. All arms are registered, or will be ready at `deadline`.
    /// After `TIMED_OUT` the caller calls [`Round::end`].
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn park(&mut self, deadline: Option<Instant>) -> WakeReason {
        self.arm(());
        self.wait.as_ref().expect("just armed").park_or_withdraw(
            Reason::Select,
            deadline,
            self.site,
        )
    }
}

/// The outcome of `register`.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The arm is registered.
    Registered,
    /// The arm is registered, and is or was ready.
    Ready,
    /// The operation was done, and the wait stopped. The arm is not registered.
    Done,
    /// The operation seemed ready, and the wait was stopped: start again. The arm is not
    /// registered.
    Again,
    /// Another arm was claimed. This arm is not registered.
    Claimed,
}

/// The queue that an arm waits in.
pub(super) enum Waits<'a> {
    /// A list, for the channel's buffer to change.
    List(&'a WaitList),
    /// This side of a rendezvous, for a thread of the other side.
    Meeting(&'a Rendezvous, Side),
    /// No queue: the arm is ready, or will be at its deadline.
    Nowhere,
}

/// The operations that differ between the two ends of a channel, and depend on the type of the
/// values.
pub(super) trait End {
    fn waits(&self) -> Waits<'_>;
    /// Returns the moment when the operation becomes ready by itself, if there is one.
    fn deadline(&self) -> Option<Instant> {
        None
    }
    /// Gives up a selected operation.
    fn abandon(&self, token: &mut Token);

    // ---- for channels that are not a rendezvous -----------------------------------------------

    /// See [`Arm::not_ready`].
    fn cannot_proceed(&self) -> Option<usize>;
    /// See [`Arm::try_select`].
    fn proceed(&self, token: &mut Token) -> bool;

    // ---- for a rendezvous ---------------------------------------------------------------------

    /// Pairs up with a waiting thread. Returns `false` if there is none.
    ///
    /// # Panics
    ///
    /// If the waiting thread has no value yet, and the caller cannot wait for it. Then nothing has
    /// changed.
    fn pair(
        &self,
        meeting: SpinGuard<'_, Meeting>,
        token: &mut Token,
        site: &'static Location<'static>,
    ) -> bool;
    /// See [`Arm::redeem`].
    fn redeem(&self, token: &mut Token, site: &'static Location<'static>) -> bool;
    /// Creates a place for a value in a seat that is going to wait.
    ///
    /// # Safety
    ///
    /// The seat's node is written, and the seat is the caller's alone.
    unsafe fn prepare(&self, seat: NonNull<Seat>);
    /// Frees that place.
    ///
    /// # Safety
    ///
    /// The seat was prepared, was not claimed, and is the caller's alone.
    unsafe fn discard(&self, seat: NonNull<Seat>);
    /// Takes over what a partner has left in the seat. Returns `false` if it has left nothing.
    ///
    /// # Safety
    ///
    /// The seat was prepared, was claimed with `outcome`, and is the caller's alone.
    unsafe fn settle(&self, token: &mut Token, seat: NonNull<Seat>, outcome: WakeReason) -> bool;
}

/// One operation of a select, for [`run`](crate::channel::select::run).
///
/// # Safety of the unsafe methods
///
/// The caller keeps a seat where it is from `register` (or `watch`) to `unregister` (or `unwatch`)
/// with the same arm. It unregisters every arm that is registered, claimed or not, and before
/// `accept`.
pub(crate) trait Arm {
    /// Tries to do the operation, as far as possible without its value. Returns `true` if that is
    /// done, or if the channel is disconnected.
    fn try_select(&self, token: &mut Token, site: &'static Location<'static>) -> bool;
    /// Returns `None` if the operation would not block, although it may turn out that it does.
    /// Otherwise returns a version, which only counts up: as long as the operation would block and
    /// the version has not changed, it would have blocked at any time in between.
    fn not_ready(&self) -> Option<usize>;
    /// Returns the moment when the operation becomes ready by itself, if there is one.
    fn deadline(&self) -> Option<Instant>;
    /// Does the operation like `try_select` if it can be done now; otherwise registers for a wake.
    unsafe fn register(&self, place: Place, round: &mut Round, token: &mut Token) -> Step;
    /// Ends a registration. `claimed` is true if the select was woken by this very seat.
    unsafe fn unregister(&self, seat: NonNull<Seat>, claimed: bool);
    /// Does the operation after a wake by this seat, as far as possible. Returns `true` if that is
    /// done.
    unsafe fn accept(&self, token: &mut Token, seat: NonNull<Seat>, outcome: WakeReason) -> bool;
    /// Waits for the value that the token awaits. Returns `false` if the value does not come; then
    /// the token has nothing.
    fn redeem(&self, token: &mut Token, site: &'static Location<'static>) -> bool;
    /// Registers for a wake when `not_ready` changes. Returns `true` if it is ready now.
    unsafe fn watch(&self, place: Place, round: &mut Round) -> bool;
    /// Ends a registration by `watch`.
    unsafe fn unwatch(&self, seat: NonNull<Seat>);
    /// Gives up a selected operation.
    fn abandon(&self, token: &mut Token);
}

impl<E: End> Arm for E {
    fn try_select(&self, token: &mut Token, site: &'static Location<'static>) -> bool {
        let Waits::Meeting(rendezvous, _) = self.waits() else { return self.proceed(token) };
        let meeting = rendezvous.lock();
        let disconnected = meeting.disconnected;
        let paired = self.pair(meeting, token, site);
        if !paired && disconnected {
            token.set_disconnected();
        }
        paired || disconnected
    }

    fn not_ready(&self) -> Option<usize> {
        match self.waits() {
            Waits::Meeting(rendezvous, side) => rendezvous.nobody_for(side),
            Waits::List(_) | Waits::Nowhere => self.cannot_proceed(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        End::deadline(self)
    }

    unsafe fn register(&self, place: Place, round: &mut Round, token: &mut Token) -> Step {
        match self.waits() {
            Waits::Nowhere => proceed_in(self, round, token),
            Waits::List(list) => {
                // Not registered yet, so a negative result is not final.
                match proceed_in(self, round, token) {
                    Step::Registered => {}
                    step => return step,
                }
                // SAFETY: the caller keeps the seat in place until it is unregistered.
                unsafe { list.enter(round.sit(place), false) };
                if self.cannot_proceed().is_none() { Step::Ready } else { Step::Registered }
            }
            Waits::Meeting(rendezvous, side) => match rendezvous.meet(side, round.waiter()) {
                Meet::Nobody(meeting) => {
                    let mut meeting = round.arm(meeting);
                    // SAFETY: the caller keeps the seat in place until it is unregistered. `sit`
                    // has written the node before `prepare`, and no other thread knows the seat
                    // before `enter`.
                    unsafe {
                        let node = round.sit(place);
                        self.prepare(place.seat);
                        meeting.enter(side, node);
                    }
                    Step::Registered
                }
                _ if !round.stop() => Step::Claimed,
                Meet::Partner(meeting) => {
                    if self.pair(meeting, token, round.site) {
                        Step::Done
                    } else {
                        Step::Again
                    }
                }
                Meet::Disconnected => {
                    token.set_disconnected();
                    Step::Done
                }
            },
        }
    }

    unsafe fn unregister(&self, seat: NonNull<Seat>, claimed: bool) {
        if claimed {
            // The claimer has popped it; `accept` takes what is in it.
            return;
        }
        let node = Seat::node(seat);
        // SAFETY: the node was registered with this arm, so it was in this queue or in none, and is
        // alive. `leave` takes it out first, and the seat was not claimed; so the seat is the
        // caller's alone in `discard`.
        unsafe {
            match self.waits() {
                Waits::List(list) => list.leave(node, false),
                Waits::Meeting(rendezvous, side) => {
                    rendezvous.leave(side, node);
                    self.discard(seat);
                }
                Waits::Nowhere => {}
            }
        }
    }

    unsafe fn accept(&self, token: &mut Token, seat: NonNull<Seat>, outcome: WakeReason) -> bool {
        let Waits::Meeting(..) = self.waits() else { return self.proceed(token) };
        // SAFETY: the seat was prepared by `register`. It was claimed and is out of the queue, so
        // it is this thread's alone.
        unsafe { self.settle(token, seat, outcome) }
    }

    fn redeem(&self, token: &mut Token, site: &'static Location<'static>) -> bool {
        End::redeem(self, token, site)
    }

    unsafe fn watch(&self, place: Place, round: &mut Round) -> bool {
        // SAFETY: the caller keeps the seat in place until it is unwatched.
        unsafe {
            let node = round.sit(place);
            match self.waits() {
                Waits::List(list) => list.enter(node, true),
                Waits::Meeting(rendezvous, side) => return rendezvous.watch(side, node),
                Waits::Nowhere => {}
            }
        }
        self.cannot_proceed().is_none()
    }

    unsafe fn unwatch(&self, seat: NonNull<Seat>) {
        let node = Seat::node(seat);
        // SAFETY: the node was watched with this arm, so it was in this queue or in none, and is
        // alive.
        unsafe {
            match self.waits() {
                Waits::List(list) => list.leave(node, true),
                Waits::Meeting(rendezvous, side) => rendezvous.unwatch(side, node),
                Waits::Nowhere => {}
            }
        }
    }

    fn abandon(&self, token: &mut Token) {
        End::abandon(self, token);
    }
}

/// Does the work of `register` for an end that need not wait, or has not begun to wait.
fn proceed_in(end: &impl End, round: &Round, token: &mut Token) -> Step {
    if end.cannot_proceed().is_some() {
        Step::Registered
    } else if !round.stop() {
        Step::Claimed
    } else if end.proceed(token) {
        Step::Done
    } else {
        Step::Again
    }
}
