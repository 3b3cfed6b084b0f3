//! `green_local!`: std's `thread_local!`, for green threads.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::sync::atomic::AtomicU8;

use crate::runtime::context;
use crate::task::locals::Key;

/// Declares variables of which every thread, green or not, has its own value:
/// [`std::thread_local!`] for green threads.
///
/// The syntax is std's, and so are the rules:
///
/// - A thread's value is initialized when the thread first accesses it. With `const { … }` around
///   the expression it is evaluated at compile time.
/// - It is dropped when the thread ends, by the green thread itself, on its own stack. The drop may
///   do everything that the thread may do, including blocking and starting threads. It happens
///   before a joining thread gets the result, and before the end of its
///   [`scope`](crate::scope), but perhaps after a [`WaitGroup`](crate::sync::WaitGroup)
///   that counts the thread. The value that was initialized last is dropped first (std promises no
///   order). A panic in such a drop aborts the process. For green threads that never end (they wait
///   when the process exits, or their [`Runtime`](crate::Runtime) is dropped) nothing is dropped.
/// - A value that is initialized meanwhile is dropped too. A value that is dropped already is not
///   accessible any more: [`try_with`](LocalKey::try_with) returns an error.
///
/// An OS thread has its own values, also if it is a worker: green threads that run there do not see
/// them. Nothing is inherited: a child begins without values. (Use a
/// [`Context`](crate::context::Context) to pass values on.)
///
/// **Sound across suspension points**, unlike `thread_local!`: the value stays where it is and
/// belongs to the green thread, on whichever OS thread that continues. A reference may be held
/// inside [`with`](LocalKey::with) while the thread waits, sleeps or starts others, and no other
/// thread can access the value meanwhile. So the value need not be `Send`: an `Rc` here is as sound
/// as an `Rc` in a local variable, which moves with the green thread too.
///
/// A thread without values pays nothing for this. The first access allocates. Later accesses look
/// the value up in a list, which takes a few nanoseconds, and longer if the thread uses many
/// variables.
///
/// # Examples
///
/// ```
/// use gthread::green_local;
/// use std::cell::{Cell, RefCell};
///
/// green_local! {
///     static DEPTH: Cell<u32> = const { Cell::new(0) };
///     static LOG: RefCell<Vec<String>> = RefCell::default();
/// }
///
/// let threads = ["a", "b"].map(|name| {
///     gthread::go!(move || {
///         DEPTH.set(DEPTH.get() + 1);
///         LOG.with_borrow_mut(|log| {
///             log.push(format!("{name} sleeps"));
///             gthread::sleep(std::time::Duration::from_millis(1));
///             log.push(format!("{name} is awake, perhaps on another OS thread"));
///         });
///         (DEPTH.get(), LOG.take().len())
///     })
/// });
/// threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), (1, 2)));
/// ```
#[doc(alias = "thread_local", alias = "task_local")]
#[macro_export]
macro_rules! green_local {
    () => {};
    ($(#[$attribute:meta])* $vis:vis static $name:ident: $type:ty = $init:expr; $($rest:tt)*) => {
        $crate::green_local!($(#[$attribute])* $vis static $name: $type = $init);
        $crate::green_local!($($rest)*);
    };
    ($(#[$attribute:meta])* $vis:vis static $name:ident: $type:ty = $init:expr) => {
        $(#[$attribute])*
        $vis static $name: $crate::thread::local::LocalKey<$type> = {
            fn init() -> $type {
                $init
            }
            $crate::thread::local::LocalKey::__new(init)
        };
    };
}

/// A variable of which every thread, green or not, has its own value. Created by
/// [`green_local!`](crate::green_local!). Like [`std::thread::LocalKey`].
///
/// No method blocks, except in the value's initialization and in the closures.
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
    /// Makes the address of the key its identity. Statics with interior mutability are not merged
    /// with equal ones, and a constant of this type cannot be promoted to a `'static` reference.
    _place: [AtomicU8; 0],
}

/// The error that the value has been dropped, or is being dropped, because its thread ends. Like
/// [`std::thread::AccessError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessError;

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("already destroyed")
    }
}

impl Error for AccessError {}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn __new(init: fn() -> T) -> Self {
        Self { init, _place: [] }
    }

    /// Calls `f` with a reference to the calling thread's value, and initializes the value first if
    /// necessary.
    ///
    /// # Panics
    ///
    /// If the value has been dropped: see [`try_with`](Self::try_with). If the initialization or
    /// `f` panics.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        expect(self.try_with(f))
    }

    /// Like [`with`](Self::with), but returns an error if the value is gone.
    ///
    /// # Errors
    ///
    /// If the value has been dropped or is being dropped: this is called in the drop of one of the
    /// thread's values.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        self.with_or(self.init, f)
    }

    fn with_or<R>(
        &'static self,
        init: impl FnOnce() -> T,
        f: impl FnOnce(&T) -> R,
    ) -> Result<R, AccessError> {
        let locals = context::locals();
        // SAFETY: the list is the calling thread's, on whichever OS thread that runs, and exists
        // until the thread ends. The key is of type `T`: it is the address of a `LocalKey<T>` that
        // is `'static`, has a size, and is not a constant.
        let value = unsafe { locals.as_ref().get(Key::of(self), init) };
        // SAFETY: the value exists until the thread drops its values, which is after the code that
        // runs now. Or the thread has begun to drop them, and the code that runs now is another
        // value's drop, which ends before this value's drop begins.
        value.map(|value| f(unsafe { value.as_ref() })).map_err(|_| AccessError)
    }
}

fn expect<R>(result: Result<R, AccessError>) -> R {
    result.expect("cannot access a green_local during or after destruction")
}

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the value, without initializing it first.
    ///
    /// # Panics
    ///
    /// If the value has been dropped: see [`with`](Self::with). The other methods panic then too.
    pub fn set(&'static self, value: T) {
        let value = Cell::new(Some(value));
        let take = || value.take().expect("set once");
        expect(self.with_or(
            || Cell::new(take()),
            // Empty if the value was just initialized.
            |cell| value.take().map(|value| cell.set(value)),
        ));
    }

    /// Returns a copy of the value.
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value, and leaves the default in its place.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Replaces the value, and returns the old one.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Borrows the value.
    ///
    /// # Panics
    ///
    /// If it is mutably borrowed, or has been dropped: see [`with`](Self::with).
    pub fn with_borrow<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Borrows the value mutably.
    ///
    /// # Panics
    ///
    /// If it is borrowed, or has been dropped: see [`with`](Self::with). The other methods panic
    /// then too.
    pub fn with_borrow_mut<R>(&'static self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the value, without initializing it first.
    pub fn set(&'static self, value: T) {
        let value = Cell::new(Some(value));
        let take = || value.take().expect("set once");
        expect(self.with_or(
            || RefCell::new(take()),
            // Empty if the value was just initialized.
            |cell| value.take().map(|value| *cell.borrow_mut() = value),
        ));
    }

    /// Takes the value, and leaves the default in its place.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Replaces the value, and returns the old one.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}
