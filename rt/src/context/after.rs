//! What is to be done once a context has ended.
//!
//! A call waits in its context's scope, which starts it in the end (`scope`): no thread waits for that. But a deadline
//! is nobody's timer, so for a scope that has one, and a call, a green thread waits until it has passed.

use std::panic::{AssertUnwindSafe, Location, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::{fmt, io};

use crate::context::Context;
use crate::context::scope::Scope;
use crate::loom::{AtomicBool, Mutex, Ordering, lock};
use crate::thread::spawn::{self, Builder, Options};

impl Context {
    /// Arranges for `f` to be called when this context has ended, at once if it has, in a green thread of
    /// its own. Go's `AfterFunc`.
    ///
    /// The green thread is started by what ends the context; until then the call costs a small allocation. In a
    /// context with a deadline one more green thread waits for that, for all calls, until the context has ended or is
    /// gone. If no stack can be had in the end, `f` is called in place, by the thread that ends the context.
    ///
    /// Not called, but dropped, if the context is gone without having ended. Not a suspension point.
    ///
    /// # Panics
    ///
    /// If the context has a deadline, and no stack can be had for the thread that waits for it, as
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

/// A call that is to be made in the end, unless it is stopped.
pub(super) struct Call {
    /// Who has arranged for it.
    pub(super) site: &'static Location<'static>,
    /// It is made, or never will be.
    decided: AtomicBool,
    /// There until it is made or stopped. Belongs to whoever decides.
    f: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Call {
    fn new(f: impl FnOnce() + Send + 'static, site: &'static Location<'static>) -> Arc<Self> {
        Arc::new(Self { decided: AtomicBool::new(false), f: Mutex::new(Some(Box::new(f))), site })
    }

    /// True for the first.
    fn decide(&self) -> bool {
        !self.decided.swap(true, Ordering::AcqRel)
    }

    /// Takes the closure, which only whoever has decided may do.
    fn take(&self) -> Box<dyn FnOnce() + Send> {
        lock(&self.f).take().expect("taken once")
    }

    /// Makes the call in a green thread, unless it is decided. Runs the user's code only if it must be called in place.
    pub(super) fn start(self: Arc<Self>) {
        if !self.decide() {
            return;
        }
        let call = Arc::clone(&self);
        match spawn_queued(self.site, move || call.take()()) {
            Ok(()) => {}
            // In the child of a fork: what its parent has arranged for is neither called there nor dropped.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => std::mem::forget(self),
            // A panic ends the call, as in a thread of its own.
            Err(_) => drop(catch_unwind(AssertUnwindSafe(self.take()))),
        }
    }
}

/// Starts a thread that ends a scope when its deadline has passed. In the default runtime, which is not dropped: a context
/// may outlive the runtime in which it is watched first.
pub(super) fn watch(scope: &Arc<Scope>, site: &'static Location<'static>) -> io::Result<()> {
    // Not the scope itself: it would never be gone then.
    let (done, scope) = (scope.done().clone(), Arc::downgrade(scope));
    let watch = move || {
        let _ = done.recv();
        if let Some(scope) = Weak::upgrade(&scope) {
            scope.ended();
        }
    };
    // SAFETY: the closure is `Send` and `'static`, and so is its result.
    unsafe { spawn::start_in_default(Options::new(site), watch) }.map(drop)
}

/// Starts a green thread, as one that `site` has spawned. The caller goes on.
fn spawn_queued(
    site: &'static Location<'static>,
    f: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let options = Builder::new().queued(true).options(site);
    // SAFETY: the closure is `Send` and `'static`, and so is its result.
    unsafe { spawn::start(options, f) }.map(drop)
}

/// A call that was arranged for with [`Context::after_func`]. It is made even if this is dropped.
pub struct AfterFunc {
    call: Arc<Call>,
    /// Where the call waits, if it does.
    place: Option<(Weak<Scope>, u64)>,
}

impl AfterFunc {
    /// Stops it from being made: true if that was so, and then its closure is dropped, here. False if it is made
    /// already, which does not mean that it is over, or if it was stopped before.
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

// As the context.
impl UnwindSafe for AfterFunc {}
impl RefUnwindSafe for AfterFunc {}

impl fmt::Debug for AfterFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterFunc").finish_non_exhaustive()
    }
}
