//! Starting green threads, and waiting for them to end.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::num::NonZeroU64;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread::Result;
use std::{fmt, io};

use gthread_arch::stacks::Slot;

use crate::boot;
use crate::runtime::shared::Shared;
use crate::runtime::worker::Worker;
use crate::runtime::{context, handle};
use crate::sys::fork;
use crate::task::after::After;
use crate::task::header::{Attributes, TaskRef};
use crate::task::id;
use crate::task::join_state::Detach;
use crate::task::switch_request::SwitchRequest;
use crate::task::wait_info::Reason;
use crate::thread::handle::Thread;
use crate::wait::no_switch::{self, Violation};
use crate::wait::park::{Wait, may_suspend};

/// Starts a green thread: `go!(closure)` is [`spawn(closure)`](crate::spawn).
///
/// A suspension point in green threads: the caller may continue on another OS thread. No reference
/// into a `thread_local!` may be held across it, nor anything else that belongs to an OS thread.
/// The compiler does not check that: see [soundness](crate#soundness), and `docs/soundness.md` in
/// the repository.
///
/// # Examples
///
/// ```
/// use gthread::go;
///
/// let answer = go!(|| 6 * 7);
/// assert_eq!(answer.join().unwrap(), 42);
/// ```
#[doc(alias = "goroutine", alias = "fiber", alias = "coroutine")]
#[macro_export]
macro_rules! go {
    ($closure:expr $(,)?) => {
        $crate::thread::spawn($closure)
    };
}

/// Starts a green thread that runs `f`.
///
/// In a green thread this is a *suspension point*: the child runs at once, on the caller's worker.
/// The caller's continuation waits to be resumed there when the child parks or ends, or to be
/// stolen by an idle worker. So `spawn` may return on a different OS thread: see
/// [soundness](crate#soundness) for the consequences for thread-locals. It does not suspend, and
/// queues the child instead, in these cases: when the caller is pinned, is unwinding, or is inside
/// [`blocking`](crate::blocking); when more than a thousand continuations wait on its worker; or
/// for a while after other threads had to wait behind CPU-bound green threads.
///
/// On an OS thread the child is queued in the default runtime, which the first call starts. It has
/// `GTHREAD_WORKERS` workers, by default [`std::thread::available_parallelism`], and stacks of
/// `GTHREAD_STACK_SIZE` bytes, by default 256 KiB less the guard.
///
/// The closure is moved several times on its way. In debug builds each move is a copy on the
/// caller's or the child's stack, so box a closure that is larger than a few KiB.
///
/// The green thread continues if the handle is dropped. A panic ends it, and `join` returns its
/// payload.
///
/// # Panics
///
/// If no stack can be had, or the default runtime cannot start; the message says why.
/// [`Builder::spawn`] returns an error instead.
#[doc(alias = "goroutine", alias = "fiber", alias = "coroutine")]
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // SAFETY: the types are `Send` and `'static`, so they may be sent and borrow nothing.
    match unsafe { start(Options::new(Location::caller()), f) } {
        Ok(handle) => handle,
        Err(error) => panic!("failed to spawn a green thread: {error}"),
    }
}

/// The configuration of a new green thread, like [`std::thread::Builder`].
///
/// # Examples
///
/// ```
/// let thread = gthread::Builder::new()
///     .name("deep".into())
///     .stack_size(8 << 20)
///     .spawn(|| 1)?;
/// assert_eq!(thread.join().unwrap(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a builder starts nothing until it spawns"]
#[derive(Debug, Default)]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    pinned: bool,
    queued: bool,
}

impl Builder {
    /// Creates a builder with the defaults: no name, the runtime's stack size, not pinned, child
    /// first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the thread, for [`Thread::name`] and dumps.
    ///
    /// The name must not contain a NUL byte, like std's: otherwise a spawn panics.
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the number of bytes of stack that the thread can use, at least; up to 1 GiB. Only
    /// touched memory is used up. Sizes are rounded up to a power of two less the guard page, and
    /// to a minimum of 24 KiB.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Pins the green thread: it never leaves the worker on which it starts. That is the worker of
    /// the green thread that spawns it, or any worker. Thread-locals are then as stable for it as
    /// for an OS thread (and shared with all other green threads of that worker).
    ///
    /// A child of a pinned thread is queued, not run at once. A pinned thread waits whenever its
    /// worker is busy, even if others are idle.
    #[doc(alias = "LockOSThread")]
    pub fn pinned(mut self, pinned: bool) -> Self {
        self.pinned = pinned;
        self
    }

    /// Queues the green thread: it is made runnable while its spawner continues, which is Go's and
    /// tokio's order. `spawn` is then not a suspension point.
    pub fn queued(mut self, queued: bool) -> Self {
        self.queued = queued;
        self
    }

    /// Starts a green thread that runs `f`. Otherwise like [`spawn`].
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) if the stack size is more than 1 GiB, or if
    ///   the environment configures the default runtime with invalid values.
    /// - [`OutOfMemory`](io::ErrorKind::OutOfMemory) if no stack can be had; the message names the
    ///   limit that was reached.
    /// - The OS's error when it refuses threads to the default runtime.
    /// - [`Unsupported`](io::ErrorKind::Unsupported) in the child of a `fork` of a process that had
    ///   a runtime.
    ///
    /// # Panics
    ///
    /// If the name contains a NUL byte.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: the types are `Send` and `'static`, so they may be sent and borrow nothing.
        unsafe { start(self.options(Location::caller()), f) }
    }

    /// Starts a green thread whose closure may borrow for as long as the caller guarantees, like
    /// [`std::thread::Builder::spawn_unchecked`]. Otherwise like [`Builder::spawn`].
    ///
    /// # Safety
    ///
    /// The thread must have ended before any data goes away that the closure or its result refers
    /// to. It has ended when [`join`](JoinHandle::join) has returned its result or the payload of
    /// its panic. It has not when `join` returned a message instead, because the thread's runtime
    /// was dropped. ([`scope`](crate::scope) guarantees this by itself.)
    ///
    /// # Errors
    ///
    /// See [`Builder::spawn`].
    ///
    /// # Panics
    ///
    /// If the name contains a NUL byte.
    ///
    /// # Examples
    ///
    /// ```
    /// let text = String::from("borrowed");
    /// // SAFETY: the thread is joined below, before `text` goes, and belongs to the default
    /// // runtime, which never ends.
    /// let thread = unsafe { gthread::Builder::new().spawn_unchecked(|| text.len()) }?;
    /// assert_eq!(thread.join().unwrap(), 8);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub unsafe fn spawn_unchecked<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        // SAFETY: the types are `Send`; the caller guarantees that borrowed data outlives the
        // thread.
        unsafe { start(self.options(Location::caller()), f) }
    }

    #[track_caller]
    pub(crate) fn options(self, site: &'static Location<'static>) -> Options {
        if let Some(name) = self.name.as_ref().filter(|name| name.contains('\0')) {
            panic!("a green thread's name must not contain a NUL byte: {name:?}");
        }
        Options {
            name: self.name.map(String::into_boxed_str),
            stack_size: self.stack_size,
            pinned: self.pinned,
            queued: self.queued,
            site,
            after: None,
        }
    }
}

/// The options of a new green thread.
pub(crate) struct Options {
    name: Option<Box<str>>,
    stack_size: Option<usize>,
    pinned: bool,
    queued: bool,
    site: &'static Location<'static>,
    /// Runs once the thread has finished; also if it never starts.
    pub(crate) after: Option<After>,
}

impl Options {
    #[inline]
    pub(crate) fn new(site: &'static Location<'static>) -> Self {
        Self { name: None, stack_size: None, pinned: false, queued: false, site, after: None }
    }
}

/// Starts a green thread where the caller is: child first in a green thread, queued on a worker,
/// injected into the default runtime from elsewhere.
///
/// # Safety
///
/// `F` and `T` may be sent to another thread, and the data that they borrow outlives the thread:
/// the caller waits for it.
#[inline]
pub(crate) unsafe fn start<F, T>(options: Options, f: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T,
{
    let Some(berth) = context::with(|worker| worker.map(|worker| Berth::on(worker, &options)))
    else {
        // SAFETY: by this function's contract, which is the same.
        return unsafe { start_in_default(options, f) };
    };
    let Berth { shared, slot, id, pinned, parent } = match berth {
        Ok(berth) => berth,
        // A task that is not started is dropped here, where no worker is borrowed, because its drop
        // may suspend.
        Err(Refused::Error(error)) => return Err(error),
        Err(Refused::Violation(violation)) => violation.panic(),
    };
    let attributes =
        Attributes { id, name: options.name, site: options.site, pinned, after: options.after };
    // SAFETY: this is the worker's scheduler, which exists as long as the worker does. The caller
    // does not leave the worker before the child is in the scheduler's hands.
    let shared = unsafe { shared.as_ref() };
    // SAFETY: the scheduler outlives its tasks; this function's contract covers the closure.
    let child = unsafe { TaskRef::new::<F, T>(shared.owner(), slot, attributes, f) };
    // SAFETY: the child was created with result type `T`, and one of its references is the
    // handle's.
    let handle = unsafe { JoinHandle::from_ref(child) };
    match parent {
        // SAFETY: the parent is the task that runs here; `with` has returned, so no worker is
        // borrowed.
        Some(parent) => unsafe { parent.suspend(SwitchRequest::spawned(child.address())) },
        None => handle::queue(child),
    }
    Ok(handle)
}

/// Everything that a child on a worker needs. Once it exists nothing can fail: a task that has
/// begun is seen by dumps, and stays until it has finished.
struct Berth {
    shared: NonNull<Shared>,
    slot: Slot,
    id: NonZeroU64,
    pinned: Option<u32>,
    /// The calling task, if it is to suspend for the child.
    parent: Option<TaskRef>,
}

/// The reason why there is no berth.
enum Refused {
    Error(io::Error),
    Violation(Violation),
}

impl Berth {
    #[inline]
    fn on(worker: &Worker, options: &Options) -> std::result::Result<Self, Refused> {
        let shared = &**worker.shared();
        let parent = worker
            .green()
            .filter(|parent| !options.queued && parent.pinned().is_none() && !worker.is_deep());
        if parent.is_none() {
            if worker.is_held_for_ever() {
                return Err(Refused::Error(fork::error()));
            }
            if !options.queued {
                // Checked here, where a plain spawn does not come by.
                if let Some(violation) = no_switch::violation_on(worker, options.site) {
                    return Err(Refused::Violation(violation));
                }
            }
        }
        let class = match options.stack_size {
            None => shared.config.class,
            asked => shared.class_for(asked).map_err(Refused::Error)?,
        };
        let slot = worker.take_slot(class).map_err(|error| Refused::Error(error.into()))?;
        let pinned = options.pinned.then(|| worker.index());
        if let Some(home) = pinned {
            shared.note_pinned(home);
        }
        Ok(Self { shared: NonNull::from(shared), slot, id: worker.next_id(), pinned, parent })
    }
}

/// Starts a green thread in the default runtime, wherever the caller is.
///
/// # Safety
///
/// As for [`start`].
pub(crate) unsafe fn start_in_default<F, T>(options: Options, f: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T,
{
    // SAFETY: by this function's contract, which is the same.
    unsafe { start_in(boot::default_runtime()?, options, f) }
}

/// Starts a green thread in a given runtime, from outside its workers.
///
/// # Safety
///
/// As for [`start`].
pub(crate) unsafe fn start_in<F, T>(
    shared: &Arc<Shared>,
    options: Options,
    f: F,
) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T,
{
    fork::check()?;
    let (slot, coming) =
        shared.pool().take_and_look_ahead(shared.class_for(options.stack_size)?)?;
    // A thread that starts many from outside begins each of them in memory that another processor
    // wrote last.
    coming.into_iter().for_each(TaskRef::prefetch_to_make);
    let pinned = options.pinned.then(|| shared.any_worker());
    if let Some(home) = pinned {
        shared.note_pinned(home);
    }
    let attributes = Attributes {
        id: id::next_ids(1),
        name: options.name,
        site: options.site,
        pinned,
        after: options.after,
    };
    // SAFETY: the scheduler outlives its tasks; this function's contract covers the closure.
    let child = unsafe { TaskRef::new::<F, T>(shared.owner(), slot, attributes, f) };
    // SAFETY: the child was created with result type `T`, and one of its references is the
    // handle's.
    let handle = unsafe { JoinHandle::from_ref(child) };
    shared.inject(child);
    Ok(handle)
}

/// The right to wait for a green thread to end, like [`std::thread::JoinHandle`].
///
/// Dropping it detaches the thread, which continues.
pub struct JoinHandle<T> {
    /// The handle's reference. Released by hand, together with the result.
    thread: ManuallyDrop<Thread>,
    _result: PhantomData<T>,
}

// SAFETY: as in std. Another thread can only take the result, with `join`, or drop it, with the
// handle. Both take the handle by value, and the result was `Send` when the thread was started (by
// `start`, which creates all handles).
unsafe impl<T> Send for JoinHandle<T> {}
// SAFETY: as above; a shared handle gives access to the `Thread` and the done flag only.
unsafe impl<T> Sync for JoinHandle<T> {}

// Unlike std's: a panic elsewhere can be observed only as the result of `join`.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// Creates a handle.
    ///
    /// # Safety
    ///
    /// The caller passes on one of the two references of `task`, which was created with result type
    /// `T`, and creates one handle only.
    #[inline]
    pub(crate) unsafe fn from_ref(task: TaskRef) -> Self {
        // SAFETY: the caller guarantees that the reference is passed on.
        let thread = ManuallyDrop::new(unsafe { Thread::from_ref(task) });
        Self { thread, _result: PhantomData }
    }

    #[inline]
    pub(crate) fn task(&self) -> TaskRef {
        self.thread.task().expect("only green threads are joined")
    }

    /// Waits for the thread to end and returns its result, or the payload of its panic.
    ///
    /// Returns at once if it has ended already. Otherwise parks the calling green thread, a
    /// suspension point, or blocks the OS thread.
    ///
    /// # Errors
    ///
    /// The payload of the panic that ended the thread; or a message, if its runtime was dropped
    /// before it ended.
    #[track_caller]
    pub fn join(self) -> Result<T> {
        self.join_at(Location::caller())
    }

    #[inline]
    pub(crate) fn join_at(self, site: &'static Location<'static>) -> Result<T> {
        match self.wait(site) {
            Ok(result) => result,
            Err(dropped) => Err(Box::new(dropped.text())),
        }
    }

    /// Waits for the thread to end and returns its result.
    #[inline]
    pub(crate) fn wait(
        self,
        site: &'static Location<'static>,
    ) -> std::result::Result<Result<T>, RuntimeDropped> {
        self.wait_in(Reason::Join, site)
    }

    /// Like [`wait`](Self::wait), for this reason: `Join` or `Run`.
    #[inline]
    pub(crate) fn wait_in(
        self,
        reason: Reason,
        site: &'static Location<'static>,
    ) -> std::result::Result<Result<T>, RuntimeDropped> {
        may_suspend(site);
        // Not detached: the handle's resources are released here, or stay in use for ever.
        let task = ManuallyDrop::new(self).task();
        if !task.join.is_done() {
            wait_until_done(task, reason, site)?;
        }
        // SAFETY: the task is done, so the result and the handle's reference are this function's to
        // take, once.
        unsafe {
            let result = task.take_result();
            handle::release_last(task);
            Ok(result)
        }
    }

    /// Returns `true` if the thread has ended. Never blocks.
    pub fn is_finished(&self) -> bool {
        self.task().join.is_done()
    }

    /// Returns a handle to the thread.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }
}

/// The error that a green thread will never end, because its runtime was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuntimeDropped;

impl RuntimeDropped {
    pub(crate) fn text(self) -> &'static str {
        "the runtime was dropped before this green thread ended"
    }
}

/// Blocks until `task` is done.
#[cold]
fn wait_until_done(
    task: TaskRef,
    reason: Reason,
    site: &'static Location<'static>,
) -> std::result::Result<(), RuntimeDropped> {
    if let Some(violation) = no_switch::violation(site) {
        // The handle is released like one that is dropped.
        match task.join.detach() {
            Detach::Running => violation.panic(),
            Detach::Done => return Ok(()),
        }
    }
    if let Some(joining) = Joining::arm(task, site) {
        // SAFETY: the caller holds the handle, and registers one joiner.
        unsafe { task.set_joiner(joining.wait.waiter()) };
        if task.join.register_joiner() {
            joining.wait.park(reason, None, site);
        } else {
            let _ = joining.wait.cancel();
        }
    }
    if task.join.is_done() { Ok(()) } else { Err(RuntimeDropped) }
}

/// An armed wait for the end of a task. While it exists, a waiter that is not of the task's runtime
/// is registered there, and is woken if the runtime is dropped.
pub(super) struct Joining {
    pub(super) wait: Wait,
    task: TaskRef,
    is_registered: bool,
}

impl Joining {
    /// Returns `None` if the runtime was dropped, so that the task ends no more.
    pub(super) fn arm(task: TaskRef, site: &'static Location<'static>) -> Option<Self> {
        let shared = Shared::of(&task);
        let inside = context::with(|worker| worker.is_some_and(|worker| worker.serves(shared)));
        let wait = Wait::arm(site);
        wait.note_join(task);
        if !inside && !shared.add_joiner(wait.waiter()) {
            let _ = wait.cancel();
            return None;
        }
        Some(Self { wait, task, is_registered: !inside })
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        if self.is_registered {
            Shared::of(&self.task).remove_joiner(self.wait.waiter());
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let task = self.task();
        match task.join.detach() {
            // The reference was given up together with the flag.
            Detach::Running => {}
            // SAFETY: the task is done, so the result and the reference are the handle's to
            // release, once.
            Detach::Done => unsafe {
                task.drop_result();
                handle::release_last(task);
            },
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("thread", &self.thread).finish_non_exhaustive()
    }
}
