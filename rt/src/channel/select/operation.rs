//! An operation that a select has chosen and that is to be completed.

use std::fmt;
use std::mem::{self, MaybeUninit};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use crate::channel::select::arm::Arm;
use crate::channel::select::run::{self, Case, Until};
use crate::channel::select::token::{Kind, Token};
use crate::channel::sender::unsent;
use crate::channel::{Receiver, RecvError, SendError, Sender};

/// An operation that [`Select`](crate::channel::select::Select) has chosen. It must be completed,
/// by [`send`](Self::send) or [`recv`](Self::recv) with the end of the channel that was added.
///
/// The other side may be waiting for that, so complete it soon.
///
/// # Panics
///
/// Dropping an operation that was not completed panics, unless the thread is unwinding already. The
/// operation is given up: a partner at a channel of capacity zero looks for another one, and room
/// that was kept in a buffer is given back. A value that was received is lost without being
/// dropped, because this thread may not be allowed to drop it. (crossbeam-channel leaves the
/// partner and the room as they are.)
#[must_use]
pub struct SelectedOperation<'a> {
    case: Case<'a>,
    token: Token,
}

// As in crossbeam-channel: a panic elsewhere leaves no partial change here.
impl UnwindSafe for SelectedOperation<'_> {}
impl RefUnwindSafe for SelectedOperation<'_> {}

impl<'a> SelectedOperation<'a> {
    pub(crate) fn new(case: Case<'a>, token: Token) -> Self {
        Self { case, token }
    }

    /// Returns the index of the operation, as `Select::send` or `Select::recv` returned it when it
    /// was added.
    pub fn index(&self) -> usize {
        self.case.index
    }

    /// Completes a send. Does not block, except if the receiver's runtime is dropped meanwhile:
    /// then it waits for another receiver.
    ///
    /// # Errors
    ///
    /// The value comes back if the channel is disconnected.
    ///
    /// # Panics
    ///
    /// If `sender` is not the one that was selected. A clone of it is not accepted.
    #[track_caller]
    pub fn send<T>(self, sender: &Sender<T>, value: T) -> Result<(), SendError<T>> {
        assert!(is_same(sender, &self.case), "passed a sender that wasn't selected");
        let (mut value, site) = (Some(value), Location::caller());
        // SAFETY: the token is this sender's, by the assertion above.
        match self.finish(|token| unsafe { sender.complete(token, &mut value, site) }) {
            Ok(()) => Ok(()),
            Err(_) => Err(SendError(unsent(value))),
        }
    }

    /// Completes a receive. Blocks only if the partner is a select that has not completed its send.
    /// If that select gives up, waits for another sender.
    ///
    /// # Errors
    ///
    /// If the channel is empty and disconnected.
    ///
    /// # Panics
    ///
    /// If `receiver` is not the one that was selected. A clone of it is not accepted.
    #[track_caller]
    pub fn recv<T>(self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        assert!(is_same(receiver, &self.case), "passed a receiver that wasn't selected");
        let (mut place, site) = (MaybeUninit::uninit(), Location::caller());
        // SAFETY: the token is this receiver's, by the assertion above.
        if self.finish(|token| unsafe { receiver.complete(token, &mut place, site) }) {
            // SAFETY: `complete` returned `true`, so it has moved the value to the place; it is
            // read once.
            return Ok(unsafe { place.assume_init_read() });
        }
        Err(RecvError)
    }

    fn finish<R>(mut self, complete: impl FnOnce(&mut Token) -> R) -> R {
        let result = complete(&mut self.token);
        mem::forget(self);
        result
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SelectedOperation { .. }")
    }
}

impl SelectedOperation<'_> {
    /// Gives the operation up. It must not be used again.
    pub(super) fn give_up(&mut self) {
        self.case.arm.abandon(&mut self.token);
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        self.give_up();
        if !std::thread::panicking() {
            panic!("dropped `SelectedOperation` without completing the operation");
        }
    }
}

/// The state of a select macro: cases, and the token of the selected one, all in the user's frame.
pub struct Selection<'a> {
    cases: &'a [Case<'a>],
    token: Token,
    selected: Option<usize>,
}

impl<'a> Selection<'a> {
    /// Creates a selection of these cases, numbered from zero.
    #[inline]
    pub fn new(cases: &'a [Case<'a>]) -> Self {
        Self { cases, token: Token::new(), selected: None }
    }

    /// Selects a case, and returns its number.
    #[inline]
    #[track_caller]
    pub fn select(&mut self, biased: bool) -> usize {
        self.run(Until::Never, biased, Location::caller()).expect("a select without end")
    }

    /// Selects a case that is ready, if there is one.
    #[inline]
    #[track_caller]
    pub fn try_select(&mut self, biased: bool) -> Option<usize> {
        self.run(Until::Now, biased, Location::caller())
    }

    /// Selects a case, if one becomes ready within the timeout.
    #[inline]
    #[track_caller]
    pub fn select_timeout(&mut self, timeout: Duration, biased: bool) -> Option<usize> {
        self.run(Until::after(timeout), biased, Location::caller())
    }

    #[inline]
    fn run(
        &mut self,
        until: Until,
        biased: bool,
        site: &'static Location<'static>,
    ) -> Option<usize> {
        loop {
            let selected = run::select(self.cases, &mut self.token, until, biased, site)?;
            // Waits here for a value that was promised, because the caller is about to receive it.
            // If the value does not come, the select goes on with the time that is left.
            let is_awaited = self.token.kind == Kind::Awaited;
            if !is_awaited || self.cases[selected].arm.redeem(&mut self.token, site) {
                self.selected = Some(selected);
                return self.selected;
            }
        }
    }

    /// Completes the send that was selected.
    #[inline]
    #[track_caller]
    pub fn send<T>(&mut self, sender: &Sender<T>, value: T) -> Result<(), SendError<T>> {
        self.assert_selected(sender);
        let mut value = Some(value);
        // SAFETY: the token is this sender's, by the assertion above.
        match unsafe { sender.complete(&mut self.token, &mut value, Location::caller()) } {
            Ok(()) => Ok(()),
            Err(_) => Err(SendError(unsent(value))),
        }
    }

    /// Completes the receive that was selected.
    #[inline]
    #[track_caller]
    pub fn recv<T>(&mut self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        self.assert_selected(receiver);
        let mut place = MaybeUninit::uninit();
        // SAFETY: the token is this receiver's, by the assertion above.
        if unsafe { receiver.complete(&mut self.token, &mut place, Location::caller()) } {
            // SAFETY: `complete` returned `true`, so it has moved the value to the place; it is
            // read once.
            return Ok(unsafe { place.assume_init_read() });
        }
        Err(RecvError)
    }

    #[inline]
    fn assert_selected<E>(&mut self, end: &E) {
        let selected = self.selected.take().expect("a case was selected");
        assert!(is_same(end, &self.cases[selected]));
    }
}

impl Drop for Selection<'_> {
    #[inline]
    fn drop(&mut self) {
        // If a case is still selected here, the message expression of a send has panicked.
        if let Some(selected) = self.selected {
            self.cases[selected].arm.abandon(&mut self.token);
        }
    }
}

/// Returns `true` if `end` is the very end of the case. Two ends at one address have one type: the
/// end of the case is borrowed for as long as the case lives.
#[inline]
fn is_same<E>(end: &E, case: &Case<'_>) -> bool {
    std::ptr::addr_eq(end, std::ptr::from_ref::<dyn Arm>(case.arm))
}
