//! The part of a context that ends: a tree, in which the end is passed down from the top.
//!
//! Invariants:
//! - A scope keeps its parent alive. A parent knows its children, and does not keep them alive. A
//!   child that is dropped removes itself from its parent.
//! - `ended` is written once, under the lock; the children are taken out under the same lock. A
//!   child enters under that lock too, and finds out there if it is too late. So each child is
//!   either notified or knows.
//! - The channel is disconnected after `ended` was written, and before the children are notified.
//!   So a thread that sees a scope done can query the reason, and sees the scopes above it done.
//! - Calls are started after the channel was disconnected, at the very end: they are the user's
//!   code, and may look at any of the scopes. A call enters under the lock too. So it is either
//!   started once, by the thread that ends the scope, or finds out that it is too late.
//! - A deadline has no timer. A thread that queries a scope after the deadline has passed ends the
//!   topmost scope with this deadline, so that all scopes below agree with it on the reason.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::channel::{Receiver, Signal};
use crate::context::call::Call;
use crate::context::error::{Cause, Error};
use crate::loom::{Mutex, lock};
use crate::thread::spawn::{self, Options};

pub(super) struct Scope {
    parent: Option<Parent>,
    /// Its own deadline, or the parent's if that is not later.
    expiry: Option<Arc<Expiry>>,
    state: Mutex<State>,
    signal: Signal,
    done: Receiver<Infallible>,
}

struct Parent {
    scope: Arc<Scope>,
    /// The child's key in the parent, unless the parent has ended.
    key: u64,
}

#[derive(Default)]
struct State {
    ended: Option<Ended>,
    children: BTreeMap<u64, Weak<Scope>>,
    /// The calls to be made at the end.
    calls: BTreeMap<u64, Arc<Call>>,
    /// The last key given to a child or a call.
    next_key: u64,
    /// A thread waits for the deadline.
    watched: bool,
}

impl State {
    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }
}

/// The work left to do when a scope has ended: its children are to be notified, its calls to be
/// made.
type Left = (Vec<Weak<Scope>>, Vec<Arc<Call>>);

/// The moment when a scope ends at the latest.
pub(super) struct Expiry {
    pub(super) at: Instant,
    pub(super) cause: Option<Cause>,
}

/// The reason why a scope has ended.
#[derive(Clone)]
pub(super) struct Ended {
    pub(super) error: Error,
    pub(super) cause: Option<Cause>,
}

impl Scope {
    /// Creates a child of `parent`, which has ended if the parent has.
    pub(super) fn derive(parent: Option<&Arc<Self>>, expiry: Option<Expiry>) -> Arc<Self> {
        let inherited = parent.and_then(|parent| parent.expiry.clone());
        let expiry = match (inherited, expiry) {
            (Some(inherited), Some(own)) if inherited.at <= own.at => Some(inherited),
            (_, Some(own)) => Some(Arc::new(own)),
            (inherited, None) => inherited,
        };
        let (signal, done) = Signal::new(expiry.as_ref().map(|expiry| expiry.at));
        let Some(parent) = parent else {
            return Arc::new(Self { parent: None, expiry, state: Mutex::default(), signal, done });
        };
        // The child keeps the parent alive, and is known to it before any other thread has the
        // child.
        let mut state = lock(&parent.state);
        let key = state.key();
        let child = Arc::new(Self {
            parent: Some(Parent { scope: Arc::clone(parent), key }),
            expiry,
            state: Mutex::default(),
            signal,
            done,
        });
        let ended = state.ended.clone();
        if ended.is_none() {
            state.children.insert(key, Arc::downgrade(&child));
        }
        drop(state);
        if let Some(ended) = ended {
            child.end(ended);
        }
        child
    }

    pub(super) fn expiry(&self) -> Option<&Expiry> {
        self.expiry.as_deref()
    }

    pub(super) fn done(&self) -> &Receiver<Infallible> {
        &self.done
    }

    /// Returns how the scope has ended, if it has.
    pub(super) fn ended(&self) -> Option<Ended> {
        if !self.signal.is_raised() {
            let expiry = self.expiry.as_ref()?;
            if Instant::now() < expiry.at {
                return None;
            }
            self.expire(expiry);
        }
        lock(&self.state).ended.clone()
    }

    /// Ends the scope because its deadline has passed.
    fn expire(&self, expiry: &Arc<Expiry>) {
        // The topmost scope with this deadline decides: it may have been cancelled just before.
        let has_it = |scope: &Self| scope.expiry.as_ref().is_some_and(|e| Arc::ptr_eq(e, expiry));
        let mut chain = vec![self];
        while let Some(parent) = &chain[chain.len() - 1].parent {
            if !has_it(&parent.scope) {
                break;
            }
            chain.push(&parent.scope);
        }
        let exceeded = Ended { error: Error::DeadlineExceeded, cause: expiry.cause.clone() };
        chain.into_iter().rev().fold(exceeded, |ended, scope| scope.end(ended));
    }

    /// Arranges for a call to be made at the end. Returns its key, or `None` if the scope has ended
    /// already.
    ///
    /// # Errors
    ///
    /// If a thread that waits for the deadline is needed, and cannot be started.
    pub(super) fn call_at_end(self: &Arc<Self>, call: &Arc<Call>) -> io::Result<Option<u64>> {
        if self.ended().is_some() {
            return Ok(None);
        }
        let mut state = lock(&self.state);
        if state.ended.is_some() {
            return Ok(None);
        }
        if self.expiry.is_some() && !state.watched {
            // Under the lock, so that no other call relies on a thread that cannot be started. This
            // does not wait for the thread.
            watch(self, call.site)?;
            state.watched = true;
        }
        let key = state.key();
        state.calls.insert(key, Arc::clone(call));
        Ok(Some(key))
    }

    /// Removes a call, which need not be made any more.
    pub(super) fn forget_call(&self, key: u64) {
        let call = lock(&self.state).calls.remove(&key);
        drop(call);
    }

    /// Ends the scope and all scopes below, if it has not ended. Returns how it has ended.
    pub(super) fn end(&self, how: Ended) -> Ended {
        let (mut below, mut calls) = match self.end_alone(&how) {
            Ok(ended) => ended,
            Err(before) => return before,
        };
        // Not by recursion: contexts can be nested more deeply than the stack allows.
        while let Some(child) = below.pop() {
            let Some(child) = child.upgrade() else { continue };
            let (children, more) = child.end_alone(&how).unwrap_or_default();
            below.extend(children);
            calls.extend(more);
        }
        calls.into_iter().for_each(Call::start);
        how
    }

    /// Ends this scope only, and returns the children to be notified and the calls to be made. If
    /// it has ended already, returns how.
    fn end_alone(&self, how: &Ended) -> Result<Left, Ended> {
        let mut state = lock(&self.state);
        if let Some(before) = &state.ended {
            return Err(before.clone());
        }
        state.ended = Some(how.clone());
        let children = std::mem::take(&mut state.children);
        let calls = std::mem::take(&mut state.calls);
        drop(state);
        self.signal.raise();
        // The last child is popped first, so the children are notified in the order in which they
        // were derived.
        Ok((children.into_values().rev().collect(), calls.into_values().collect()))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // Drops the ancestors that only this scope keeps alive, one by one: otherwise their drops
        // would nest.
        let mut parent = self.parent.take();
        while let Some(Parent { scope, key }) = parent {
            lock(&scope.state).children.remove(&key);
            parent = Arc::into_inner(scope).and_then(|mut scope| scope.parent.take());
        }
        let calls = std::mem::take(&mut lock(&self.state).calls);
        // A scope whose deadline has passed has ended, even if no thread has noticed that before.
        if self.expiry.as_ref().is_some_and(|expiry| Instant::now() >= expiry.at) {
            calls.into_values().for_each(Call::start);
        }
    }
}

/// Starts a thread that ends a scope when its deadline has passed. It runs in the default runtime,
/// which is never dropped: a context may outlive the runtime in which it is first watched.
fn watch(scope: &Arc<Scope>, site: &'static Location<'static>) -> io::Result<()> {
    // A weak reference, because the thread would otherwise keep the scope alive.
    let (done, scope) = (scope.done().clone(), Arc::downgrade(scope));
    let watch = move || {
        let _ = done.recv();
        if let Some(scope) = Weak::upgrade(&scope) {
            scope.ended();
        }
    };
    // SAFETY: the closure and its result are `Send` and `'static`, so they may be sent and borrow
    // nothing.
    unsafe { spawn::start_in_default(Options::new(site), watch) }.map(drop)
}
