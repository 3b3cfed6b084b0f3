//! Calls that are made once a context has ended.
//!
//! A call waits in its context's scope, which starts it at the end (`scope`), so no thread waits
//! for that. But a deadline has no timer. So for a scope that has a deadline and a call, a green
//! thread waits until the deadline has passed.

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Weak};

use crate::context::Context;
use crate::context::call::Call;
use crate::context::scope::Scope;

impl Context {
    /// Arranges for `f` to be called in its own green thread when this context has ended, or at
    /// once if it has ended already. Go's `AfterFunc`.
    ///
    /// The thread that ends the context starts the green thread; until then the call costs a small
    /// allocation. In a context with a deadline, one additional green thread waits for the
    /// deadline, for all calls, until the context has ended or is gone. If no stack can be had at
    /// the end, `f` is called in place, by the thread that ends the context.
    ///
    /// If the context is gone without having ended, `f` is dropped and not called. Not a suspension
    /// point.
    ///
    /// # Panics
    ///
    /// If the context has a deadline, and no stack can be had for the thread that waits for it. See
    /// [`go!`](crate::go).
    ///
    /// # Examples
    ///
    /// ```
    /// use gthread::context::Context;
    ///
    /// let (tx, rx) = gthread::channel::bounded(1);
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// let after = ctx.after_func(move || tx.send("cleaned up").unwrap());
    /// cancel.cancel();
    /// assert_eq!(rx.recv(), Ok("cleaned up"));
    /// assert!(!after.stop(), "too late");
    /// ```
    #[doc(alias = "AfterFunc")]
    #[track_caller]
    pub fn after_func(&self, f: impl FnOnce() + Send + 'static) -> AfterFunc {
        let site = Location::caller();
        let Some(scope) = &self.scope else {
            drop(f);
            return AfterFunc { call: Call::new(|| (), site), place: None };
        };
        let call = Call::new(f, site);
        let place = match scope.call_at_end(&call) {
            Ok(key) => key.map(|key| (Arc::downgrade(scope), key)),
            Err(error) => panic!("failed to spawn a green thread: {error}"),
        };
        if place.is_none() {
            Arc::clone(&call).start();
        }
        AfterFunc { call, place }
    }
}

/// A call that was arranged for with [`Context::after_func`]. It is made even if this is dropped.
pub struct AfterFunc {
    call: Arc<Call>,
    /// The place where the call waits, if it does.
    place: Option<(Weak<Scope>, u64)>,
}

impl AfterFunc {
    /// Stops the call from being made. Returns `true` if this call to `stop` did so; the closure is
    /// then dropped here. Returns `false` if the call is made already, which does not mean that it
    /// has returned, or if it was stopped before.
    pub fn stop(&self) -> bool {
        if !self.call.decide() {
            return false;
        }
        if let Some((scope, key)) = &self.place {
            if let Some(scope) = scope.upgrade() {
                scope.forget_call(*key);
            }
        }
        drop(self.call.take());
        true
    }
}

// Unwind-safe for the same reason as the context.
impl UnwindSafe for AfterFunc {}
impl RefUnwindSafe for AfterFunc {}

impl fmt::Debug for AfterFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterFunc").finish_non_exhaustive()
    }
}
