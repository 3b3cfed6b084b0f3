//! Waiting for one of several channel operations: [`Select`], and the macros `select!` and
//! `select_biased!`.
//!
//! [`run`] is the algorithm of a select. [`arm`] is its interface to an end of a channel, which
//! [`receive`] and [`send`] implement. [`token`] holds what a selected operation has got so far.

mod arm;
mod macros;
mod operation;
mod receive;
mod run;
mod send;
mod token;

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::channel::select::run::Until;
use crate::channel::select::token::Token;
use crate::channel::{
    ReadyTimeoutError, Receiver, SelectTimeoutError, Sender, TryReadyError, TrySelectError,
};

pub use crate::channel::select::macros::{select, select_biased};
pub use crate::channel::select::operation::SelectedOperation;

/// The names that the macros expand to.
#[doc(hidden)]
pub mod macro_support {
    use super::*;

    pub use crate::channel::select::operation::Selection;
    pub use crate::channel::select::run::Case;

    #[inline]
    pub fn recv<T>(receiver: &Receiver<T>, index: usize) -> Case<'_> {
        Case { arm: receiver, index }
    }

    #[inline]
    pub fn send<T>(sender: &Sender<T>, index: usize) -> Case<'_> {
        Case { arm: sender, index }
    }
}

/// A list of channel operations, of which the first that is ready is performed. If the list is
/// known when the program is written, [`select!`](crate::channel::select!) is simpler.
///
/// Of several operations that are ready one is chosen at random, or, after [`Select::new_biased`],
/// the one that was added first. An operation on a disconnected channel is ready: it completes with
/// an error.
///
/// Selecting chooses an operation, which must then be completed; see [`SelectedOperation`].
/// [`ready`](Self::ready) only returns which operation is worth trying. The semantics are those of
/// crossbeam-channel's `Select`.
///
/// # Examples
///
/// ```
/// use gthread::channel::{Select, unbounded};
///
/// let (tx, rx) = unbounded();
/// let (_other, quiet) = unbounded::<i32>();
/// tx.send("hello").unwrap();
///
/// let mut select = Select::new();
/// let first = select.recv(&rx);
/// let second = select.recv(&quiet);
/// let operation = select.select();
/// match operation.index() {
///     i if i == first => assert_eq!(operation.recv(&rx), Ok("hello")),
///     i if i == second => drop(operation.recv(&quiet)),
///     _ => unreachable!(),
/// }
/// ```
#[derive(Clone)]
pub struct Select<'a> {
    cases: Vec<run::Case<'a>>,
    next_index: usize,
    biased: bool,
}

// SAFETY: the ends in it are borrowed, whatever the type of their values. On another thread a
// select only moves values of an end between the channel and a token, which does not use the value.
// Only `SelectedOperation::{send, recv}` take or return a value, and they need the end itself,
// which is on that thread only if its type allows that.
unsafe impl Send for Select<'_> {}
// SAFETY: as above; and a shared reference gives access only to its clone.
unsafe impl Sync for Select<'_> {}

impl<'a> Select<'a> {
    /// Creates an empty list. Of several ready operations one is chosen at random.
    pub fn new() -> Self {
        Self { cases: Vec::with_capacity(4), next_index: 0, biased: false }
    }

    /// Creates an empty list. Of several ready operations the first one is chosen.
    pub fn new_biased() -> Self {
        Self { biased: true, ..Self::new() }
    }

    /// Adds a send, and returns its index.
    pub fn send<T>(&mut self, sender: &'a Sender<T>) -> usize {
        self.add(sender)
    }

    /// Adds a receive, and returns its index.
    pub fn recv<T>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.add(receiver)
    }

    fn add(&mut self, arm: &'a dyn arm::Arm) -> usize {
        let index = self.next_index;
        self.cases.push(run::Case { arm, index });
        self.next_index += 1;
        index
    }

    /// Removes an operation from the list. The others keep their indices.
    ///
    /// # Panics
    ///
    /// If there is no operation with this index.
    pub fn remove(&mut self, index: usize) {
        let len = self.next_index;
        assert!(index < len, "index out of bounds; {index} >= {len}");
        let place = self.cases.iter().position(|case| case.index == index);
        self.cases.remove(place.expect("no operation with this index"));
    }

    /// Chooses an operation that is ready now. Does not block.
    ///
    /// # Errors
    ///
    /// If no operation is ready.
    #[track_caller]
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        self.run(Until::Now, Location::caller()).ok_or(TrySelectError)
    }

    /// Chooses an operation, waiting until one is ready.
    ///
    /// # Panics
    ///
    /// If there is no operation on the list.
    #[track_caller]
    pub fn select(&mut self) -> SelectedOperation<'a> {
        self.assert_not_empty();
        self.run(Until::Never, Location::caller()).expect("a select without end")
    }

    /// Chooses an operation, waiting no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// If no operation became ready in that time.
    #[track_caller]
    pub fn select_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.run(Until::after(timeout), Location::caller()).ok_or(SelectTimeoutError)
    }

    /// Chooses an operation, waiting no longer than until `deadline`.
    ///
    /// # Errors
    ///
    /// If no operation became ready before the deadline.
    #[track_caller]
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.run(Until::At(deadline), Location::caller()).ok_or(SelectTimeoutError)
    }

    /// Returns the index of an operation that is ready now. Does not block.
    ///
    /// By the time the caller tries it, another thread may have been faster.
    ///
    /// # Errors
    ///
    /// If no operation is ready.
    #[track_caller]
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        self.watch(Until::Now, Location::caller()).ok_or(TryReadyError)
    }

    /// Returns the index of an operation that is ready, waiting until one is.
    ///
    /// # Panics
    ///
    /// If there is no operation on the list.
    #[track_caller]
    pub fn ready(&mut self) -> usize {
        self.assert_not_empty();
        self.watch(Until::Never, Location::caller()).expect("a select without end")
    }

    /// Returns the index of an operation that is ready, waiting no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// If no operation became ready in that time.
    #[track_caller]
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        self.watch(Until::after(timeout), Location::caller()).ok_or(ReadyTimeoutError)
    }

    /// Returns the index of an operation that is ready, waiting no longer than until `deadline`.
    ///
    /// # Errors
    ///
    /// If no operation became ready before the deadline.
    #[track_caller]
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        self.watch(Until::At(deadline), Location::caller()).ok_or(ReadyTimeoutError)
    }

    #[track_caller]
    fn assert_not_empty(&self) {
        assert!(!self.cases.is_empty(), "no operations have been added to `Select`");
    }

    fn run(
        &mut self,
        until: Until,
        site: &'static Location<'static>,
    ) -> Option<SelectedOperation<'a>> {
        let mut token = Token::new();
        let place = run::select(&self.cases, &mut token, until, self.biased, site)?;
        Some(SelectedOperation::new(self.cases[place], token))
    }

    fn watch(&mut self, until: Until, site: &'static Location<'static>) -> Option<usize> {
        let place = run::ready(&self.cases, until, self.biased, site)?;
        Some(self.cases[place].index)
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Select { .. }")
    }
}
