//! What a thread keeps in its `green_local!`s: a list of values, each with its key. One word while there
//! are none.
//!
//! Invariants:
//! - Only the thread itself touches its list, and the values, which stay where they are, on the heap, from
//!   their initialization until the thread ends them all, the last that it does.
//! - For a key there is one node at most. That of a value that was dropped stays until all have been, so
//!   that whoever asks for it meanwhile, in another's drop, learns that it is gone.
//! - A value has the type of its key, and a key has one type.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// Tells variables apart: the address of something that is there for ever, and so of one type for ever. It must
/// not be a constant, nor of size zero: the compiler may put equal ones of those, of other types, in one place.
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

/// The beginning of a node, whatever its value.
struct Head {
    key: Key,
    older: Option<NonNull<Head>>,
    /// The value has not been dropped.
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
    /// # Safety
    ///
    /// The node has a value of this type, which is not used again.
    unsafe fn drop_value(head: NonNull<Head>) {
        // SAFETY: the caller's. The head is otherwise left as it is: the value's drop may look at it.
        unsafe { ManuallyDrop::drop(&mut (*head.cast::<Self>().as_ptr()).value) };
    }

    /// # Safety
    ///
    /// The node was made with this type, and is not used again.
    unsafe fn free(head: NonNull<Head>) {
        // SAFETY: the caller's; nodes come from `Box::leak`.
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

    /// The value of `key`, which is initialized with `init` if it is not there. If it is there once `init` has
    /// run, because that has asked for it too, that one is it.
    ///
    /// The value is valid until [`end`](Self::end) drops it.
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
        // SAFETY: nodes in the list are there; that of this key has a `T`.
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
            // SAFETY: nodes in the list are there.
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

    /// Drops all values, the newest first; those too that are initialized meanwhile. To be called where their
    /// drops may do what they like, except panic. Others may be initialized afterwards.
    ///
    /// # Safety
    ///
    /// The caller is the thread that the list belongs to, and no value is in use.
    pub(crate) unsafe fn drop_values(&self) {
        let mut newest = self.newest.get();
        let mut next = newest;
        while let Some(node) = next {
            // SAFETY: nodes in the list are there. A value is dropped once, and is nobody's by then.
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

    /// [`drop_values`](Self::drop_values), and forgets that there were any.
    ///
    /// # Safety
    ///
    /// As for that.
    pub(crate) unsafe fn end(&self) {
        // SAFETY: the caller's.
        unsafe { self.drop_values() };
        let mut place = self.newest.take();
        while let Some(node) = place {
            // SAFETY: nodes in the list are there, and their values are gone; nobody looks at the list while it is taken apart.
            unsafe {
                place = node.as_ref().older;
                (node.as_ref().free)(node);
            }
        }
    }
}
