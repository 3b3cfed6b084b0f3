//! What is to be done once a context has ended.

use std::fmt;
use std::sync::Arc;

use super::Context;
use crate::channel::{Signal, select, was_raised};
use crate::prim::{AtomicBool, Ordering};
use crate::spawn::Builder;

impl Context {
    /// Arranges for `f` to be called when this context has ended, at once if it has, in a green thread of
    /// its own. Go's `AfterFunc`.
    ///
    /// Not called if the context is gone without having ended, nor if it never ends. The thread waits from
    /// now on. No suspension point.
    ///
    /// # Panics
    ///
    /// If no stack can be had for the thread, as [`spawn`](crate::spawn).
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
    #[track_caller]
    pub fn after_func(&self, f: impl FnOnce() + Send + 'static) -> AfterFunc {
        let (signal, stopped) = Signal::new(None);
        let call = Arc::new(Call { decided: AtomicBool::new(false), stop: signal });
        if self.scope.is_some() {
            // Not the context itself: it would never be gone then.
            let (done, call) = (self.done().clone(), Arc::clone(&call));
            let wait = move || {
                select! {
                    recv(stopped) -> _ => {}
                    recv(done) -> _ => if was_raised(&done) && call.decide() {
                        f();
                    }
                }
            };
            if let Err(error) = Builder::new().queued(true).spawn(wait) {
                panic!("failed to spawn a green thread: {error}");
            }
        }
        AfterFunc(call)
    }
}

struct Call {
    /// It is called, or never will be.
    decided: AtomicBool,
    /// Ends the thread that waits.
    stop: Signal,
}

impl Call {
    /// True for the first.
    fn decide(&self) -> bool {
        !self.decided.swap(true, Ordering::AcqRel)
    }
}

/// A call that was arranged for with [`Context::after_func`]. It is made even if this is dropped.
pub struct AfterFunc(Arc<Call>);

impl AfterFunc {
    /// Stops it from being made: true if that was so. False if it is made already, which does not mean that it
    /// is over, or if it was stopped before.
    pub fn stop(&self) -> bool {
        let stopped = self.0.decide();
        if stopped {
            self.0.stop.raise();
        }
        stopped
    }
}

impl fmt::Debug for AfterFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterFunc").finish_non_exhaustive()
    }
}
