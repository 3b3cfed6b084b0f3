//! The operation that a select has chosen, to be completed.

use std::fmt;
use std::mem::{self, MaybeUninit};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use crate::channel::select::arm::Arm;
use crate::channel::select::run::{self, Case, Until};
use crate::channel::select::token::{Kind, Token};
use crate::channel::sender::unsent;
use crate::channel::{Receiver, RecvError, SendError, Sender};

/// An operation that [`Select`](crate::channel::select::Select) has chosen. It must be completed, by
/// [`send`](Self::send) or [`recv`](Self::recv) with the end of the channel that was added.
///
/// The other side may be waiting for that, so do it soon.
///
/// # Panics
///
/// Dropping one that was not completed panics (unless the thread is unwinding already). The operation
/// is given up: a partner at a channel of capacity zero looks for another one, room that was kept in a buffer
/// is given back, and a value that was received is lost, without being dropped: this may be another thread than
/// the one that the value may be dropped on. (crossbeam-channel leaves partner and room as they are.)
#[must_use]
pub struct SelectedOperation<'a> {
    case: Case<'a>,
    token: Token,
}

// As crossbeam-channel's: a panic elsewhere leaves nothing half done here.
impl UnwindSafe for SelectedOperation<'_> {}
impl RefUnwindSafe for SelectedOperation<'_> {}

impl<'a> SelectedOperation<'a> {
    pub(crate) fn new(case: Case<'a>, token: Token) -> Self {
        Self { case, token }
    }

    /// The index of the operation: what `Select::send` or `Select::recv` gave when it was added.
    pub fn index(&self) -> usize {
        self.case.index
    }

    /// Completes a send. Does not block. (Except where the runtime of the receiver is dropped meanwhile: then it waits for
    /// another.)
    ///
    /// # Errors
    ///
    /// The value comes back if the channel is disconnected.
    ///
    /// # Panics
    ///
    /// If `sender` is not the one that was selected: the very same, not a clone.
    #[track_caller]
    pub fn send<T>(self, sender: &Sender<T>, value: T) -> Result<(), SendError<T>> {
        assert!(is_same(sender, &self.case), "passed a sender that wasn't selected");
        let (mut value, site) = (Some(value), Location::caller());
        // SAFETY: it is this sender's.
        match self.finish(|token| unsafe { sender.complete(token, &mut value, site) }) {
            Ok(()) => Ok(()),
            Err(_) => Err(SendError(unsent(value))),
        }
    }

    /// Completes a receive. Blocks only if the partner is a select that has not completed its send. If that gives up,
    /// waits for another sender.
    ///
    /// # Errors
    ///
    /// If the channel is empty and disconnected.
    ///
    /// # Panics
    ///
    /// If `receiver` is not the one that was selected: the very same, not a clone.
    #[track_caller]
    pub fn recv<T>(self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        assert!(is_same(receiver, &self.case), "passed a receiver that wasn't selected");
        let (mut place, site) = (MaybeUninit::uninit(), Location::caller());
        // SAFETY: it is this receiver's.
        if self.finish(|token| unsafe { receiver.complete(token, &mut place, site) }) {
            // SAFETY: the value was moved there.
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
    /// Gives the operation up. It is not used again.
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

/// What the macros select with: cases, and the token of the one selected, all in the user's frame.
pub struct Selection<'a> {
    cases: &'a [Case<'a>],
    token: Token,
    selected: Option<usize>,
}

impl<'a> Selection<'a> {
    /// Of these cases, numbered from zero.
    #[inline]
    pub fn new(cases: &'a [Case<'a>]) -> Self {
        Self { cases, token: Token::new(), selected: None }
    }

    /// Selects a case, and gives its number.
    #[inline]
    #[track_caller]
    pub fn select(&mut self, biased: bool) -> usize {
        self.run(Until::Never, biased, Location::caller()).expect("a select without end")
    }

    /// Selects a case that is ready, if one is.
    #[inline]
    #[track_caller]
    pub fn try_select(&mut self, biased: bool) -> Option<usize> {
        self.run(Until::Now, biased, Location::caller())
    }

    /// Selects a case, if one becomes ready in time.
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
            // A value that was promised is waited for here, since what follows is to receive it; if it does not come the
            // select goes on, with the time that is left.
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
        // SAFETY: it is this sender's.
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
        // SAFETY: it is this receiver's.
        if unsafe { receiver.complete(&mut self.token, &mut place, Location::caller()) } {
            // SAFETY: the value was moved there.
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
        // The message of a send panicked.
        if let Some(selected) = self.selected {
            self.cases[selected].arm.abandon(&mut self.token);
        }
    }
}

/// Whether `end` is the very end of the case. Two ends at one address are of one type: that of the case
/// is borrowed as long as the case lives.
#[inline]
fn is_same<E>(end: &E, case: &Case<'_>) -> bool {
    std::ptr::addr_eq(end, std::ptr::from_ref::<dyn Arm>(case.arm))
}
