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

/// A group of green threads that may fail: the first error is what [`wait`](ErrGroup::wait) gives, and, if the
/// group has a context, cancels it for the others. Go's `golang.org/x/sync/errgroup`.
///
/// Clones are handles to the same group, for its members to start others with. A panic of a member goes on in
/// `wait`, and cancels the context too. A group that has been waited for may be used again, but its context has
/// ended.
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
/// - `wait` gives the error away: of several that wait, one gets it, and the next one finds none.
/// - The [cause](Context::cause) of the context's end is not the error, which belongs to whoever waits.
/// - A panic goes on in `wait`, rather than ending the program.
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

/// How the members have ended so far: the first error, the first panic. What comes later is handed back to
/// whoever brings it: its drop is the user's code, and not to be run under the lock.
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
        // So many members there never are.
        let all = limit.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(all)), all }
    }

    fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }
}

impl<E> ErrGroup<E> {
    /// An empty group, without a limit and without a context.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// An empty group, and a context derived from `ctx`, which ends when a member fails or panics, when
    /// [`wait`](Self::wait) returns, or when the group is gone.
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

    /// Limits how many members run at once, to any number; `None` is no limit, as a negative number is in Go. With zero
    /// none can be started: [`go`](Self::go) waits for ever.
    ///
    /// # Panics
    ///
    /// If members run that count towards the limit there was.
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
    /// Starts a member. If as many run as may, waits until one has ended: parks the green thread that calls,
    /// or blocks the OS thread. Also otherwise a suspension point, as [`spawn`](crate::thread::spawn).
    ///
    /// # Panics
    ///
    /// If no stack can be had, as [`spawn`](crate::thread::spawn).
    #[track_caller]
    pub fn go<F>(&self, f: F)
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
        E: 'static,
    {
        let place = self.places().map(|places| places.free.acquire_owned());
        started(Builder::new().spawn(self.member(place, f)));
    }

    /// Starts a member, if as many as may do not run already: whether it did.
    ///
    /// # Panics
    ///
    /// As [`go`](Self::go).
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

    /// As [`go`](Self::go), with a member that may borrow from outside a [`scope`](crate::thread::scope).
    ///
    /// # Panics
    ///
    /// As [`go`](Self::go).
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

    /// Waits until all members have ended, those too that are started meanwhile, and gives the first error.
    /// Parks the green thread that calls, a suspension point, or blocks the OS thread. A member that calls it
    /// waits for itself.
    ///
    /// What members own is dropped by then, but not yet, perhaps, what they keep in
    /// [`green_local!`](crate::green_local!)s.
    ///
    /// # Errors
    ///
    /// The first that a member returned, unless another `wait` has it.
    ///
    /// # Panics
    ///
    /// With the payload of the first member that panicked.
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

    /// The body of a member, which counts from now on.
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
            // Ends last; its place is free before.
            let member = member;
            let _place = place;
            let ended = catch_unwind(AssertUnwindSafe(|| {
                if let Err(error) = f() {
                    // One that nobody wants may panic in its drop, here.
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

/// One that counts as a member, from before it is started until this is dropped: when it has ended, or could
/// not be started.
struct Member<E>(Arc<Group<E>>);

impl<E> Member<E> {
    fn new(group: &Arc<Group<E>>) -> Self {
        group.members.add(1);
        Self(Arc::clone(group))
    }

    /// Notes how a member has failed, if it is the first, and cancels the context. Hands back what is not noted.
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

// A panic elsewhere leaves nothing half done here.
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
