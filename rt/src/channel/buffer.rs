//! What a buffered channel asks of its buffer.

use crate::sole::{Entry, Sole, Turn};

/// Why a value was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PushError {
    Full,
    Closed,
}

/// Of a slot that was taken without a value to put in.
pub(super) const MISSING: &str = "a value is sent once";

/// Why something that is to be done at once was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difficulty {
    /// The buffer is full, or empty, and not closed.
    Wait,
    /// Any other, or none: to be tried slowly.
    Unknown,
}

/// What was at the head.
pub(super) enum Pop<T> {
    Value(T),
    /// A place that was given up: there is room for one more, and this is to be called again.
    Hole,
    /// Nothing, for now.
    Empty,
    /// Nothing, and nothing more comes.
    Closed,
}

/// What is at the head, for those who only look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peek {
    /// A pop gets something: a value, a hole, or the news that nothing more comes.
    Ready,
    Empty,
    /// A value that may be long in coming.
    Reserved,
}

/// A queue of values, first in first out, for any number of threads at both ends.
///
/// Changes, and the questions `can_push` and `peek`, are sequentially consistent with each other and
/// with other such operations, as [`WaitList`](crate::wait::WaitList) needs; but as long as one OS thread
/// alone uses it ([`Sole`](crate::sole::Sole)) they are ordered for that thread only.
pub(super) trait Buffer<T> {
    fn sole(&self) -> &Sole;
    /// Adds a value, which there is, at the tail, if that takes a few instructions. Takes it out of where it is only then,
    /// so that one that is large is moved once.
    fn push_in_turn(&self, turn: impl Turn, value: &mut Option<T>) -> Result<(), Difficulty>;
    /// Adds a value at the tail, and only then takes it out of where it is.
    fn push_slowly(&self, value: &mut Option<T>) -> Result<(), PushError>;
    /// Takes the value at the head, if that takes a few instructions.
    fn pop_in_turn(&self, turn: impl Turn) -> Result<T, Difficulty>;
    /// Takes the value at the head.
    fn pop_slowly(&self) -> Pop<T>;

    /// Comes, and adds a value as [`Buffer::push_in_turn`] does.
    #[inline(always)]
    fn push_at_once(&self, value: &mut Option<T>) -> Result<(), Difficulty> {
        match self.sole().enter_at_once() {
            Some(Entry::Alone(turn)) => self.push_in_turn(turn, value),
            Some(Entry::Among(turn)) => self.push_in_turn(turn, value),
            None => Err(Difficulty::Unknown),
        }
    }

    /// Comes, and takes the value as [`Buffer::pop_in_turn`] does.
    #[inline(always)]
    fn pop_at_once(&self) -> Result<T, Difficulty> {
        match self.sole().enter_at_once() {
            Some(Entry::Alone(turn)) => self.pop_in_turn(turn),
            Some(Entry::Among(turn)) => self.pop_in_turn(turn),
            None => Err(Difficulty::Unknown),
        }
    }

    #[inline(always)]
    fn try_push(&self, value: &mut Option<T>) -> Result<(), PushError> {
        self.push_at_once(value).or_else(|_| self.push_slowly(value))
    }

    #[inline(always)]
    fn try_pop(&self) -> Pop<T> {
        self.pop_at_once().map_or_else(|_| self.pop_slowly(), Pop::Value)
    }

    /// Whether a push need not wait: there is room, or the buffer is closed.
    fn can_push(&self) -> bool;
    /// What a pop would find.
    fn peek(&self) -> Peek;
    /// Lets nothing more in: true for the first to say so.
    fn close(&self) -> bool;
    fn is_closed(&self) -> bool;
    fn len(&self) -> usize;
    fn capacity(&self) -> Option<usize>;
}
