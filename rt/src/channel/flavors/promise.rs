//! The promise of a value at a rendezvous: a select that sends chooses its partner before it has a
//! value.
//!
//! A select that sends chooses its partner first, and only then computes its value. By then the
//! partner has left its queue, and waits here with a place for the value. If the select gives up
//! (for example because the message expression panicked), the partner looks for another sender, for
//! as long as it may still wait.
//!
//! ```text
//!   PENDING -> KEPT        the sender has moved its value to the place, which is the receiver's
//!   PENDING -> BROKEN      the sender has given up
//!   PENDING -> DECLINED    the receiver has given up (it dropped its `SelectedOperation`);
//!                          the sender drops the value
//!   PENDING -> WITHDRAWN   the receiver has found that the sender will never run again, or that it
//!                          will not itself; a sender that runs nevertheless keeps its value,
//!                          and finds another partner
//! ```
//!
//! Invariants:
//! - All state changes happen under one lock. PENDING is left once, and the side that leaves it
//!   touches the state no more.
//! - The place belongs to the receiver, and stays valid until PENDING is left. The sender writes to
//!   it only under the lock, and only while the state is PENDING. So a value is in one place at any
//!   time, and is never in the promise itself: what is left of a promise can be dropped by any
//!   thread.

use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::channel::flavors::buffer::move_out;
use crate::runtime::handle;
use crate::runtime::shared::Shared;
use crate::task::header::TaskRef;
use crate::task::wait_info::Reason;
use crate::task::wait_state::TIMED_OUT;
use crate::util::spin_lock::{SpinGuard, SpinLock};
use crate::wait::park::{Wait, interrupted};
use crate::wait::queue::{Node, Queue, WOKEN};

pub(crate) struct Promise {
    inner: SpinLock<Inner>,
    /// The runtime of the select that promises, if it may end before the receiver does.
    promiser: Option<Arc<Shared>>,
}

struct Inner {
    state: State,
    /// Where the value goes.
    place: *mut (),
    /// The receiver's node, if the receiver waits.
    receiver: Queue,
}

// SAFETY: the place is written to under the lock, by the sender's thread, as the invariants say;
// the queue is `Send`.
unsafe impl Send for Inner {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Kept,
    Broken,
    Declined,
    Withdrawn,
}

/// The sender's side. Dropping it breaks the promise.
#[must_use = "a promise is broken when it is dropped"]
pub(crate) struct Promiser(Arc<Promise>);

/// The receiver's side. Dropping it declines the value.
#[must_use = "a value is declined when this is dropped"]
pub(crate) struct Promised(Arc<Promise>);

/// The receiver's side with a place of its own, for a select that has not received the value yet.
#[must_use = "a value is declined when this is dropped"]
pub(crate) struct Awaited<T> {
    // Dropped first: the sender must not write to the place once the place is freed.
    promised: Promised,
    place: Box<MaybeUninit<T>>,
}

/// Creates a promise of a value that goes to `place`.
///
/// # Safety
///
/// The place is valid for writes of a value of the channel, and stays so until [`Promised`] is
/// dropped or has moved to another place.
pub(crate) unsafe fn promise(
    place: *mut (),
    promiser: Option<TaskRef>,
    receiver: Option<TaskRef>,
) -> (Promiser, Promised) {
    // Threads of one runtime end together, so there is nothing to watch for.
    let promiser = promiser
        .filter(|promiser| !receiver.is_some_and(|receiver| promiser.owner() == receiver.owner()));
    let promiser = promiser.map(Shared::count_of);
    let inner = Inner { state: State::Pending, place, receiver: Queue::new() };
    let promise = Arc::new(Promise { inner: SpinLock::new(inner), promiser });
    (Promiser(Arc::clone(&promise)), Promised(promise))
}

impl Promise {
    /// Leaves PENDING, and wakes the receiver.
    fn settle(mut inner: SpinGuard<'_, Inner>, state: State) {
        inner.state = state;
        let wake = inner.receiver.claim_one(WOKEN);
        drop(inner);
        wake.into_iter().for_each(handle::wake);
    }
}

impl Promiser {
    /// Keeps the promise, unless it was withdrawn; the value then stays where it is. If the promise
    /// was declined, the value is dropped here, on the sender's thread.
    ///
    /// # Safety
    ///
    /// The promise is of a channel of `T`.
    pub(crate) unsafe fn keep<T>(self, value: &mut Option<T>) {
        let inner = self.0.inner.lock();
        match inner.state {
            State::Pending => {
                // SAFETY: the caller guarantees that the place is for a `T`; the state is pending
                // under the lock, so the place is valid for writes and holds no value.
                unsafe { move_out(value, inner.place.cast()) };
                Promise::settle(inner, State::Kept);
            }
            State::Declined => {
                drop(inner);
                *value = None;
            }
            State::Withdrawn | State::Kept | State::Broken => {}
        }
    }

    /// Turns the promiser into a raw pointer that owns it.
    pub(crate) fn into_raw(self) -> *const () {
        Arc::as_ptr(&ManuallyDrop::new(self).0).cast()
    }

    /// Turns the raw pointer back into the promiser.
    ///
    /// # Safety
    ///
    /// `raw` is from [`Promiser::into_raw`], and is used once.
    pub(crate) unsafe fn from_raw(raw: *const ()) -> Self {
        // SAFETY: the caller guarantees that `raw` is from `into_raw`, and is used once.
        Self(unsafe { Arc::from_raw(raw.cast()) })
    }
}

impl Drop for Promiser {
    fn drop(&mut self) {
        let inner = self.0.inner.lock();
        if inner.state == State::Pending {
            Promise::settle(inner, State::Broken);
        }
    }
}

impl Drop for Promised {
    fn drop(&mut self) {
        let mut inner = self.0.inner.lock();
        if inner.state == State::Pending {
            inner.state = State::Declined;
        }
    }
}

impl Promised {
    /// Turns the promiser into a raw pointer that owns it.
    pub(crate) fn into_raw(self) -> *const () {
        Arc::as_ptr(&ManuallyDrop::new(self).0).cast()
    }

    /// Turns the raw pointer back into this side.
    ///
    /// # Safety
    ///
    /// `raw` is from [`Promised::into_raw`], and is used once.
    pub(crate) unsafe fn from_raw(raw: *const ()) -> Self {
        // SAFETY: the caller guarantees that `raw` is from `into_raw`, and is used once.
        Self(unsafe { Arc::from_raw(raw.cast()) })
    }

    /// Redirects the value to a new place of its own. Returns `self` as an error if the value has
    /// already come to the old place.
    ///
    /// # Safety
    ///
    /// The promise is of a channel of `T`.
    pub(crate) unsafe fn move_place<T>(self) -> Result<Awaited<T>, Self> {
        let mut place = Box::<T>::new_uninit();
        let mut inner = self.0.inner.lock();
        if inner.state == State::Kept {
            drop(inner);
            return Err(self);
        }
        inner.place = place.as_mut_ptr().cast();
        drop(inner);
        Ok(Awaited { promised: self, place })
    }

    /// Waits until the promise is settled. Returns `true` if the value is in the place.
    ///
    /// There is no deadline: the sender has already been notified that its value will be taken.
    pub(crate) fn wait(&self, site: &'static Location<'static>) -> bool {
        // The promiser's runtime may be dropped without settling the promise. It then notifies the
        // threads registered as its joiners.
        let theirs = self.0.promiser.as_deref();
        loop {
            let inner = self.0.inner.lock();
            match inner.state {
                State::Pending => {}
                State::Kept => return true,
                _ => return false,
            }
            let (mut inner, wait) = match theirs {
                None => Wait::in_queue(inner, None, site),
                Some(_) => Wait::arm_under(inner, site),
            };
            let wait = wait.interruptible();
            let mut node = Node::new(wait.waiter(), ptr::null_mut());
            let node = NonNull::from(&mut node);
            // SAFETY: the node stays in this frame until it is claimed, or removed below.
            unsafe { inner.receiver.push(node) };
            let mut lives = true;
            let op = if let Some(theirs) = theirs {
                drop(inner);
                lives = theirs.add_joiner(wait.waiter());
                if lives {
                    let op = wait.park_or_withdraw(Reason::Recv, None, site);
                    theirs.remove_joiner(wait.waiter());
                    op
                } else {
                    wait.cancel().unwrap_or(WOKEN)
                }
            } else {
                wait.park_unlocking_or_withdraw(inner, Reason::Recv, None, site)
            };
            let mut inner = self.0.inner.lock();
            // SAFETY: the node was pushed to this queue above, and is alive.
            unsafe { inner.receiver.remove(node) };
            // Either the promiser or this thread does not go on.
            if inner.state == State::Pending && (!lives || op == TIMED_OUT) {
                inner.state = State::Withdrawn;
            }
            drop(inner);
            if op == TIMED_OUT && wait.withdrawn() == TIMED_OUT {
                interrupted(site);
            }
        }
    }
}

impl<T> Awaited<T> {
    /// Waits as [`Promised::wait`]. Returns the place with the value, or `None` if the value does
    /// not come.
    pub(crate) fn wait(self, site: &'static Location<'static>) -> Option<Box<MaybeUninit<T>>> {
        self.promised.wait(site).then_some(self.place)
    }

    /// Turns this into two raw pointers that own it.
    pub(crate) fn into_raw(self) -> [*const (); 2] {
        [self.promised.into_raw(), Box::into_raw(self.place).cast_const().cast()]
    }

    /// Turns the two raw pointers back into this.
    ///
    /// # Safety
    ///
    /// The pointers are from [`Awaited::into_raw`] of the same `T`, and are used once.
    pub(crate) unsafe fn from_raw([promised, place]: [*const (); 2]) -> Self {
        // SAFETY: the caller guarantees that both pointers are from `into_raw` of the same `T`, and
        // are used once.
        unsafe {
            let place = Box::from_raw(place.cast_mut().cast());
            Self { promised: Promised::from_raw(promised), place }
        }
    }
}
