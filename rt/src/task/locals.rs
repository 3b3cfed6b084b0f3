//! The values that a thread keeps in its `green_local!`s: a list of values, each with its key. The
//! list is one word while it is empty.
//!
//! Invariants:
//! - Only the thread itself touches its list and the values. A value stays in place on the heap
//!   from its initialization until the thread ends all values, which is the last that it does.
//! - A key has at most one node. The node of a dropped value stays until all values are dropped, so
//!   that the drop of another value that asks for it meanwhile learns that it is gone.
//! - A value has the type of its key, and a key has one type.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// The identity of a variable: the address of an object that exists for ever, and so has one type
/// for ever. It must be neither a constant nor of size zero: the compiler may put equal ones of
/// these, of different types, in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(*const ());

impl Key {
    pub(crate) fn of<T>(variable: &'static T) -> Self {
        Self(ptr::from_ref(variable).cast())
    }
}

/// The value is being dropped, or was.
#[derive(Debug)]
pub(crate) struct Gone;

/// The values of one thread, the newest first.
pub(crate) struct Locals {
    newest: Cell<Option<NonNull<Head>>>,
}

/// The beginning of a node, independent of the value's type.
struct Head {
    key: Key,
    older: Option<NonNull<Head>>,
    /// Whether the value has not been dropped yet.
    alive: Cell<bool>,
    drop_value: unsafe fn(NonNull<Head>),
    free: unsafe fn(NonNull<Head>),
}

#[repr(C)]
struct Node<T> {
    head: Head,
    value: ManuallyDrop<T>,
}

impl<T> Node<T> {
    /// Drops the value.
    ///
    /// # Safety
    ///
    /// The node has a value of this type, which is not used again.
    unsafe fn drop_value(head: NonNull<Head>) {
        // SAFETY: the caller guarantees that the value has this type and is not used again. The
        // rest of the node stays as it is, because the value's drop may look at it.
        unsafe { ManuallyDrop::drop(&mut (*head.cast::<Self>().as_ptr()).value) };
    }

    /// Frees the node.
    ///
    /// # Safety
    ///
    /// The node was made with this type, and is not used again.
    unsafe fn free(head: NonNull<Head>) {
        // SAFETY: the node has this type and is not used again, says the caller. Nodes come from
        // `Box::leak`.
        drop(unsafe { Box::from_raw(head.cast::<Self>().as_ptr()) });
    }
}

impl Locals {
    pub(crate) const fn new() -> Self {
        Self { newest: Cell::new(None) }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.newest.get().is_none()
    }

    /// Returns the value of `key`, initializing it with `init` if it is missing. If `init` itself
    /// has asked for the value and so initialized it, that value is returned.
    ///
    /// The value is valid until [`end`](Self::end) drops it. `init` may panic, and may use the
    /// list.
    ///
    /// # Safety
    ///
    /// `T` is the type of `key`. The caller is the thread that the list belongs to.
    pub(crate) unsafe fn get<T>(
        &self,
        key: Key,
        init: impl FnOnce() -> T,
    ) -> Result<NonNull<T>, Gone> {
        let node = match self.find(key) {
            Some(node) => node,
            None => {
                let value = init();
                match self.find(key) {
                    Some(node) => node,
                    None => self.add(key, value),
                }
            }
        };
        // SAFETY: nodes in the list exist. The node of this key has a `T`. Its value's address is
        // not null.
        unsafe {
            if !node.as_ref().alive.get() {
                return Err(Gone);
            }
            let value = &raw mut (*node.cast::<Node<T>>().as_ptr()).value;
            Ok(NonNull::new_unchecked(value).cast())
        }
    }

    fn find(&self, key: Key) -> Option<NonNull<Head>> {
        let mut place = self.newest.get();
        while let Some(node) = place {
            // SAFETY: nodes in the list exist.
            let head = unsafe { node.as_ref() };
            if head.key == key {
                break;
            }
            place = head.older;
        }
        place
    }

    fn add<T>(&self, key: Key, value: T) -> NonNull<Head> {
        let head = Head {
            key,
            older: self.newest.get(),
            alive: Cell::new(true),
            drop_value: Node::<T>::drop_value,
            free: Node::<T>::free,
        };
        let node = Box::leak(Box::new(Node { head, value: ManuallyDrop::new(value) }));
        let node = NonNull::from(node).cast();
        self.newest.set(Some(node));
        node
    }

    /// Drops all values, the newest first, including values that are initialized meanwhile. The
    /// drops may do anything except panic, so the place of the call must allow that. Other values
    /// may be initialized afterwards.
    ///
    /// # Safety
    ///
    /// The caller is the thread that the list belongs to, and no value is in use.
    pub(crate) unsafe fn drop_values(&self) {
        let mut newest = self.newest.get();
        let mut next = newest;
        while let Some(node) = next {
            // SAFETY: nodes in the list exist. The flag makes sure that a value is dropped once. No
            // value is in use, says the caller.
            unsafe {
                if node.as_ref().alive.replace(false) {
                    (node.as_ref().drop_value)(node);
                }
                next = node.as_ref().older;
            }
            if self.newest.get() != newest {
                // That drop has initialized others, which are newer than all that are left.
                newest = self.newest.get();
                next = newest;
            }
        }
    }

    /// Drops all values like [`drop_values`](Self::drop_values), then empties the list.
    ///
    /// # Safety
    ///
    /// Same as [`drop_values`](Self::drop_values).
    pub(crate) unsafe fn end(&self) {
        // SAFETY: the caller is the thread that owns the list, and no value is in use.
        unsafe { self.drop_values() };
        let mut place = self.newest.take();
        while let Some(node) = place {
            // SAFETY: nodes in the list exist, and each is freed once. Their values are gone, and
            // nothing looks at the list while it is taken apart.
            unsafe {
                place = node.as_ref().older;
                (node.as_ref().free)(node);
            }
        }
    }
}
