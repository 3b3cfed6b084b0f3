//! The interface between a buffered channel and its buffer.

use std::mem::MaybeUninit;
use std::ptr;

use crossbeam_channel::TryRecvError;

use crate::loom::{AtomicUsize, Ordering};

/// The reason why a push failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    Full,
    Closed,
}

/// The reason why an operation did not complete at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotReady {
    /// The buffer is full, or empty, and not closed.
    Wait,
    /// Any other reason, or none: the caller has to take the slow path.
    Unknown,
}

/// Moves the value out of `from` to `to` with one copy, whatever its size, in debug builds too.
///
/// # Safety
///
/// `to` is valid for writes, and the memory there holds nothing that needs a drop.
///
/// # Panics
///
/// If there is no value.
#[inline(always)]
pub(crate) unsafe fn move_out<T>(from: &mut Option<T>, to: *mut T) {
    let value: *const T = from.as_ref().expect("a value is sent once");
    // SAFETY: the caller guarantees that `to` is valid for writes, and `value` is a reference to
    // initialized memory. `from` is overwritten without a drop, so the value exists once.
    unsafe {
        ptr::copy_nonoverlapping(value, to, 1);
        ptr::write(from, None);
    }
}

/// Changes `word` from `old` to `new`, sequentially consistent, or returns its value.
#[inline(always)]
pub(crate) fn exchange(word: &AtomicUsize, old: usize, new: usize) -> Result<(), usize> {
    word.compare_exchange(old, new, Ordering::SeqCst, Ordering::Acquire).map(|_| ())
}

/// A FIFO queue of values, for any number of threads at both ends.
///
/// Values are moved from the sender's `Option` to the receiver's place, and through no other place,
/// so a large value is copied only twice on its whole way. A push that fails leaves the value where
/// it is. A pop that succeeds has written the place.
///
/// Changes, and the queries `full` and `empty`, are sequentially consistent with each other and
/// with other such operations, as [`WaitList`](crate::wait::list::WaitList) needs.
pub(crate) trait Buffer<T> {
    /// Adds a value at the tail, if that takes only a few instructions.
    fn push_at_once(&self, value: &mut Option<T>) -> Result<(), NotReady>;
    /// Adds a value at the tail.
    fn push_slowly(&self, value: &mut Option<T>) -> Result<(), PushError>;
    /// Takes the value at the head, if that takes only a few instructions.
    fn pop_at_once(&self, place: &mut MaybeUninit<T>) -> Result<(), NotReady>;
    /// Takes the value at the head.
    fn pop_slowly(&self, place: &mut MaybeUninit<T>) -> Result<(), TryRecvError>;

    #[inline(always)]
    fn try_push(&self, value: &mut Option<T>) -> Result<(), PushError> {
        self.push_at_once(value).or_else(|_| self.push_slowly(value))
    }

    /// Returns `None` if a push need not wait: there is room, or the buffer is closed. Otherwise
    /// returns a version: as long as the buffer is full and the version has not changed, there has
    /// been no room in between.
    fn full(&self) -> Option<usize>;
    /// Returns `None` if a pop need not wait: there is a value, or none will come. Otherwise
    /// returns a version: as long as the buffer is empty and the version has not changed, there has
    /// been no value in between.
    fn empty(&self) -> Option<usize>;
    /// Closes the buffer for pushes. Returns `true` to the first caller.
    fn close(&self) -> bool;
    fn len(&self) -> usize;
    fn capacity(&self) -> Option<usize>;
}
