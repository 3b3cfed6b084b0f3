//! The part of a context that ends: a tree, in which the end goes from the top to the bottom.
//!
//! Invariants:
//! - A scope keeps its parent; a parent knows its children, and does not keep them. A child that is dropped
//!   takes itself out.
//! - `ended` is written once, under the lock, in which the children are taken out too. A child enters
//!   under the same lock, and finds out there if it is too late. So each child is either told or knows.
//! - The channel is disconnected after `ended` was written, and before the children are told: whoever sees
//!   a scope done finds out why, and finds those above it done.
//! - A deadline is nobody's timer. Whoever asks after it has passed ends the topmost scope that it ends, so
//!   that all below agree with it why.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::{Cause, Error};
use crate::channel::{Receiver, Signal};
use crate::prim::{Mutex, lock};

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
    next_key: u64,
}

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
        let key = state.next_key;
        state.next_key += 1;
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

    /// Ends it and all below, if it has not ended. Gives how it has.
    pub(super) fn end(&self, how: Ended) -> Ended {
        let mut below = match self.end_alone(&how) {
            Ok(children) => children,
            Err(before) => return before,
        };
        // Not by recursion: contexts can be nested deeper than a stack is.
        while let Some(child) = below.pop() {
            let Some(child) = child.upgrade() else { continue };
            below.extend(child.end_alone(&how).unwrap_or_default());
        }
        how
    }

    /// Ends this one, and gives the children, who are to be told. If it has ended, gives how.
    fn end_alone(&self, how: &Ended) -> Result<Vec<Weak<Self>>, Ended> {
        let mut state = lock(&self.state);
        if let Some(before) = &state.ended {
            return Err(before.clone());
        }
        state.ended = Some(how.clone());
        let children = std::mem::take(&mut state.children);
        drop(state);
        self.signal.raise();
        // In the order in which they were derived, once the last is taken first.
        Ok(children.into_values().rev().collect())
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
    }
}
