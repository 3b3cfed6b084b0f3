//! The operation that a select has chosen, to be completed.

use std::fmt;
use std::mem;
use std::panic::Location;

use super::arm::{Arm, Token};
use super::run::Case;
use crate::channel::{Receiver, RecvError, SendError, Sender};

/// An operation that [`Select`](super::Select) has chosen. It must be completed, by
/// [`send`](Self::send) or [`recv`](Self::recv) with the end of the channel that was added.
///
/// The other side may be waiting for that, so do it soon.
///
/// # Panics
///
/// Dropping one that was not completed panics (unless the thread is unwinding already). The operation
/// is given up: a partner at a channel of capacity zero looks for another one, a reserved place in a buffer
/// is given back, and a value that was received is lost, without being dropped. (crossbeam-channel leaves
/// partner and place as they are.)
#[must_use]
pub struct SelectedOperation<'a> {
    case: Case<'a>,
    token: Token,
}

impl<'a> SelectedOperation<'a> {
    pub(crate) fn new(case: Case<'a>, token: Token) -> Self {
        Self { case, token }
    }

    /// The index of the operation: what `Select::send` or `Select::recv` gave when it was added.
    pub fn index(&self) -> usize {
        self.case.index
    }

    /// Completes a send. Does not block.
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
        assert!(self.is_of(sender), "passed a sender that wasn't selected");
        sender.complete(self.into_token(), value).map_err(SendError)
    }

    /// Completes a receive. Blocks only if the partner is a select that has not completed its send.
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
        assert!(self.is_of(receiver), "passed a receiver that wasn't selected");
        receiver.complete(self.into_token(), Location::caller()).ok_or(RecvError)
    }

    /// Whether `end` is the very end that was selected. Two ends at one address are of one type: the
    /// one that was selected is borrowed as long as `self`.
    fn is_of<E>(&self, end: &E) -> bool {
        std::ptr::addr_eq(end, std::ptr::from_ref::<dyn Arm>(self.case.arm))
    }

    fn into_token(mut self) -> Token {
        let token = mem::replace(&mut self.token, Token::Nothing);
        mem::forget(self);
        token
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SelectedOperation { .. }")
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        self.case.arm.abandon(mem::replace(&mut self.token, Token::Nothing));
        if !std::thread::panicking() {
            panic!("dropped `SelectedOperation` without completing the operation");
        }
    }
}
