//! The part of a context that ends: a tree, in which the end goes from the top to the bottom.
//!
//! Invariants:
//! - A scope keeps its parent; a parent knows its children, and does not keep them. A child that is dropped
//!   takes itself out.
//! - `ended` is written once, under the lock, in which the children are taken out too. A child enters
//!   under the same lock, and finds out there if it is too late. So each child is either told or knows.
//! - The channel is disconnected after `ended` was written, and before the children are told: whoever sees
//!   a scope done finds out why, and finds those above it done.
//! - What is to be called in the end is started after the channel was disconnected, at the end of all: it is the user's
//!   code, and may look at any of them. A call enters under the lock too, so it is started once, by whoever ends the
//!   scope, or finds out that it is too late.
//! - A deadline is nobody's timer. Whoever asks after it has passed ends the topmost scope that it ends, so
//!   that all below agree with it why.

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
    /// Where it has this child, unless it has ended.
    key: u64,
}

#[derive(Default)]
struct State {
    ended: Option<Ended>,
    children: BTreeMap<u64, Weak<Scope>>,
    /// What is to be called in the end.
    calls: BTreeMap<u64, Arc<Call>>,
    /// Of children and calls.
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

/// What is left to do when a scope has ended: its children are to be told, its calls to be made.
type Left = (Vec<Weak<Scope>>, Vec<Arc<Call>>);

/// When a scope ends at the latest.
pub(super) struct Expiry {
    pub(super) at: Instant,
    pub(super) cause: Option<Cause>,
}

/// How a scope has ended.
#[derive(Clone)]
pub(super) struct Ended {
    pub(super) error: Error,
    pub(super) cause: Option<Cause>,
}

impl Scope {
    /// A child of `parent`, which has ended if that has.
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
        // The child keeps the parent, and is known to it before anyone else has it.
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

    /// How it has ended, if it has.
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

    /// Ends it because its deadline has passed.
    fn expire(&self, expiry: &Arc<Expiry>) {
        // The topmost that has this deadline decides: perhaps it was cancelled just before.
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

    /// Has a call made in the end. Gives its key; none if that is too late.
    ///
    /// # Errors
    ///
    /// If a thread that waits for the deadline is needed, and cannot be had.
    pub(super) fn call_at_end(self: &Arc<Self>, call: &Arc<Call>) -> io::Result<Option<u64>> {
        if self.ended().is_some() {
            return Ok(None);
        }
        let mut state = lock(&self.state);
        if state.ended.is_some() {
            return Ok(None);
        }
        if self.expiry.is_some() && !state.watched {
            // With the lock held, so that nobody relies on a thread that cannot be had. It is not waited for.
            watch(self, call.site)?;
            state.watched = true;
        }
        let key = state.key();
        state.calls.insert(key, Arc::clone(call));
        Ok(Some(key))
    }

    /// The call need not be made.
    pub(super) fn forget_call(&self, key: u64) {
        let call = lock(&self.state).calls.remove(&key);
        drop(call);
    }

    /// Ends it and all below, if it has not ended. Gives how it has.
    pub(super) fn end(&self, how: Ended) -> Ended {
        let (mut below, mut calls) = match self.end_alone(&how) {
            Ok(ended) => ended,
            Err(before) => return before,
        };
        // Not by recursion: contexts can be nested deeper than a stack is.
        while let Some(child) = below.pop() {
            let Some(child) = child.upgrade() else { continue };
            let (children, more) = child.end_alone(&how).unwrap_or_default();
            below.extend(children);
            calls.extend(more);
        }
        calls.into_iter().for_each(Call::start);
        how
    }

    /// Ends this one, and gives the children, who are to be told, and what is to be called. If it has ended, gives how.
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
        // In the order in which they were derived, once the last is taken first.
        Ok((children.into_values().rev().collect(), calls.into_values().collect()))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // Those above that nobody else keeps, one by one: their drops would nest.
        let mut parent = self.parent.take();
        while let Some(Parent { scope, key }) = parent {
            lock(&scope.state).children.remove(&key);
            parent = Arc::into_inner(scope).and_then(|mut scope| scope.parent.take());
        }
        let calls = std::mem::take(&mut lock(&self.state).calls);
        // One whose deadline has passed has ended, though nobody was there to say so.
        if self.expiry.as_ref().is_some_and(|expiry| Instant::now() >= expiry.at) {
            calls.into_values().for_each(Call::start);
        }
    }
}

/// Starts a thread that ends a scope when its deadline has passed. In the default runtime, which is not dropped: a context
/// may outlive the runtime in which it is watched first.
fn watch(scope: &Arc<Scope>, site: &'static Location<'static>) -> io::Result<()> {
    // Not the scope itself: it would never be gone then.
    let (done, scope) = (scope.done().clone(), Arc::downgrade(scope));
    let watch = move || {
        let _ = done.recv();
        if let Some(scope) = Weak::upgrade(&scope) {
            scope.ended();
        }
    };
    // SAFETY: the closure is `Send` and `'static`, and so is its result.
    unsafe { spawn::start_in_default(Options::new(site), watch) }.map(drop)
}
