//! Structured concurrency: `scope` like std's, and `run` as the entry point.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, RefUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread::Result;
use std::time::Duration;
use std::{fmt, io};

use crate::boot::default_runtime;
use crate::loom::{AtomicUsize, Ordering};
use crate::runtime::context;
use crate::runtime::shared::Shared;
use crate::task::after::After;
use crate::task::wait_info::Reason;
use crate::thread::handle::Thread;
use crate::thread::spawn::{Builder, JoinHandle, Options, start, start_in};
use crate::wait::latch::Latch;
use crate::wait::no_switch::{self, Violation};
use crate::wait::park;

/// A scope in which green threads may borrow, like [`std::thread::Scope`]. Created by [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    data: Arc<ScopeData>,
    /// Invariant over both lifetimes, like std's: a scope must not be shrunk to spawn a thread that
    /// borrows for less.
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

// As in std. (By value it is not unwind-safe, because its lifetimes are those of mutable
// references.)
impl RefUnwindSafe for Scope<'_, '_> {}

struct ScopeData {
    running: Latch,
    /// The number of threads that panicked and were not joined.
    panics: AtomicUsize,
}

impl ScopeData {
    /// Passes on the result of a thread that was joined: its panic does not count against the
    /// scope.
    fn joined<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            // Zero if the thread's runtime was dropped instead: then no panic was counted.
            let uncount = |panics: usize| panics.checked_sub(1);
            let _ = self.panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, uncount);
        }
        result
    }
}

/// Runs `f` with a scope. All green threads spawned in it have ended when this returns, so they may
/// borrow data that outlives the call. Like [`std::thread::scope`].
///
/// Waiting parks the calling green thread, or blocks the OS thread.
///
/// # Panics
///
/// If `f` panics, after the threads have ended. If a thread panicked and was not joined.
///
/// # Examples
///
/// ```
/// let mut numbers = vec![1, 2, 3];
/// let mut sum = 0;
/// gthread::scope(|s| {
///     s.spawn(|| sum = numbers.iter().sum());
/// });
/// numbers.push(sum);
/// assert_eq!(numbers, [1, 2, 3, 6]);
/// ```
#[doc(alias = "nursery")]
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let site = Location::caller();
    let scope = Scope {
        data: Arc::new(ScopeData { running: Latch::new(0), panics: AtomicUsize::new(0) }),
        _scope: PhantomData,
        _env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    let lent = Lent;
    let violation = wait_for_all(&scope.data.running, site);
    std::mem::forget(lent);
    match (result, violation) {
        (Err(payload), _) => resume_unwind(payload),
        (Ok(_), Some(violation)) => violation.panic(),
        (Ok(_), None) if scope.data.panics.load(Ordering::Relaxed) > 0 => {
            panic!("a scoped green thread panicked")
        }
        (Ok(result), None) => result,
    }
}

/// Waits for the threads of a scope in every case, because they borrow. If the caller must not be
/// switched, this blocks the OS thread, and returns the violation to report. In the child of a
/// `fork` the threads never run again, and are not waited for.
fn wait_for_all(running: &Latch, site: &'static Location<'static>) -> Option<Violation> {
    if running.is_zero() {
        return None;
    }
    let violation = no_switch::violation(site);
    match violation {
        None => {
            running.wait(Reason::Scope, None, site);
        }
        Some(ref violation) if violation.is_forked() => {}
        Some(_) => {
            park::blocking(|| running.wait(Reason::Scope, None, site));
        }
    }
    violation
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a green thread that may borrow from outside the scope. Otherwise like
    /// [`spawn`](crate::spawn), which says when this is a suspension point.
    ///
    /// # Panics
    ///
    /// If no stack can be had; [`Builder::spawn_scoped`] returns an error instead.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match self.start(Options::new(Location::caller()), f) {
            Ok(handle) => handle,
            Err(error) => panic!("failed to spawn a green thread: {error}"),
        }
    }

    fn start<F, T>(
        &'scope self,
        mut options: Options,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let data = &*self.data;
        options.after = Some(count_in(&self.data));
        let counted = move || match catch_unwind(AssertUnwindSafe(f)) {
            Ok(result) => result,
            Err(payload) => {
                data.panics.fetch_add(1, Ordering::Relaxed);
                resume_unwind(payload)
            }
        };
        // SAFETY: the types are `Send`. The data that they borrow outlives the scope. The scope
        // ends only after the thread was counted out, which is after its closure is gone and its
        // result was handed over or dropped. A handle that still has a result then was leaked,
        // because handles cannot leave the scope. In the child of a `fork` the scope ends earlier,
        // but there the thread never runs again (`runtime/worker/fork_child.rs`).
        let handle = unsafe { start(options, counted) }?;
        Ok(ScopedJoinHandle { handle, data })
    }
}

/// Counts a thread in. The returned value counts it out when dropped.
fn count_in(data: &Arc<ScopeData>) -> After {
    unsafe fn count_out(data: NonNull<()>) {
        // SAFETY: the pointer comes from the `into_raw` below, and this is called once.
        let data = unsafe { Arc::from_raw(data.cast::<ScopeData>().as_ptr()) };
        data.running.done().expect("a running thread is counted");
    }
    data.running.add(1).expect("too many threads in a scope");
    let data = NonNull::new(Arc::into_raw(Arc::clone(data)).cast_mut()).expect("not null");
    // SAFETY: `count_out` may be called once with this pointer, on any thread: `ScopeData` is
    // `Sync`.
    unsafe { After::new(count_out, data.cast()) }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl Builder {
    /// Starts a green thread in a scope, like [`std::thread::Builder::spawn_scoped`].
    ///
    /// # Errors
    ///
    /// See [`Builder::spawn`].
    ///
    /// # Panics
    ///
    /// If the name contains a NUL byte.
    #[track_caller]
    pub fn spawn_scoped<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        scope.start(self.options(Location::caller()), f)
    }
}

/// The right to wait for a scoped green thread to end, like [`std::thread::ScopedJoinHandle`].
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    data: &'scope ScopeData,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Like [`JoinHandle::join`]. A panic that was joined does not count against the scope.
    ///
    /// # Errors
    ///
    /// The payload of the panic that ended the thread.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        let Self { handle, data } = self;
        data.joined(handle.join_at(Location::caller()))
    }

    /// Like [`JoinHandle::join_timeout`]. A panic that was joined does not count against the scope.
    ///
    /// # Errors
    ///
    /// Returns the handle if the time is over. `Ok` contains the result of [`join`](Self::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let text = String::from("text");
    /// let length = gthread::scope(|s| {
    ///     let mut thread = s.spawn(|| text.len());
    ///     loop {
    ///         match thread.join_timeout(Duration::from_secs(1)) {
    ///             Ok(result) => break result.unwrap(),
    ///             Err(handle) => thread = handle, // It takes long: say so.
    ///         }
    ///     }
    /// });
    /// assert_eq!(length, 4);
    /// ```
    #[track_caller]
    pub fn join_timeout(self, timeout: Duration) -> std::result::Result<Result<T>, Self> {
        let Self { handle, data } = self;
        match handle.join_timeout_at(timeout, Location::caller()) {
            Ok(result) => Ok(data.joined(result)),
            Err(handle) => Err(Self { handle, data }),
        }
    }

    /// Returns `true` if the thread has ended. Never blocks.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Returns a handle to the thread.
    pub fn thread(&self) -> &Thread {
        self.handle.thread()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("thread", self.thread()).finish_non_exhaustive()
    }
}

/// Runs `f` as a green thread of the default runtime and returns its result: the entry point from
/// `main`.
///
/// `f` may borrow. The calling OS thread is blocked meanwhile. In a green thread this just calls
/// `f`.
///
/// # Panics
///
/// If `f` panics, with its payload. If the default runtime cannot start.
///
/// It never unwinds while the green thread exists, because that borrows. If all threads are asleep
/// for ever the process ends: see
/// [`RuntimeBuilder::deadlock_detection`](crate::RuntimeBuilder::deadlock_detection).
///
/// # Examples
///
/// ```
/// let words = ["green", "thread"];
/// let total: usize = gthread::run(|| {
///     let (a, b) = gthread::join(|| words[0].len(), || words[1].len());
///     a + b
/// });
/// assert_eq!(total, 11);
/// ```
#[doc(alias = "block_on")]
#[track_caller]
pub fn run<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let site = Location::caller();
    if is_green() {
        return f();
    }
    match default_runtime() {
        Ok(shared) => run_in(shared, site, f),
        Err(error) => panic!("failed to start the default runtime: {error}"),
    }
}

/// Runs `f` as a green thread of `shared` and waits for it.
#[track_caller]
pub(crate) fn run_in<F, T>(shared: &Arc<Shared>, site: &'static Location<'static>, f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    // Before the thread exists: it borrows, so the wait for it must not fail.
    no_switch::check(site);
    // SAFETY: the types are `Send`, and this function does not return or unwind before the thread
    // has ended.
    let handle = match unsafe { start_in(shared, Options::new(site), f) } {
        Ok(handle) => handle,
        Err(error) => panic!("failed to spawn a green thread: {error}"),
    };
    let lent = Lent;
    // It cannot fail: the runtime is borrowed here, or is the default one, which is never dropped.
    let Ok(ended) = handle.wait_in(Reason::Run, site) else { lent.end() };
    std::mem::forget(lent);
    ended.unwrap_or_else(|payload| resume_unwind(payload))
}

/// A guard during whose life a thread borrows from the frames below, which must stay. An unwinding
/// through this guard ends the process. No case is known in which that happens.
struct Lent;

impl Lent {
    #[cold]
    fn end(&self) -> ! {
        eprintln!(
            "fatal: a wait for a green thread that borrows has failed; this is a bug in gthread"
        );
        std::process::abort()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns `true` if the caller is a green thread.
fn is_green() -> bool {
    context::with(|worker| worker.is_some_and(|worker| worker.running().is_some()))
}
