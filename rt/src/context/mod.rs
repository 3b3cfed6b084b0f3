//! Cancellation, deadlines and values for a piece of work: Go's package `context`.
//!
//! A [`Context`] is passed to all threads that work on, for example, one request. When the thread
//! that started the work cancels it, or its deadline passes, its [`done`](Context::done) channel is
//! disconnected. The threads that work on it see that where they wait, in a
//! [`select!`](crate::channel::select). A context ends at the latest when the context ends that it
//! is derived from.
//!
//! ```
//! use gthread::channel::{bounded, select};
//! use gthread::context::{self, Context};
//! use gthread::time::Duration;
//!
//! fn fetch(ctx: &Context, answers: &gthread::channel::Receiver<u32>) -> Result<u32, context::Error> {
//!     select! {
//!         recv(answers) -> answer => Ok(answer.expect("somebody answers")),
//!         recv(ctx.done()) -> _ => Err(ctx.err().expect("it is done")),
//!     }
//! }
//!
//! let (_nobody, answers) = bounded(0);
//! let (ctx, _cancel) = Context::background().with_timeout(Duration::from_millis(5));
//! assert_eq!(fetch(&ctx, &answers), Err(context::Error::DeadlineExceeded));
//! ```
//!
//! # What differs from Go
//!
//! | Go | here |
//! |---|---|
//! | `ctx, cancel := WithCancel(parent)`, `defer cancel()` | `let (ctx, cancel) = parent.with_cancel()`: the guard cancels when it is dropped |
//! | `WithCancelCause`, `cancel(cause)` | `with_cancel`, [`cancel.cancel_because(cause)`](CancelGuard::cancel_because) |
//! | `<-ctx.Done()` | [`ctx.done()`](Context::done)`.recv()` is an error, once it is done |
//! | `ctx.Err()`, `context.Cause(ctx)` | [`ctx.err()`](Context::err), [`ctx.cause()`](Context::cause) |
//! | `WithValue(ctx, key, value)`, `ctx.Value(key)` | [`ctx.with_value(value)`](Context::with_value), [`ctx.value::<T>()`](Context::value): the type is the key |
//! | `AfterFunc(ctx, f)`, `stop()` | [`ctx.after_func(f)`](Context::after_func), [`stop()`](AfterFunc::stop) |
//! | `WithoutCancel(ctx)` | [`ctx.without_cancel()`](Context::without_cancel) |
//! | a deadline is a timer, to be stopped by `cancel` | no timer: waiting threads wake up by themselves |
//! | `Context` is an interface | a type: a handle, cheap to clone |
//!
//! Nothing is leaked if a context is dropped without having ended, for example with a guard that
//! was [disarmed](CancelGuard::disarm): its parent forgets it. A clone of its `done` channel that
//! outlives it is disconnected then, because no handle is left to query the reason.

mod after;
mod call;
mod error;
mod guard;
mod scope;
mod value;

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::{Receiver, never};
use crate::context::scope::{Expiry, Scope};
use crate::context::value::Values;

pub use crate::context::after::AfterFunc;
pub use crate::context::error::{Cause, Error};
pub use crate::context::guard::CancelGuard;

/// A context. See the [module](self).
///
/// Clones are handles to the same context.
#[derive(Clone, Default)]
pub struct Context {
    /// The part that may end; `None` in the background, which never ends.
    scope: Option<Arc<Scope>>,
    values: Values,
}

impl Context {
    /// Returns the context that all others are derived from: it has no values and no deadline, and
    /// is never cancelled.
    pub const fn background() -> Self {
        Self { scope: None, values: Values::NONE }
    }

    /// Derives a context that can be cancelled.
    ///
    /// It ends when the guard cancels it or is dropped, or when `self` ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use gthread::context::{Context, Error};
    ///
    /// let (parent, cancel) = Context::background().with_cancel();
    /// let (child, _cancel_child) = parent.with_cancel();
    /// assert_eq!(child.err(), None);
    /// cancel.cancel();
    /// assert_eq!(child.err(), Some(Error::Canceled));
    /// ```
    pub fn with_cancel(&self) -> (Self, CancelGuard) {
        self.derive(None)
    }

    /// Derives a context that ends at `deadline`, or earlier: when the guard cancels it or is
    /// dropped, or when `self` ends. A deadline later than that of `self` has no effect.
    pub fn with_deadline(&self, deadline: Instant) -> (Self, CancelGuard) {
        self.derive(Some(Expiry { at: deadline, cause: None }))
    }

    /// Like [`with_deadline`](Self::with_deadline), and sets the [`cause`](Self::cause) for the
    /// case that the deadline ends the context.
    pub fn with_deadline_cause(
        &self,
        deadline: Instant,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> (Self, CancelGuard) {
        self.derive(Some(Expiry { at: deadline, cause: Some(Arc::from(cause.into())) }))
    }

    /// Like [`with_deadline`](Self::with_deadline), with a deadline after `timeout`. If the clock
    /// cannot represent that moment, there is no deadline.
    pub fn with_timeout(&self, timeout: Duration) -> (Self, CancelGuard) {
        let deadline = Instant::now().checked_add(timeout);
        self.derive(deadline.map(|at| Expiry { at, cause: None }))
    }

    fn derive(&self, expiry: Option<Expiry>) -> (Self, CancelGuard) {
        let scope = Scope::derive(self.scope.as_ref(), expiry);
        let guard = CancelGuard::new(Arc::clone(&scope));
        (Self { scope: Some(scope), values: self.values.clone() }, guard)
    }

    /// Derives a context with a value, which [`value`](Self::value) finds by its type. It ends with
    /// `self`.
    ///
    /// Use a separate type for each purpose to keep values apart. Use it for data that accompanies
    /// a request through all code that works on it, not for parameters.
    ///
    /// # Examples
    ///
    /// ```
    /// use gthread::context::Context;
    ///
    /// struct RequestId(u64);
    ///
    /// let ctx = Context::background().with_value(RequestId(7));
    /// assert_eq!(ctx.value::<RequestId>().unwrap().0, 7);
    /// assert!(ctx.value::<u64>().is_none());
    /// ```
    pub fn with_value<T: Any + Send + Sync>(&self, value: T) -> Self {
        Self { scope: self.scope.clone(), values: self.values.with(value) }
    }

    /// Derives a context with the same values that does not end when `self` does: it has no
    /// deadline and is never cancelled.
    pub fn without_cancel(&self) -> Self {
        Self { scope: None, values: self.values.clone() }
    }

    /// Returns the value of this type that was added last to this context.
    pub fn value<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.values.get()
    }

    /// Returns the moment when the context ends at the latest, if it has a deadline.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.scope.as_ref()?.expiry()?.at)
    }

    /// Returns the channel that is disconnected when this context ends. It never carries a value:
    /// `recv` waits for the end and returns an error. Each call returns the same channel.
    pub fn done(&self) -> &Receiver<Infallible> {
        static NEVER: Receiver<Infallible> = never();
        self.scope.as_ref().map_or(&NEVER, |scope| scope.done())
    }

    /// Returns the reason why the context has ended, or `None` if it has not. Never changes once it
    /// has ended; never blocks.
    pub fn err(&self) -> Option<Error> {
        Some(self.scope.as_ref()?.ended()?.error)
    }

    /// Returns the cause given for the end of the context: with [`CancelGuard::cancel_because`] or
    /// [`with_deadline_cause`](Self::with_deadline_cause), for this context or the one whose end
    /// has ended it. If no cause was given, returns the same as [`err`](Self::err). `None` if the
    /// context has not ended.
    pub fn cause(&self) -> Option<Cause> {
        let ended = self.scope.as_ref()?.ended()?;
        Some(ended.cause.unwrap_or_else(|| Arc::new(ended.error)))
    }
}

// A panic elsewhere leaves no partial change here.
impl UnwindSafe for Context {}
impl RefUnwindSafe for Context {}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("deadline", &self.deadline())
            .field("err", &self.err())
            .finish_non_exhaustive()
    }
}
