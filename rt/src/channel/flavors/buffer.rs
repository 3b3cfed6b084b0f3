//! What a buffered channel asks of its buffer.

use std::mem::MaybeUninit;
use std::ptr;

use crossbeam_channel::TryRecvError;

use crate::util::sole::{Entry, Sole, Turn};

/// Why a value was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Closed,
}

/// Why something that is to be done at once was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotReady {
    /// The buffer is full, or empty, and not closed.
    Wait,
    /// Any other reason, or none: to be tried slowly.
    Unknown,
}

/// Moves the value out of `from` to `to`: one copy, however large it is, in debug builds too.
///
/// # Safety
///
/// `to` is valid for writes, and what is there needs no drop.
///
/// # Panics
///
/// If there is no value.
#[inline(always)]
pub(crate) unsafe fn move_out<T>(from: &mut Option<T>, to: *mut T) {
    let value: *const T = from.as_ref().expect("a value is sent once");
    // SAFETY: `to` is the caller's. The value is copied once, and forgotten where it was.
    unsafe {
        ptr::copy_nonoverlapping(value, to, 1);
        ptr::write(from, None);
    }
}

/// A queue of values, first in first out, for any number of threads at both ends.
///
/// Values are moved from the `Option` that the sender has to the place that the receiver has, and through nothing else,
/// so that a large one is copied twice on its whole way. A push that fails leaves the value where it is; a pop that
/// succeeds has written the place.
///
/// Changes, and the questions `full` and `empty`, are sequentially consistent with each other and
/// with other such operations, as [`WaitList`](crate::wait::list::WaitList) needs; but as long as one OS thread
/// alone uses it ([`Sole`](crate::util::sole::Sole)) they are ordered for that thread only.
pub(crate) trait Buffer<T> {
    fn sole(&self) -> &Sole;
    /// Adds a value at the tail, if that takes a few instructions.
    fn push_in_turn(&self, turn: impl Turn, value: &mut Option<T>) -> Result<(), NotReady>;
    /// Adds a value at the tail.
    fn push_slowly(&self, value: &mut Option<T>) -> Result<(), PushError>;
    /// Takes the value at the head, if that takes a few instructions.
    fn pop_in_turn(&self, turn: impl Turn, place: &mut MaybeUninit<T>) -> Result<(), NotReady>;
    /// Takes the value at the head.
    fn pop_slowly(&self, place: &mut MaybeUninit<T>) -> Result<(), TryRecvError>;

    /// Comes, and adds a value as [`Buffer::push_in_turn`] does.
    #[inline(always)]
    fn push_at_once(&self, value: &mut Option<T>) -> Result<(), NotReady> {
        match self.sole().enter_at_once() {
            Some(Entry::Alone(turn)) => self.push_in_turn(turn, value),
            Some(Entry::Among(turn)) => self.push_in_turn(turn, value),
            None => Err(NotReady::Unknown),
        }
    }

    /// Comes, and takes the value as [`Buffer::pop_in_turn`] does.
    #[inline(always)]
    fn pop_at_once(&self, place: &mut MaybeUninit<T>) -> Result<(), NotReady> {
        match self.sole().enter_at_once() {
            Some(Entry::Alone(turn)) => self.pop_in_turn(turn, place),
            Some(Entry::Among(turn)) => self.pop_in_turn(turn, place),
            None => Err(NotReady::Unknown),
        }
    }

    #[inline(always)]
    fn try_push(&self, value: &mut Option<T>) -> Result<(), PushError> {
        self.push_at_once(value).or_else(|_| self.push_slowly(value))
    }

    /// `None` if a push need not wait: there is room, or the buffer is closed. Else a version: as long as the buffer is
    /// full and this does not change, there has been no room in between.
    fn full(&self) -> Option<usize>;
    /// `None` if a pop need not wait: there is a value, or nothing more comes. Else a version: as long as the buffer is
    /// empty and this does not change, there has been no value in between.
    fn empty(&self) -> Option<usize>;
    /// Lets nothing more in. Returns `true` to the first caller.
    fn close(&self) -> bool;
    fn len(&self) -> usize;
    fn capacity(&self) -> Option<usize>;
}
