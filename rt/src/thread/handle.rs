//! Handles to threads, green or not.

use std::fmt;
use std::num::NonZeroU64;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::runtime::{context, handle};
use crate::task::header::TaskRef;
use crate::task::os_thread::OsThread;
use crate::wait::park::{unpark_green, unpark_os};

/// A unique identifier of a running thread, green or not, as [`std::thread::ThreadId`].
///
/// Never reused in the life of the process. Green threads and OS threads share one sequence, which is
/// not std's: the id of an OS thread here is not its [`std::thread::ThreadId`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ThreadId(NonZeroU64);

/// A handle to a thread, green or not, as [`std::thread::Thread`].
///
/// A handle keeps the stack of a green thread that has ended from being reused: one page of memory.
pub struct Thread(Kind);

enum Kind {
    /// Holds one reference of the join word.
    Green(TaskRef),
    Os(Arc<OsThread>),
}

// SAFETY: a handle reads the fields of the task that never change, and the atomic state words; the
// reference it holds keeps the task.
unsafe impl Send for Thread {}
// SAFETY: as above.
unsafe impl Sync for Thread {}

// As std's: a panic elsewhere leaves nothing half done here.
impl UnwindSafe for Thread {}
impl RefUnwindSafe for Thread {}

impl Thread {
    /// Takes over a reference to `task`.
    ///
    /// # Safety
    ///
    /// The caller holds that reference and gives it up.
    pub(crate) unsafe fn from_ref(task: TaskRef) -> Self {
        Self(Kind::Green(task))
    }

    /// The green thread.
    pub(crate) fn task(&self) -> Option<TaskRef> {
        match &self.0 {
            Kind::Green(task) => Some(*task),
            Kind::Os(_) => None,
        }
    }

    /// Makes the thread's token available: wakes it from [`park`](crate::wait::park), or makes its next
    /// `park` return at once. Never blocks; may be called from any thread, at any time.
    pub fn unpark(&self) {
        match &self.0 {
            Kind::Green(task) => unpark_green(*task),
            Kind::Os(thread) => unpark_os(thread),
        }
    }

    /// The thread's unique identifier.
    pub fn id(&self) -> ThreadId {
        ThreadId(match &self.0 {
            Kind::Green(task) => task.id,
            Kind::Os(thread) => thread.id,
        })
    }

    /// The name given with [`Builder::name`](crate::Builder::name), or an OS thread's.
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
            // SAFETY: the handle's own reference, given up with it.
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

/// A handle to the thread that calls, green or not, as [`std::thread::current`].
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
