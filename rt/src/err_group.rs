//! Groups of threads that work on parts of one task: Go's `errgroup`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::{fmt, io};

use crate::context::{CancelGuard, Context};
use crate::loom::{Mutex, lock};
use crate::sync::{OwnedSemaphorePermit, Semaphore, WaitGroup};
use crate::thread::scope::Scope;
use crate::thread::spawn::Builder;

/// A group of green threads that may fail: Go's `golang.org/x/sync/errgroup`.
///
/// [`wait`](ErrGroup::wait) returns the first error. If the group has a context, the first error
/// cancels it for the other members.
///
/// Clones are handles to the same group, with which its members can start others. A panic of a
/// member is propagated by `wait`, and cancels the context too. A group may be used again after
/// `wait`, but its context has ended.
///
/// # Examples
///
/// ```
/// use gthread::context::Context;
/// use gthread::{ErrGroup, channel::select};
///
/// let (group, ctx) = ErrGroup::with_context(&Context::background());
/// group.go(|| Err("no such host"));
/// group.go(move || {
///     select! {
///         recv(ctx.done()) -> _ => Err("given up"),
///         default(std::time::Duration::from_secs(3600)) => Ok(()),
///     }
/// });
/// assert_eq!(group.wait(), Err("no such host"));
/// ```
///
/// # What differs from Go
///
/// - `wait` moves the error out: if several threads wait, one gets it, and the next one finds none.
/// - The [cause](Context::cause) of the context's end is not the error, because `wait` moves that
///   out.
/// - A panic is propagated by `wait`, and does not end the program.
/// - Members may borrow: [`go_scoped`](ErrGroup::go_scoped).
#[doc(alias = "JoinSet")]
pub struct ErrGroup<E> {
    group: Arc<Group<E>>,
}

struct Group<E> {
    members: WaitGroup,
    limit: Mutex<Option<Places>>,
    outcome: Mutex<Outcome<E>>,
    cancel: Option<CancelGuard>,
}

/// How the members have ended so far: the first error, the first panic. Later ones are returned to
/// the member that reports them: their drop is the user's code, which must not run under the lock.
struct Outcome<E> {
    error: Option<E>,
    panic: Option<Box<dyn Any + Send>>,
}

/// A permit for each member that may run at once.
#[derive(Clone)]
struct Places {
    free: Arc<Semaphore>,
    all: usize,
}

impl Places {
    fn new(limit: usize) -> Self {
        // There are never so many members.
        let all = limit.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(all)), all }
    }

    fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }
}

impl<E> ErrGroup<E> {
    /// Creates an empty group, without a limit and without a context.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// Creates an empty group, and a context derived from `ctx`. The context ends when a member
    /// fails or panics, when [`wait`](Self::wait) returns, or when the group is gone.
    pub fn with_context(ctx: &Context) -> (Self, Context) {
        let (ctx, cancel) = ctx.with_cancel();
        (Self::with(Some(cancel)), ctx)
    }

    fn with(cancel: Option<CancelGuard>) -> Self {
        let group = Group {
            members: WaitGroup::new(),
            limit: Mutex::new(None),
            outcome: Mutex::new(Outcome { error: None, panic: None }),
            cancel,
        };
        Self { group: Arc::new(group) }
    }

    /// Limits how many members run at once; `None` is no limit, like a negative number in Go. With
    /// zero, no member can be started: [`go`](Self::go) waits for ever.
    ///
    /// # Panics
    ///
    /// If members run that count towards the previous limit.
    #[track_caller]
    pub fn set_limit(&self, limit: impl Into<Option<usize>>) {
        let mut places = lock(&self.group.limit);
        let active = places.as_ref().map_or(0, Places::taken);
        if active > 0 {
            drop(places);
            panic!(
                "the limit of an ErrGroup is set while {active} of its members run; set it before \
                 they are started, or after wait()"
            );
        }
        *places = limit.into().map(Places::new);
    }
}

impl<E: Send> ErrGroup<E> {
    /// Starts a member. If the limit is reached, waits until a member has ended: parks the calling
    /// green thread, or blocks the OS thread. Without that it is a suspension point too, like
    /// [`spawn`](crate::spawn).
    ///
    /// # Panics
    ///
    /// If no stack can be had. See [`spawn`](crate::spawn).
    #[track_caller]
    pub fn go<F>(&self, f: F)
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
        E: 'static,
    {
        let place = self.places().map(|places| places.free.acquire_owned());
        started(Builder::new().spawn(self.member(place, f)));
    }

    /// Starts a member if the limit is not reached. Returns `true` if it did.
    ///
    /// # Panics
    ///
    /// See [`go`](Self::go).
    #[track_caller]
    pub fn try_go<F>(&self, f: F) -> bool
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
        E: 'static,
    {
        let place = match self.places().map(|places| places.free.try_acquire_owned()) {
            None => None,
            Some(Some(place)) => Some(place),
            Some(None) => return false,
        };
        started(Builder::new().spawn(self.member(place, f)));
        true
    }

    /// Like [`go`](Self::go), with a member that may borrow from outside a
    /// [`scope`](crate::scope).
    ///
    /// # Panics
    ///
    /// See [`go`](Self::go).
    ///
    /// # Examples
    ///
    /// ```
    /// let group = gthread::ErrGroup::new();
    /// let texts = ["1", "2", "drei"];
    /// let failed = gthread::scope(|s| {
    ///     for text in &texts {
    ///         group.go_scoped(s, || text.parse::<u32>().map(drop));
    ///     }
    ///     group.wait()
    /// });
    /// assert!(failed.is_err());
    /// ```
    #[track_caller]
    pub fn go_scoped<'scope, F>(&self, scope: &'scope Scope<'scope, '_>, f: F)
    where
        F: FnOnce() -> Result<(), E> + Send + 'scope,
        E: 'scope,
    {
        let place = self.places().map(|places| places.free.acquire_owned());
        started(Builder::new().spawn_scoped(scope, self.member(place, f)));
    }

    /// Waits until all members have ended, including members that are started meanwhile, and
    /// returns the first error. Parks the calling green thread, a suspension point, or blocks the
    /// OS thread. A member that calls it waits for itself.
    ///
    /// Everything that members own is dropped by then, except perhaps their values of
    /// [`green_local!`](crate::green_local!)s.
    ///
    /// # Errors
    ///
    /// The first error that a member returned, unless another `wait` has taken it.
    ///
    /// # Panics
    ///
    /// If a member panicked, with the payload of the first one.
    #[track_caller]
    pub fn wait(&self) -> Result<(), E> {
        self.group.members.wait();
        self.group.cancel();
        let mut outcome = lock(&self.group.outcome);
        let (panic, error) = (outcome.panic.take(), outcome.error.take());
        drop(outcome);
        match (panic, error) {
            (Some(payload), error) => {
                drop(error);
                resume_unwind(payload)
            }
            (None, Some(error)) => Err(error),
            (None, None) => Ok(()),
        }
    }

    fn places(&self) -> Option<Places> {
        lock(&self.group.limit).clone()
    }

    /// Returns the body of a member, which counts from now on.
    fn member<F>(
        &self,
        place: Option<OwnedSemaphorePermit>,
        f: F,
    ) -> impl FnOnce() + Send + use<E, F>
    where
        F: FnOnce() -> Result<(), E> + Send,
    {
        let member = Member::new(&self.group);
        move || {
            // Dropped last, after the place is free again.
            let member = member;
            let _place = place;
            let ended = catch_unwind(AssertUnwindSafe(|| {
                if let Err(error) = f() {
                    // An error that is not recorded may panic in its drop, here.
                    drop(member.note(error, |outcome| &mut outcome.error));
                }
            }));
            if let Err(payload) = ended {
                drop(member.note(payload, |outcome| &mut outcome.panic));
            }
        }
    }
}

#[track_caller]
fn started<T>(result: io::Result<T>) {
    if let Err(error) = result {
        panic!("failed to spawn a green thread: {error}");
    }
}

impl<E> Group<E> {
    fn cancel(&self) {
        if let Some(cancel) = &self.cancel {
            cancel.cancel();
        }
    }
}

/// Counts as a member, from before it is started until this is dropped: when the member has ended,
/// or could not be started.
struct Member<E>(Arc<Group<E>>);

impl<E> Member<E> {
    fn new(group: &Arc<Group<E>>) -> Self {
        group.members.add(1);
        Self(Arc::clone(group))
    }

    /// Records how a member has failed, if it is the first, and cancels the context. Returns a
    /// value that is not recorded.
    fn note<N>(&self, what: N, place: fn(&mut Outcome<E>) -> &mut Option<N>) -> Option<N> {
        let left = {
            let mut outcome = lock(&self.0.outcome);
            let place = place(&mut outcome);
            if place.is_some() { Some(what) } else { place.replace(what) }
        };
        self.0.cancel();
        left
    }
}

impl<E> Drop for Member<E> {
    fn drop(&mut self) {
        self.0.members.done();
    }
}

// A panic elsewhere leaves no partial change here.
impl<E> UnwindSafe for ErrGroup<E> {}
impl<E> RefUnwindSafe for ErrGroup<E> {}

impl<E> Default for ErrGroup<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Clone for ErrGroup<E> {
    fn clone(&self) -> Self {
        Self { group: Arc::clone(&self.group) }
    }
}

impl<E> fmt::Debug for ErrGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrGroup").finish_non_exhaustive()
    }
}
