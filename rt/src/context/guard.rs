//! The guard that cancels a context.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::context::error::Error;
use crate::context::scope::{Ended, Scope};

/// Cancels the context that it was created with, at the latest when it is dropped.
///
/// Like Go's `defer cancel()`: keep it until the work ends that the context is for. A guard that is
/// bound to `_` is dropped at once.
#[must_use = "dropping it cancels the context"]
pub struct CancelGuard {
    /// `None` once it was disarmed.
    scope: Option<Arc<Scope>>,
}

impl CancelGuard {
    pub(super) fn new(scope: Arc<Scope>) -> Self {
        Self { scope: Some(scope) }
    }

    /// Ends the context, and all contexts derived from it. When this returns, their `done` channels
    /// are disconnected. No effect if the context has ended already. Never blocks.
    pub fn cancel(&self) {
        self.end(Ended { error: Error::Canceled, cause: None });
    }

    /// Like [`cancel`](Self::cancel), and sets the [`cause`](crate::context::Context::cause): an
    /// error, or a value that converts to one, such as a text.
    ///
    /// # Examples
    ///
    /// ```
    /// let (ctx, cancel) = gthread::context::Context::background().with_cancel();
    /// cancel.cancel_because("the client is gone");
    /// assert_eq!(ctx.err().unwrap().to_string(), "context canceled");
    /// assert_eq!(ctx.cause().unwrap().to_string(), "the client is gone");
    /// ```
    pub fn cancel_because(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) {
        self.end(Ended { error: Error::Canceled, cause: Some(Arc::from(cause.into())) });
    }

    /// Drops the guard without cancelling: the context ends when its deadline passes, or when the
    /// context ends that it is derived from.
    pub fn disarm(mut self) {
        self.scope = None;
    }

    fn end(&self, ended: Ended) {
        if let Some(scope) = &self.scope {
            scope.end(ended);
        }
    }
}

// Unwind-safe for the same reason as the context.
impl UnwindSafe for CancelGuard {}
impl RefUnwindSafe for CancelGuard {}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl fmt::Debug for CancelGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelGuard").finish_non_exhaustive()
    }
}
