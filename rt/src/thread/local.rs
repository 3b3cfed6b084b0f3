//! `green_local!`: std's `thread_local!`, for green threads.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::sync::atomic::AtomicU8;

use crate::runtime::context;
use crate::task::locals::Key;

/// Declares variables of which every thread, green or not, has its own: [`std::thread_local!`], for green
/// threads.
///
/// The syntax is std's, and so are the rules:
///
/// - A thread's value is initialized when the thread first asks for it. `const { … }` around the
///   expression has it evaluated at compile time.
/// - It is dropped when the thread ends: by the green thread itself, on its own stack, where a drop may do
///   what the thread may do, block and start others included; before whoever joins it gets its result, and
///   before the end of its [`scope`](crate::thread::scope), but perhaps after a
///   [`WaitGroup`](crate::sync::WaitGroup) that counts it. The last that was initialized is dropped first (std
///   promises no order). A panic in such a drop aborts the process. Of green threads that never end (they wait
///   when the process exits, or their [`Runtime`](crate::Runtime) is dropped) nothing is dropped.
/// - A value that is initialized meanwhile is dropped too. One that is dropped already cannot be had any more:
///   [`try_with`](LocalKey::try_with) is an error.
///
/// An OS thread has values of its own, also if it is a worker: green threads that run there do not see
/// them. Nothing is inherited: a child begins without. (A [`Context`](crate::context::Context) is for what is
/// to be handed down.)
///
/// **Sound across suspension points**, unlike `thread_local!`: the value stays where it is and belongs to the green
/// thread, on whichever OS thread that goes on. A reference may be held inside [`with`](LocalKey::with)
/// while the thread waits, sleeps or starts others; nobody else can reach the value meanwhile. So it need not be
/// `Send`: an `Rc` here is as good as one in a local variable, which the green thread takes along too.
///
/// A thread that has none pays nothing for this. The first access allocates; later ones look the value up
/// in a list, which takes some 5 ns for one of few variables that the thread uses, 15 ns for one of 32.
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

/// A variable of which every thread, green or not, has its own value. Made by
/// [`green_local!`](crate::thread::local). As [`std::thread::LocalKey`].
///
/// Nothing here blocks, but for what the value's initialization and the closures do.
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
    /// Its address is its identity. What might be written to is not merged with its like, and no `'static`
    /// reference to a constant of this type can be had.
    _place: [AtomicU8; 0],
}

/// The value has been dropped, or is being dropped, because its thread ends. As
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

    /// Gives a reference to the calling thread's value to `f`, after initializing it if it is not.
    ///
    /// # Panics
    ///
    /// If the value has been dropped: see [`try_with`](Self::try_with). If the initialization or `f` does.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        expect(self.try_with(f))
    }

    /// As [`with`](Self::with).
    ///
    /// # Errors
    ///
    /// If the value has been dropped or is being dropped: this is called in the drop of one of the thread's
    /// values.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        self.with_or(self.init, f)
    }

    fn with_or<R>(
        &'static self,
        init: impl FnOnce() -> T,
        f: impl FnOnce(&T) -> R,
    ) -> Result<R, AccessError> {
        let locals = context::locals();
        // SAFETY: the list is the calling thread's, wherever that runs, and there until the thread ends. The
        // key is of type T: it is the address of a `LocalKey<T>` that is there for ever, has a size, and is not a
        // constant.
        let value = unsafe { locals.as_ref().get(Key::of(self), init) };
        // SAFETY: the value is there until the thread ends its values, after what runs now; or it has begun
        // to, and what runs now is another value's drop, which ends before this one's begins.
        value.map(|value| f(unsafe { value.as_ref() })).map_err(|_| AccessError)
    }
}

fn expect<R>(result: Result<R, AccessError>) -> R {
    result.expect("cannot access a green_local during or after destruction")
}

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the value, without initializing it first if it is not.
    ///
    /// # Panics
    ///
    /// If it has been dropped, as [`with`](Self::with); so do the others.
    pub fn set(&'static self, value: T) {
        let value = Cell::new(Some(value));
        let take = || value.take().expect("set once");
        expect(self.with_or(
            || Cell::new(take()),
            // Nothing is left if it was just initialized.
            |cell| value.take().map(|value| cell.set(value)),
        ));
    }

    /// A copy of the value.
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the value, and leaves the default.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Replaces the value, and gives the old one.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Borrows the value.
    ///
    /// # Panics
    ///
    /// If it is mutably borrowed, or has been dropped, as [`with`](Self::with).
    pub fn with_borrow<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Borrows the value mutably.
    ///
    /// # Panics
    ///
    /// If it is borrowed, or has been dropped, as [`with`](Self::with); so do the others.
    pub fn with_borrow_mut<R>(&'static self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the value, without initializing it first if it is not.
    pub fn set(&'static self, value: T) {
        let value = Cell::new(Some(value));
        let take = || value.take().expect("set once");
        expect(self.with_or(
            || RefCell::new(take()),
            // Nothing is left if it was just initialized.
            |cell| value.take().map(|value| *cell.borrow_mut() = value),
        ));
    }

    /// Takes the value, and leaves the default.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Replaces the value, and gives the old one.
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}
