//! Handles to threads, green or not.

use std::fmt;
use std::num::NonZeroU64;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::runtime::{context, handle};
use crate::task::header::TaskRef;
use crate::task::os_thread::OsThread;
use crate::wait::park::{unpark_green, unpark_os};

/// A unique identifier of a running thread, green or not, like [`std::thread::ThreadId`].
///
/// Never reused in the life of the process. Green threads and OS threads share one sequence, which
/// is not std's: the id of an OS thread here differs from its [`std::thread::ThreadId`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ThreadId(NonZeroU64);

/// A handle to a thread, green or not, like [`std::thread::Thread`].
///
/// A handle keeps the stack of an ended green thread from being reused: one page of memory.
pub struct Thread(Kind);

enum Kind {
    /// Holds one reference of the join word.
    Green(TaskRef),
    Os(Arc<OsThread>),
}

// SAFETY: a handle only reads the fields of the task that never change, and the atomic state words.
// The reference that it holds keeps the task alive.
unsafe impl Send for Thread {}
// SAFETY: as for `Send`; a shared handle accesses the same fields.
unsafe impl Sync for Thread {}

// As in std: a panic elsewhere leaves no partial change here.
impl UnwindSafe for Thread {}
impl RefUnwindSafe for Thread {}

impl Thread {
    /// Takes over a reference to `task`.
    ///
    /// # Safety
    ///
    /// The caller holds that reference and passes it on.
    pub(crate) unsafe fn from_ref(task: TaskRef) -> Self {
        Self(Kind::Green(task))
    }

    /// Returns the green thread, if it is one.
    pub(crate) fn task(&self) -> Option<TaskRef> {
        match &self.0 {
            Kind::Green(task) => Some(*task),
            Kind::Os(_) => None,
        }
    }

    /// Makes the thread's token available: wakes it from [`park`](crate::park), or makes its
    /// next `park` return at once. Never blocks; may be called from any thread, at any time.
    pub fn unpark(&self) {
        match &self.0 {
            Kind::Green(task) => unpark_green(*task),
            Kind::Os(thread) => unpark_os(thread),
        }
    }

    /// Returns the thread's unique identifier.
    pub fn id(&self) -> ThreadId {
        ThreadId(match &self.0 {
            Kind::Green(task) => task.id,
            Kind::Os(thread) => thread.id,
        })
    }

    /// Returns the name given with [`Builder::name`](crate::Builder::name), or the OS thread's
    /// name.
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Kind::Green(task) => task.as_ref().name.as_deref(),
            Kind::Os(thread) => thread.thread.name(),
        }
    }
}

impl Clone for Thread {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Kind::Green(task) => {
                task.join.retain();
                Kind::Green(*task)
            }
            Kind::Os(thread) => Kind::Os(Arc::clone(thread)),
        })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Kind::Green(task) = &self.0 {
            // SAFETY: the reference is the handle's own, and is released once, together with it.
            unsafe { handle::release(*task) };
        }
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// Returns a handle to the calling thread, green or not, like [`std::thread::current`].
///
/// # Examples
///
/// ```
/// let named = gthread::Builder::new()
///     .name("worker bee".into())
///     .spawn(|| gthread::current().name().map(str::to_owned))
///     .unwrap();
/// assert_eq!(named.join().unwrap().as_deref(), Some("worker bee"));
/// ```
pub fn current() -> Thread {
    match context::with(|worker| worker.and_then(|worker| worker.running())) {
        Some(task) => {
            task.join.retain();
            Thread(Kind::Green(task))
        }
        None => Thread(Kind::Os(OsThread::current())),
    }
}
