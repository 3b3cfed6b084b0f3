//! The promise of a value: how a select hands over what it chose to send before it had it.
//!
//! A select that sends chooses a partner first, and only then computes its value. On a rendezvous
//! channel the partner has then left its queue already; it waits here. If the select gives up instead (its
//! message panicked, say), the partner is told so, and looks for another.

use std::mem;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::park::Wait;
use crate::sched;
use crate::spin::SpinLock;
use crate::task::Reason;
use crate::wait::{Node, Queue, WOKEN};

pub(super) struct Exchange<T> {
    inner: SpinLock<Inner<T>>,
}

struct Inner<T> {
    state: State<T>,
    /// The one who waits for the value, if it came first.
    receiver: Queue,
}

enum State<T> {
    Promised,
    Kept(T),
    /// Taken, or never to come.
    Over,
}

impl<T> Exchange<T> {
    pub(super) fn new() -> Arc<Self> {
        let inner = Inner { state: State::Promised, receiver: Queue::new() };
        Arc::new(Self { inner: SpinLock::new(inner) })
    }

    /// Keeps the promise.
    pub(super) fn keep(&self, value: T) {
        self.settle(State::Kept(value));
    }

    /// Takes the promise back.
    pub(super) fn break_off(&self) {
        self.settle(State::Over);
    }

    fn settle(&self, state: State<T>) {
        let mut inner = self.inner.lock();
        inner.state = state;
        let wake = inner.receiver.claim_one(WOKEN);
        drop(inner);
        wake.into_iter().for_each(sched::wake);
    }

    /// Waits for the value: `None` if it does not come.
    pub(super) fn receive(&self, site: &'static Location<'static>) -> Option<T> {
        loop {
            let mut inner = self.inner.lock();
            match mem::replace(&mut inner.state, State::Over) {
                State::Kept(value) => return Some(value),
                State::Over => return None,
                State::Promised => inner.state = State::Promised,
            }
            let (mut inner, wait) = Wait::in_queue(inner, None, site);
            let mut node = Node::new(wait.waiter(), ptr::null_mut());
            // SAFETY: the node stays in this frame until it is claimed: there is no deadline.
            unsafe { inner.receiver.push(NonNull::from(&mut node)) };
            wait.park_unlocking(inner, Reason::Recv, None, site);
        }
    }

    /// Gives up the claim to the value. If it is there already it is leaked: this may be a thread that
    /// must not touch it (see `SelectedOperation`).
    pub(super) fn decline(&self) {
        let mut inner = self.inner.lock();
        if let State::Kept(value) = mem::replace(&mut inner.state, State::Over) {
            mem::forget(value);
        }
    }
}
