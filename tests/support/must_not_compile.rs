//! What must not compile.
//!
//! A closure that is not `Send`, because a green thread may start on another OS thread:
//!
//! ```compile_fail,E0277
//! let shared = std::rc::Rc::new(1);
//! gthread::go!(move || *shared);
//! ```
//!
//! Nor a result that is not:
//!
//! ```compile_fail,E0277
//! gthread::go!(|| std::rc::Rc::new(1));
//! ```
//!
//! A closure that borrows, outside a scope:
//!
//! ```compile_fail,E0373
//! let number = 1;
//! gthread::go!(|| println!("{number}"));
//! ```
//!
//! A builder asks for the same, and so do a runtime and a wait group:
//!
//! ```compile_fail,E0277
//! let shared = std::rc::Rc::new(1);
//! let _ = gthread::Builder::new().spawn(move || *shared);
//! ```
//!
//! ```compile_fail,E0277
//! let shared = std::rc::Rc::new(1);
//! gthread::Runtime::builder().build().unwrap().spawn(move || *shared);
//! ```
//!
//! ```compile_fail,E0277
//! let shared = std::rc::Rc::new(1);
//! gthread::sync::WaitGroup::new().go(move || *shared);
//! ```
//!
//! `run`, `join` and `scope` take closures that borrow, but not ones that are not `Send`:
//!
//! ```compile_fail,E0277
//! let shared = std::rc::Rc::new(1);
//! gthread::run(|| *shared);
//! ```
//!
//! ```compile_fail,E0277
//! let shared = std::rc::Rc::new(1);
//! gthread::join(|| *shared, || 2);
//! ```
//!
//! ```compile_fail,E0277
//! let shared = std::rc::Rc::new(1);
//! gthread::scope(|s| {
//!     s.spawn(|| *shared);
//! });
//! ```
//!
//! What is borrowed in a scope must outlive it:
//!
//! ```compile_fail,E0373
//! gthread::scope(|s| {
//!     let inner = 1;
//!     s.spawn(|| println!("{inner}"));
//! });
//! ```
//!
//! A scoped handle does not leave its scope:
//!
//! ```compile_fail
//! let mut outside = None;
//! gthread::scope(|s| outside = Some(s.spawn(|| 1)));
//! outside.unwrap().join().unwrap();
//! ```
//!
//! What is lent mutably to one scoped thread is not lent to another:
//!
//! ```compile_fail,E0499
//! let mut number = 1;
//! gthread::scope(|s| {
//!     s.spawn(|| number += 1);
//!     s.spawn(|| number += 1);
//! });
//! ```
//!
//! An arm of a `select!` has one receiver, or a sender and a message; a pattern and a body; and a comma
//! before the next. There is one `default` at most, and at least one arm:
//!
//! ```compile_fail
//! gthread::channel::select! {}
//! ```
//!
//! ```compile_fail
//! let (_tx, rx) = gthread::channel::unbounded::<u8>();
//! gthread::channel::select! { recv(rx, 1) -> _ => {} }
//! ```
//!
//! ```compile_fail
//! let (tx, _rx) = gthread::channel::unbounded::<u8>();
//! gthread::channel::select! { send(tx) -> _ => {} }
//! ```
//!
//! ```compile_fail
//! let (_tx, rx) = gthread::channel::unbounded::<u8>();
//! gthread::channel::select! { recv(rx) => {} }
//! ```
//!
//! ```compile_fail
//! let (_tx, rx) = gthread::channel::unbounded::<u8>();
//! gthread::channel::select! { recv(rx) -> _ => 1 default => 2 }
//! ```
//!
//! ```compile_fail
//! gthread::channel::select! { default => {} default => {} }
//! ```
//!
//! ```compile_fail
//! gthread::channel::select! { poll(rx) -> _ => {} }
//! ```
//!
//! An operation is not kept longer than the ends it may be completed with:
//!
//! ```compile_fail,E0597
//! let mut select = gthread::channel::Select::new();
//! {
//!     let (_tx, rx) = gthread::channel::unbounded::<u8>();
//!     select.recv(&rx);
//! }
//! let _ = select.try_select();
//! ```
//!
//! A channel of values that are not `Send` stays on its thread, and a [`Scope`](gthread::Scope)
//! that was made for a longer borrow is not shrunk to a shorter one:
//!
//! ```compile_fail,E0277
//! let (tx, _rx) = gthread::channel::unbounded::<std::rc::Rc<u8>>();
//! std::thread::spawn(move || drop(tx));
//! ```
//!
//! ```compile_fail,E0277
//! let (_tx, rx) = gthread::channel::bounded::<std::rc::Rc<u8>>(0);
//! gthread::go!(move || drop(rx));
//! ```
//!
//! Locks share no more than std's. The data of a mutex go from thread to thread:
//!
//! ```compile_fail,E0277
//! let mutex = gthread::sync::Mutex::new(std::rc::Rc::new(1));
//! gthread::scope(|s| {
//!     s.spawn(|| drop(mutex.lock()));
//! });
//! ```
//!
//! What is read is read by several at once:
//!
//! ```compile_fail,E0277
//! let lock = gthread::sync::RwLock::new(std::cell::Cell::new(1));
//! gthread::scope(|s| {
//!     s.spawn(|| drop(lock.read()));
//! });
//! ```
//!
//! ```compile_fail,E0277
//! let cell = gthread::sync::OnceLock::from(std::cell::Cell::new(1));
//! gthread::scope(|s| {
//!     s.spawn(|| cell.get().is_some());
//! });
//! ```
//!
//! ```compile_fail,E0277
//! let one = std::rc::Rc::new(1);
//! let lazy = gthread::sync::LazyLock::new(move || *one);
//! gthread::scope(|s| {
//!     s.spawn(|| *lazy);
//! });
//! ```
//!
//! A guard gives what it guards, and no longer than it lives:
//!
//! ```compile_fail,E0597
//! let mutex = gthread::sync::Mutex::new(1);
//! let number: &u8;
//! {
//!     let guard = mutex.lock().unwrap();
//!     number = &*guard;
//! }
//! println!("{number}");
//! ```
//!
//! ```compile_fail,E0596
//! let lock = gthread::sync::RwLock::new(1);
//! *lock.read().unwrap() = 2;
//! ```
//!
//! A shared guard is shared data:
//!
//! ```compile_fail,E0277
//! let mutex = gthread::sync::Mutex::new(std::cell::Cell::new(1));
//! let guard = mutex.lock().unwrap();
//! gthread::scope(|s| {
//!     s.spawn(|| guard.set(2));
//! });
//! ```
//!
//! What a mutex holds for writing is not exchanged for something shorter-lived:
//!
//! ```compile_fail
//! fn shorter<'a>(
//!     guard: gthread::sync::MutexGuard<'a, &'static str>,
//! ) -> gthread::sync::MutexGuard<'a, &'a str> {
//!     guard
//! }
//! ```
//!
//! A constant has no identity, and can be no variable:
//!
//! ```compile_fail,E0716
//! const KEY: gthread::LocalKey<u8> = gthread::LocalKey::__new(|| 1);
//! KEY.with(|_| ());
//! ```
//!
//! A reference to a green thread's variable does not leave it:
//!
//! ```compile_fail
//! gthread::green_local!(static NAME: String = "name".to_owned());
//! let name: &str = NAME.with(|name| &**name);
//! ```
//!
//! ```compile_fail,E0277
//! gthread::green_local!(static COUNT: std::rc::Rc<u8> = std::rc::Rc::new(1));
//! let shared = COUNT.with(std::rc::Rc::clone);
//! gthread::go!(move || drop(shared));
//! ```
