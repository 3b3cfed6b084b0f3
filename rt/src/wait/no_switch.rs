//! `no_switch`: a section of a green thread in which it must not be suspended, checked at run time.
//!
//! The check is on the path that a thread takes when it may not suspend. So the path of a thread
//! that may suspend does not pay for it. It panics before anything is registered anywhere, so no
//! other thread relies on a thread that does not wait.

use std::panic::Location;

use crate::runtime::context;
use crate::runtime::worker::Worker;
use crate::sys::fork;

/// Runs a closure in which the calling green thread must not be switched, and panics if it would
/// be.
///
/// For code that a switch would break, above all code that uses a reference into a `thread_local!`:
/// see [soundness](crate#soundness). The runtime cannot see such a reference, but it can detect
/// that a call which "surely does not block" does block.
///
/// Everything that would suspend the green thread inside `f` panics instead: a wait of any kind
/// that does not end at once, [`yield_now`](crate::yield_now), and every `go!`, even one that would
/// have queued its child for another reason. The message names the place where `no_switch` was
/// entered and the place where the suspension was attempted. The attempt itself has no effect:
/// nothing was sent, received, locked or started, and the panic is an ordinary one.
///
/// Operations that do not switch do not panic: an operation that need not wait, `try_send` and
/// similar ones, and a child that is [queued](crate::Builder::queued). Neither do operations that
/// block the OS thread, inside [`blocking`](crate::blocking) or while the thread unwinds. On an OS
/// thread nothing is ever switched, so there `f` may block. A [`scope`](crate::scope) that
/// is entered inside waits for its threads in any case, because they borrow; it blocks the OS
/// thread, and panics afterwards.
///
/// Costs a few nanoseconds, and nothing where it is not used. Not a suspension point; may be
/// nested.
///
/// # Panics
///
/// If `f` would suspend the calling green thread, or panics itself.
///
/// # Examples
///
/// ```
/// use std::cell::RefCell;
///
/// thread_local! {
///     static SCRATCH: RefCell<String> = RefCell::default();
/// }
///
/// fn shout(text: &str) -> usize {
///     SCRATCH.with_borrow_mut(|scratch| {
///         // The borrow must not be held across a switch.
///         gthread::no_switch(|| {
///             scratch.clear();
///             scratch.push_str(&text.to_uppercase());
///             scratch.len()
///         })
///     })
/// }
/// assert_eq!(gthread::run(|| shout("green")), 5);
/// ```
///
/// ```should_panic
/// let (_tx, rx) = gthread::channel::unbounded::<i32>();
/// // "a green thread was about to be suspended at …, inside the no_switch that it has entered at …"
/// gthread::run(|| gthread::no_switch(|| rx.recv()));
/// ```
#[track_caller]
pub fn no_switch<T>(f: impl FnOnce() -> T) -> T {
    let _region = Region::enter(Location::caller());
    f()
}

/// A guard during whose life the calling green thread must not be switched.
struct Region {
    /// The enclosing region of the same green thread. The outer `None` means that this is not a
    /// green thread.
    outer: Option<Option<&'static Location<'static>>>,
}

impl Region {
    #[inline(never)]
    fn enter(site: &'static Location<'static>) -> Self {
        let worker = |worker: &Worker| worker.running().map(|_| worker.set_no_switch(Some(site)));
        Self { outer: context::with(|current| current.and_then(worker)) }
    }
}

impl Drop for Region {
    #[inline(never)]
    fn drop(&mut self) {
        if let Some(outer) = self.outer {
            context::with(|worker| {
                worker.expect("a thread that is not switched stays").set_no_switch(outer);
            });
        }
    }
}

/// The reason why a thread must not wait at a place.
#[must_use = "a violation is to be reported"]
pub(crate) enum Violation {
    /// It would be switched inside a `no_switch`.
    Switch { entered: &'static Location<'static>, attempted: &'static Location<'static> },
    /// In the child of a `fork` no thread would wake it.
    Forked { attempted: &'static Location<'static> },
}

impl Violation {
    #[cold]
    pub(crate) fn panic(self) -> ! {
        match self {
            Self::Switch { entered, attempted } => panic!(
                "a green thread was about to be suspended at {attempted}, inside the no_switch that it \
                 has entered at {entered}"
            ),
            Self::Forked { attempted } => {
                panic!("a thread was about to wait at {attempted}, for ever: {}", fork::WHY)
            }
        }
    }

    /// Returns `true` if no other green thread runs in this process, nor ever will.
    pub(crate) fn is_forked(&self) -> bool {
        matches!(self, Self::Forked { .. })
    }
}

/// Returns the violation that a wait of the calling thread at `site` would be.
#[cold]
pub(crate) fn violation(site: &'static Location<'static>) -> Option<Violation> {
    if fork::is_child() {
        return Some(Violation::Forked { attempted: site });
    }
    switch(site)
}

/// Returns the violation that a suspension of the calling thread at `site` would be.
fn switch(site: &'static Location<'static>) -> Option<Violation> {
    context::with(|worker| worker.and_then(|worker| violation_on(worker, site)))
}

/// Like [`switch`], on the worker that the calling thread runs on.
pub(crate) fn violation_on(worker: &Worker, site: &'static Location<'static>) -> Option<Violation> {
    worker.switch_forbidden().map(|entered| Violation::Switch { entered, attempted: site })
}

/// Panics if the calling thread must not be suspended.
pub(crate) fn check(site: &'static Location<'static>) {
    if let Some(violation) = switch(site) {
        violation.panic();
    }
}
